"""Write ``bci/sources/leadfield.py``: how sources in the head of the simulated person reach its electrodes.

A four-layer sphere fitted to the electrodes (`mne.make_sphere_model`), dipoles at the places that matter for motor
imagery, and some all over the head for the background. Run it from the root of the repository: python
scripts/make_leadfield.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

import mne
import numpy as np

CHANNELS = (
    "Fp1", "Fp2", "F7", "F8", "Fz", "FC3", "FC4", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "CP3", "CP4",
    "P3", "Pz", "P4", "O1", "O2",
)  # fmt: skip
N_BACKGROUND = 24
TARGET = Path(__file__).parents[1] / "bci" / "sources" / "leadfield.py"


def compute() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the sources, gain (n_channels, n_sources) in µV per nA·m, and positions (n_channels, 3) in m."""
    montage = mne.channels.make_standard_montage("colin27_1005")
    info = mne.create_info(list(CHANNELS), 250.0, "eeg")
    info.set_montage(montage)
    sphere = mne.make_sphere_model("auto", "auto", info, verbose="ERROR")
    centre, radius = np.asarray(sphere["r0"]), sphere.radius
    places = {c["ch_name"]: c["loc"][:3] for c in info["chs"]}

    def inside(names: tuple[str, ...], depth: float) -> np.ndarray:
        direction = np.mean([places[n] for n in names], axis=0) - centre
        return centre + direction / np.linalg.norm(direction) * radius * depth

    def oriented(position: np.ndarray, backward: float) -> np.ndarray:
        """Radial, tilted towards the back: the hand area lies in the wall of the central sulcus."""
        radial = (position - centre) / np.linalg.norm(position - centre)
        back = np.array([0.0, -1.0, 0.0]) - radial * -radial[1]
        tilted = radial + backward * back / np.linalg.norm(back)
        return tilted / np.linalg.norm(tilted)

    named = {
        "hand_left": (inside(("C3",), 0.72), 0.5),
        "hand_right": (inside(("C4",), 0.72), 0.5),
        "visual_left": (inside(("O1", "P3"), 0.68), 0.3),
        "visual_right": (inside(("O2", "P4"), 0.68), 0.3),
        "eye_left": (inside(("Fp1", "Fp1", "F7"), 0.75), 0.0),
        "eye_right": (inside(("Fp2", "Fp2", "F8"), 0.75), 0.0),
    }
    names = list(named)
    positions = [position for position, _ in named.values()]
    orientations = [oriented(position, tilt) for position, tilt in named.values()]
    rng = np.random.default_rng(20100)
    for i in range(N_BACKGROUND):  # evenly over the upper three quarters of a sphere (golden spiral)
        z, turn = 1 - 1.5 * (i + 0.5) / N_BACKGROUND, i * np.pi * (3 - np.sqrt(5))
        flat = np.sqrt(1 - z * z)
        direction = np.array([flat * np.cos(turn), flat * np.sin(turn), z])
        names.append(f"background_{i}")
        positions.append(centre + direction * radius * 0.7)
        tilt = rng.normal(size=3)
        orientations.append(tilt / np.linalg.norm(tilt))
    rr, nn = np.array(positions), np.array(orientations)
    source_space = mne.setup_volume_source_space(pos={"rr": rr, "nn": nn}, sphere_units="m", verbose="ERROR")
    forward = mne.make_forward_solution(
        info, None, source_space, sphere, meg=False, eeg=True, mindist=0.0, verbose="ERROR"
    )
    free = forward["sol"]["data"].reshape(len(CHANNELS), len(rr), 3)
    gain = np.einsum("csk,sk->cs", free, nn) * 1e-9 * 1e6
    return names, gain, np.array([places[n] for n in CHANNELS])


def main() -> None:
    names, gain, positions = compute()
    lines = [
        '"""Lead field of the simulated person. Written by scripts/make_leadfield.py; do not edit."""',
        "",
        "# fmt: off",
        "CHANNELS = (",
        *_wrapped(repr(name) for name in CHANNELS),
        ")",
        "SOURCES = (",
        *_wrapped(repr(name) for name in names),
        ")",
        "# metres, head frame, per channel",
        "POSITIONS_M = (",
        *(f"    ({', '.join(f'{v:.5f}' for v in row)})," for row in positions),
        ")",
        "# microvolts per nA m: one row per channel, one column per source",
        "GAIN_UV_PER_NAM = (",
    ]
    for row in gain:
        lines += ["    (", *("    " + line for line in _wrapped(f"{v:.6f}" for v in row)), "    ),"]
    TARGET.write_text("\n".join([*lines, ")"]).replace("'", '"') + "\n")


def _wrapped(items: Iterable[str]) -> list[str]:
    return textwrap.wrap(", ".join(items) + ",", 100, initial_indent="    ", subsequent_indent="    ")


if __name__ == "__main__":
    main()
