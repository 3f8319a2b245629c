"""The look of a report: one style sheet, light and dark, for the screen and for paper.

Class colours follow Okabe & Ito (2008), which people with any kind of colour vision tell apart; no meaning hangs on
colour alone.
"""

_LIGHT = """
  --paper: #fafaf8; --card: #ffffff; --ink: #1c2430; --soft: #5b6673;
  --line: #e2e5e9; --faint: #eef0f2; --grey: #cfd5dc;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b05a90; --c4: #8f7a00; --c5: #2b9fd0;
  --ok: #0b7a55; --warn: #9a6400; --bad: #b42318; --none: #6b7580;
"""
_DARK = """
  --paper: #12161b; --card: #191e25; --ink: #e4e8ec; --soft: #9aa6b2;
  --line: #2b323b; --faint: #222931; --grey: #434d59;
  --c0: #56b4e9; --c1: #f0863c; --c2: #2fc39a; --c3: #e09bc6; --c4: #d9c545; --c5: #8fd0f2;
  --ok: #45c79a; --warn: #e3a63c; --bad: #f2776b; --none: #8a95a1;
"""
_COLOURS = "\n".join(f".f{k}, svg text.f{k} {{ fill: var(--c{k}) }} .s{k} {{ stroke: var(--c{k}) }}" for k in range(6))
_SIGNS = "\n".join(
    f".f{name} {{ fill: var(--{name}) }} .s{name} {{ stroke: var(--{name}) }} .icon.{name} {{ color: var(--{name}) }}"
    for name in ("ok", "warn", "bad", "none", "ink", "soft", "grey", "faint")
)

STYLE = f"""
:root {{{_LIGHT}}}
@media (prefers-color-scheme: dark) {{ :root {{{_DARK}}} }}
@media print {{ :root {{{_LIGHT} --paper: #fff; --ink: #000; --soft: #444 }} }}
""" + """
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 56px 32px 72px }
header { margin-bottom: 32px }
section { margin-top: 56px }
h1 { font-size: 32px; line-height: 1.2; font-weight: 640; letter-spacing: -.015em; margin: 0 0 6px }
h2 { font-size: 20px; font-weight: 640; letter-spacing: -.01em; margin: 0 0 4px }
h3 { font-size: 15px; font-weight: 640; margin: 24px 0 4px }
h1, h3, p, dd, td.t, th.t, td code { overflow-wrap: anywhere }
.eyebrow { font-size: 13px; font-weight: 600; letter-spacing: .08em; text-transform: uppercase; margin: 0 0 8px }
.eyebrow, .meta, .lead, footer { color: var(--soft) }
.meta { margin: 0 }
.lead { margin: 0 0 16px; max-width: 80ch }
.summary p { margin: 0 0 6px; font-size: 18px; max-width: 70ch }
footer { margin-top: 64px; padding-top: 16px; border-top: 1px solid var(--line); font-size: 13px }
code { font: 13px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.cols { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 32px; align-items: start }

.verdicts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; margin: 0; padding: 0 }
.verdict { list-style: none; background: var(--card); border: 1px solid var(--line); border-radius: 12px }
.verdict { padding: 18px 22px 20px }
.verdict h2 { font-size: 14px; font-weight: 500; color: var(--soft); letter-spacing: 0; margin: 0 0 6px }
.verdict p { margin: 0 }
.verdict .answer { display: flex; align-items: center; gap: 10px; margin: 0 0 8px }
.verdict .answer { font-size: 23px; line-height: 1.25; font-weight: 640; letter-spacing: -.01em }
.icon { width: 24px; height: 24px; flex: none }
.icon circle { fill: currentColor }
.icon path { fill: none; stroke: var(--card); stroke-width: 2.2; stroke-linecap: round; stroke-linejoin: round }

table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--soft); font-size: 13px; padding: 0 0 6px }
th, td { text-align: left; padding: 7px 18px 7px 0; border-top: 1px solid var(--line); font-weight: 400 }
thead th { border-top: 0; color: var(--soft); font-size: 13px; white-space: nowrap; vertical-align: bottom }
tbody th { font-weight: 560 }
th:last-child, td:last-child { padding-right: 0 }
.n { text-align: right; white-space: nowrap }
.w, .at { white-space: nowrap }
.at { width: 1% }
td.t, th.t { max-width: 34ch }
td code { font-size: 12px; color: var(--soft) }
td svg { display: block }
td .icon, th .icon { display: inline-block; width: 15px; height: 15px; vertical-align: -2px; margin-right: 6px }
.scroll { overflow-x: auto }
.scroll > svg { min-width: 760px }
.scroll + .scroll { margin-top: 28px }

.facts { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 14px 28px; margin: 0 }
.facts dt { color: var(--soft); font-size: 13px }
.facts dd { margin: 0; font-variant-numeric: tabular-nums }
.stack > * + * { margin-top: 22px }
.stack:not(.wide) .facts { grid-template-columns: repeat(2, minmax(0, 1fr)) }
details { margin-top: 14px }
summary { cursor: pointer; color: var(--soft); font-size: 14px; padding: 4px 0 }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 0 0 12px }
.key { color: var(--soft); font-size: 13px }
.key li { display: flex; align-items: center; gap: 6px }
.key svg { width: 16px; height: 12px }
figure { margin: 0 0 8px }
figcaption { color: var(--soft); font-size: 14px; max-width: 84ch; margin-top: 6px }
figure svg, .scroll > svg { display: block; width: 100%; height: auto }

svg text { font-size: 11.5px; font-family: inherit; font-variant-numeric: tabular-nums }
svg text:not([class*=" f"]) { fill: var(--soft) }
svg text.strong { fill: var(--ink); font-weight: 600 }
svg text.halo { paint-order: stroke; stroke: var(--paper); stroke-width: 3px }
svg text.name { font-weight: 600 }
svg text.small { font-size: 10.5px }
svg text.tiny { font-size: 8.5px; fill: var(--ink) }
svg text.on { fill: var(--card); font-weight: 600 }
.end { text-anchor: end }
.mid { text-anchor: middle }
.axis { stroke: var(--line); fill: none }
.zero { stroke: var(--grey); fill: none }
.dash { stroke: var(--soft); stroke-dasharray: 3 3; fill: none }
.plate { fill: var(--card); stroke: var(--line) }
.dot { fill: var(--card); stroke: var(--grey) }
.gap { fill: var(--grey); opacity: .55 }
.band { fill: var(--grey); opacity: .7 }
.hollow { fill: var(--card); stroke-width: 1.6 }
.line { fill: none; stroke-width: 1.5; stroke-linejoin: round }
.dots { fill: none; stroke-width: 4; stroke-linecap: round }
.pale { opacity: .25 }
.half { opacity: .55 }
""" + _COLOURS + "\n" + _SIGNS + """
@media (max-width: 760px) {
  main { padding: 28px 16px 48px }
  .verdicts, .cols, .facts { grid-template-columns: minmax(0, 1fr) }
  h1 { font-size: 26px }
}
@media print {
  body { font-size: 11pt }
  main { max-width: none; padding: 0 }
  section { margin-top: 28px }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  figure, .verdict, tr, .facts > div { break-inside: avoid }
  h2, .lead { break-after: avoid }
  .scroll { overflow: visible }
  .scroll > svg { min-width: 0 }
}
"""  # fmt: skip
