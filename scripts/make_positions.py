"""Write bci/signal/positions.py from MNE's colin27_1005 montage (called standard_1005 before MNE 1.13)."""

from pathlib import Path

import mne

LABELS = """
Fp1 Fpz Fp2 AF9 AF7 AF5 AF3 AF1 AFz AF2 AF4 AF6 AF8 AF10 F9 F7 F5 F3 F1 Fz F2 F4 F6 F8 F10 FT9 FT7 FC5 FC3 FC1 FCz FC2
FC4 FC6 FT8 FT10 T9 T7 C5 C3 C1 Cz C2 C4 C6 T8 T10 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 P9 P7 P5 P3 P1 Pz P2 P4
P6 P8 P10 PO9 PO7 PO5 PO3 PO1 POz PO2 PO4 PO6 PO8 PO10 O1 Oz O2 O9 O10 Iz T3 T4 T5 T6 A1 A2 M1 M2 Nz
""".split()  # noqa: SIM905
OUT = Path(__file__).parents[1] / "bci" / "signal" / "positions.py"


def main() -> None:
    montage = mne.channels.make_standard_montage("colin27_1005")
    to_head = mne.channels.compute_native_head_t(montage)
    native = montage.get_positions()["ch_pos"]
    lines = []
    for label in LABELS:
        if label in native:
            x, y, z = mne.transforms.apply_trans(to_head, native[label])
            lines.append(f'    "{label}": ({x:.4f}, {y:.4f}, {z:.4f}),')
    OUT.write_text(
        '"""Where the electrodes of the 10-20 and 10-10 systems lie on a standard head.\n\n'
        "Written by scripts/make_positions.py from MNE's ``colin27_1005``. Head coordinates in metres: x to the\n"
        'right ear, y to the nose, z up; the origin lies between the ears.\n"""\n\n'
        "POSITIONS_M: dict[str, tuple[float, float, float]] = {\n" + "\n".join(lines) + "\n}\n"
    )


if __name__ == "__main__":
    main()
