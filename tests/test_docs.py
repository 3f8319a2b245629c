"""Pages that are made from code or data are current."""

import hashlib
import importlib.util
import json
import re
from pathlib import Path

from bci.__main__ import VERBS, main
from bci.devices import make_device

ROOT = Path(__file__).parents[1]


def _script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_safety_tables_are_those_of_the_code():
    page = (ROOT / "docs" / "safety.md").read_text()
    assert _script("make_safety_tables").with_tables(page) == page, "run: python scripts/make_safety_tables.py"


def test_the_readme_names_every_verb():
    readme = (ROOT / "README.md").read_text()
    assert [verb for verb in VERBS if f"bci {verb}" not in readme] == []


def test_links_lead_somewhere_and_nothing_is_left_to_fill_in():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        text = page.read_text()
        links = re.findall(r"\]\((?!http)([^)#]+)", text)
        assert [link for link in links if not (page.parent / link).exists()] == [], page.name
        assert not re.search(r"[A-Z]+_(OUTPUT|TABLE)", text), page.name


def test_the_device_of_the_page_works_as_the_page_says(tmp_path):
    example, tested = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "devices.md").read_text(), re.DOTALL)
    lines = [line for line in example.split("class Lamp:")[1].splitlines() if line.strip()]
    assert len(lines) <= 20
    names = {}
    exec(example, names)
    exec(tested.replace("/tmp/lamp", str(tmp_path / "lamp")), names)
    assert (tmp_path / "lamp").read_text() == "dark"


def test_the_page_says_what_neutral_means_as_the_devices_do():
    page = (ROOT / "docs" / "devices.md").read_text()
    for url in ("null:", "cursor:", "keyboard:?left=a", "lsl:x", "udp://h:1", "tcp://h:1", "osc://h:1", "serial:COM3"):
        (row,) = [line for line in page.splitlines() if line.startswith("| `") and f"`{url.split(':')[0]}`" in line]
        cells = [cell.split() for cell in row.split("|")[2:5]]
        assert tuple(cell[0].strip(":,") for cell in cells) == make_device(url).means


def test_the_shipped_session_is_the_one_of_its_manifest():
    folder = ROOT / "replay_data"
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], name
    assert sum(entry["bytes"] for entry in manifest["files"].values()) < 2e6


def test_the_shipped_session_replays(capsys):
    main(["replay", str(ROOT / "replay_data" / "sub-simulated" / "ses-1"), "--verify", "--json", "-"])
    result = json.loads(capsys.readouterr().out)
    assert result["n_differences"] == 0
    assert result["n_commands"] > 0
