"""The one place that knows how LSL spells a stream: `StreamSpec` to and from ``pylsl.StreamInfo``; finding one."""

from __future__ import annotations

import os
import re
import socket
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pylsl

from bci.errors import SourceError
from bci.preflight import why_missing
from bci.types import DTYPES, Channel, StreamSpec
from bci.units import canonical_unit

_CONFIGURATIONS = ("lsl_api.cfg", "~/lsl_api/lsl_api.cfg", "/etc/lsl_api/lsl_api.cfg")
if "LSLAPICFG" not in os.environ and not any(Path(p).expanduser().exists() for p in _CONFIGURATIONS):
    # nobody has configured LSL here: keep its own log lines, which say what we say better, off the terminal
    pylsl.util.set_config_content("[log]\nlevel = -3\n")

_FORMATS: dict[int, str] = {
    pylsl.cf_float32: "float32",
    pylsl.cf_double64: "double64",
    pylsl.cf_string: "string",
    pylsl.cf_int32: "int32",
    pylsl.cf_int16: "int16",
    pylsl.cf_int8: "int8",
    pylsl.cf_int64: "int64",
}
RESOLVE_S = 1.0
AGAIN_S = (0.5, 1.0, 2.0)
# As the XDF meta-data specification spells them. A channel without unit must say so: mne-lsl takes all channels of a
# stream for volts when one of them has an empty unit.
LSL_UNITS = {"uV": "microvolts", "mV": "millivolts", "V": "volts", "": "none"}


def spec_from_xml(xml: str) -> StreamSpec:
    """Read a stream's ``<info>`` element, as an inlet's ``info().as_xml()`` or an XDF stream header gives it."""
    info = ET.fromstring(xml)

    def text(tag: str, node: ET.Element = info) -> str:
        return (node.findtext(tag) or "").strip()

    n = int(text("channel_count") or 0)
    channels = [_channel(c) for c in info.findall("./desc/channels/channel")]
    if len(channels) != n:  # a description that does not match the data describes nothing
        channels = [Channel(label=f"ch{i + 1}", type=text("type") or "EEG") for i in range(n)]
    return StreamSpec(
        name=text("name"),
        type=text("type"),
        source_id=text("source_id"),
        uid=text("uid"),
        hostname=text("hostname"),
        sfreq_hz=float(text("nominal_srate") or 0),
        format=text("channel_format") or "float32",  # type: ignore[arg-type]
        channels=tuple(channels),
        group=text("./desc/rolandic/group"),
        created_s=float(text("created_at") or 0),
        stamps="arrival" if text("./desc/rolandic/stamps") == "arrival" else "sender",
    )


def _channel(node: ET.Element) -> Channel:
    def text(tag: str) -> str:
        return (node.findtext(tag) or "").strip()

    x, y, z = text("location/X"), text("location/Y"), text("location/Z")
    position = (float(x) / 1000, float(y) / 1000, float(z) / 1000) if x and y and z else None
    return Channel(text("label") or text("name"), text("type") or "EEG", canonical_unit(text("unit")), position)


def info_from_spec(spec: StreamSpec) -> pylsl.StreamInfo:
    """A ``StreamInfo`` for an outlet, with labels, types, units and positions where XDF's meta-data expects them."""
    code = {name: code for code, name in _FORMATS.items()}[spec.format]
    info = pylsl.StreamInfo(spec.name, spec.type, len(spec.channels), spec.sfreq_hz, code, spec.source_id)
    desc = info.desc()
    if told := _ours(spec):
        node = desc.append_child("rolandic")
        for tag, value in told.items():
            node.append_child_value(tag, value)
    nodes = desc.append_child("channels")
    for channel in spec.channels:
        node = nodes.append_child("channel")
        node.append_child_value("label", channel.label)
        node.append_child_value("type", channel.type)
        node.append_child_value("unit", LSL_UNITS.get(channel.unit, channel.unit))
        if channel.position_m is not None:
            location = node.append_child("location")
            for axis, value in zip("XYZ", channel.position_m, strict=True):
                location.append_child_value(axis, repr(value * 1000))
    return info


def xml_from_spec(spec: StreamSpec) -> str:
    """The ``<info>`` element of a stream, as an XDF header stores it."""
    info = ET.Element("info")
    fields = {
        "name": spec.name, "type": spec.type, "channel_count": len(spec.channels), "channel_format": spec.format,
        "source_id": spec.source_id, "nominal_srate": repr(spec.sfreq_hz), "version": "1.1",
        "created_at": repr(spec.created_s), "uid": spec.uid, "hostname": spec.hostname,
    }  # fmt: skip
    for tag, value in fields.items():
        ET.SubElement(info, tag).text = str(value)
    desc = ET.SubElement(info, "desc")
    if told := _ours(spec):
        node = ET.SubElement(desc, "rolandic")
        for tag, value in told.items():
            ET.SubElement(node, tag).text = value
    nodes = ET.SubElement(desc, "channels")
    for channel in spec.channels:
        node = ET.SubElement(nodes, "channel")
        ET.SubElement(node, "label").text = channel.label
        ET.SubElement(node, "type").text = channel.type
        ET.SubElement(node, "unit").text = LSL_UNITS.get(channel.unit, channel.unit)
        if channel.position_m is not None:
            location = ET.SubElement(node, "location")
            for axis, value in zip("XYZ", channel.position_m, strict=True):
                ET.SubElement(location, axis).text = repr(value * 1000)
    return ET.tostring(info, encoding="unicode")


def _ours(spec: StreamSpec) -> dict[str, str]:
    """What is said of a stream beyond the words of LSL and XDF."""
    told = {"group": spec.group, "stamps": "arrival" if spec.stamps == "arrival" else ""}
    return {tag: value for tag, value in told.items() if value}


def dtype_of(spec: StreamSpec) -> type:
    """The numpy dtype of a numeric stream."""
    if spec.format not in DTYPES:
        raise SourceError(f"stream {spec.name!r} carries {spec.format}, not numbers")
    return DTYPES[spec.format]


def visible_streams(wait_s: float = 1.0) -> list[tuple[pylsl.StreamInfo, StreamSpec]]:
    """All streams that answer within ``wait_s``. Specs are without channels: those come from an open inlet."""
    return [(info, spec_from_xml(info.as_xml())) for info in pylsl.resolve_streams(wait_s)]


def find_stream(
    name: str = "", type_: str = "", source_id: str = "", *, wait_s: float = 5.0
) -> tuple[pylsl.StreamInfo, StreamSpec]:
    """The one stream that fits; blocks until it is there, at most ``wait_s``.

    Raises
    ------
    SourceError
        None fits (the message lists what is visible), or more than one does (it lists the candidates).
    """
    wanted = {k: v for k, v in (("name", name), ("type", type_), ("source_id", source_id)) if v}
    predicate = " and ".join(f"{key}={quoted(value)}" for key, value in wanted.items())
    asked = " and ".join(f"{key} {value!r}" for key, value in wanted.items()) or "any name"
    until_s = pylsl.local_clock() + wait_s
    found = []
    while not found and (rest_s := until_s - pylsl.local_clock()) > 0:  # in short turns, for Ctrl-C waits for each
        turn_s = min(rest_s, RESOLVE_S)
        found = pylsl.resolve_bypred(predicate, 1, turn_s) if predicate else pylsl.resolve_streams(turn_s)
    for turn_s in AGAIN_S if found and predicate else ():  # a second one may answer later
        if again := pylsl.resolve_bypred(predicate, 64, turn_s):  # not even the first did: the machine is busy
            found += again
            break
    candidates = {info.uid(): (info, spec_from_xml(info.as_xml())) for info in found}
    if not candidates:
        specs = [spec for _, spec in visible_streams(0.5)]
        seen = ", ".join(sorted(repr(spec.name) for spec in specs)) or "none"
        cause = why_missing(
            name, type_, source_id, specs, this_host=socket.gethostname(), has_known_peers=has_known_peers()
        )
        raise SourceError(f"no LSL stream with {asked} within {wait_s:g} s; visible now: {seen}; {cause}")
    if len(candidates) > 1:
        ids = [spec.source_id for _, spec in candidates.values()]
        is_told_apart = len(set(ids)) == len(ids) and all(ids)
        how = "name one by --source-id" if is_told_apart else "nothing tells them apart: stop all but one"
        raise SourceError(
            f"{len(candidates)} LSL streams with {asked}: "
            f"{describe(sorted((s for _, s in candidates.values()), key=lambda s: (s.hostname, s.source_id)))}; "
            f"{how}"
        )
    return next(iter(candidates.values()))


def configuration() -> Path | None:
    """The ``lsl_api.cfg`` that liblsl reads here, if there is one."""
    if path := os.environ.get("LSLAPICFG"):
        return Path(path)
    return next((p for p in (Path(c).expanduser() for c in _CONFIGURATIONS) if p.exists()), None)


def has_known_peers() -> bool:
    """Whether machines that multicast does not reach are named there."""
    path = configuration()
    if path is None or not path.is_file():
        return False
    peers = re.search(r"^\s*KnownPeers\s*=\s*\{([^}]*)\}", path.read_text(errors="replace"), re.MULTILINE)
    return bool(peers and peers[1].strip())


def describe(specs: Sequence[StreamSpec]) -> str:
    """Streams in one line: name (type, host, source_id)."""
    return "; ".join(f"{s.name!r} (type {s.type}, host {s.hostname}, source_id {s.source_id!r})" for s in specs)


def quoted(value: str) -> str:
    """A value as a string of LSL's query language (XPath 1.0, which knows no escapes)."""
    return f"'{value}'" if "'" not in value else f'"{value}"'
