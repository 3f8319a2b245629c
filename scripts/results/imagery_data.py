"""The imagery recordings as trials: read, preprocessed as they are live, cut, packed for another machine.

A trial is the 3.5 s before its decision, which falls 3.5 s after its cue: four bands side by side, and 8-30 Hz.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LABELS = (
    "Fp1", "Fp2", "F7", "F8", "Fz", "FC3", "FCz", "FC4", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "CP3", "CPz", "CP4",
    "Pz", "O1", "O2",
)  # fmt: skip
FRONTAL = LABELS[:5]
SIXTEEN = LABELS[5:]
BANDS_HZ = ((8.0, 12.0), (11.0, 16.0), (15.0, 22.0), (20.0, 30.0))
WIDE_HZ = (8.0, 30.0)
RAW_HZ, SFREQ_HZ, HOP = 160.0, 80.0, 8
DECIDE_AT_S, CONTEXT_S = 3.5, 3.5
WINDOW_S = 3.0
SEED = 20261122
N_FOLDS = 5


@dataclass(frozen=True)
class Cued:
    """Trials of many people, in the order of time within each.

    ``x`` (n, bands, channels, samples) float32 µV; ``y`` 0 left, 1 right; ``place`` of the cue in its run, from 0.
    """

    x: NDArray[np.float32]
    y: NDArray[np.integer]
    person: NDArray[np.integer]
    run: NDArray[np.integer]
    place: NDArray[np.integer]
    labels: tuple[str, ...]
    bands_hz: tuple[tuple[float, float], ...]

    def of(self, labels: tuple[str, ...], bands_hz: tuple[tuple[float, float], ...] = BANDS_HZ) -> Cued:
        """Only these channels and bands."""
        bands = [self.bands_hz.index(band) for band in bands_hz]
        rows = [self.labels.index(label) for label in labels]
        return replace(self, x=self.x[:, bands][:, :, rows], labels=labels, bands_hz=bands_hz)

    @property
    def rows(self) -> NDArray[np.float32]:
        """X as decoders take it: (n, bands·channels, samples)."""
        return self.x.reshape(len(self.x), -1, self.x.shape[-1])


def read(path: Path) -> tuple[dict[int, NDArray[np.int16]], NDArray[np.integer]]:
    """Runs (channels, samples) in µV, and events (run, onset, duration, code), of one file (see the data's README)."""
    z = np.load(path)
    n = int(z["n"].sum())
    b = np.frombuffer(lzma.decompress(z["xz"].tobytes()), np.uint8).reshape(2, 21, n).astype(np.int64)
    u = b[0] * 256 + b[1]
    e = (u >> 1) ^ -(u & 1)
    for c in range(21):
        e[c] += (z["W"][c, :c].astype(np.int64) @ e[:c]) >> 10
    x = np.cumsum(e, axis=1).astype(np.int16)
    assert tuple(z["ch"]) == LABELS
    return dict(zip(z["runs"].tolist(), np.split(x, np.cumsum(z["n"])[:-1], axis=1), strict=True)), z["events"]


def hops_of(x: NDArray[np.int16]) -> NDArray[np.float32]:
    """Every hop (n, bands·channels, hop) of one run, by the live preprocessing, a second at a time (runs are whole)."""
    from bci.signal.preprocessing import Preprocessing, PreprocessingSpec
    from bci.types import Channel, StreamSpec

    channels = tuple(Channel(label, "EEG", "uV") for label in LABELS)
    stream = StreamSpec(name="imagery", sfreq_hz=RAW_HZ, channels=channels, format="int16")
    spec = PreprocessingSpec(channels=LABELS, sfreq_hz=SFREQ_HZ, hop=int(SFREQ_HZ), bands_hz=(*BANDS_HZ, WIDE_HZ))
    preprocessing = Preprocessing(spec, stream)
    preprocessing.start(x[:, 0])
    found, block = [], preprocessing.block
    for at in range(0, x.shape[1] - block + 1, block):
        found += [data for data, _ in preprocessing.step(np.ascontiguousarray(x[:, at : at + block]))]
    seconds = np.stack(found)
    return seconds.reshape(*seconds.shape[:2], -1, HOP).swapaxes(1, 2).reshape(-1, seconds.shape[1], HOP)


def trials_of(hops: NDArray[np.float32], onsets: list[int]) -> list[NDArray[np.float32] | None]:
    """The context (bands, channels, samples) of each cue's decision; None where the run ends before."""
    last_sample = (np.arange(len(hops)) + 1) * int(HOP * RAW_HZ / SFREQ_HZ) - 1
    n_hops = round(CONTEXT_S * SFREQ_HZ / HOP)
    found = []
    for onset in onsets:
        due = onset + DECIDE_AT_S * RAW_HZ
        k = int(np.searchsorted(last_sample, due, side="right"))  # hops up to the decision
        if due > last_sample[-1] + 1 or k < n_hops:
            found.append(None)
            continue
        stretch = hops[k - n_hops : k].transpose(1, 0, 2)
        found.append(stretch.reshape(len(BANDS_HZ) + 1, len(LABELS), -1))
    return found


def resequenced(
    x: NDArray[np.int16], onsets: list[int], codes: list[int], generator: np.random.Generator
) -> tuple[NDArray[np.int16], list[int], list[int]]:
    """The run with its (rest + cue) segments in another order, offsets removed at the joints; new onsets and codes."""
    starts = [0, *(onset + round(4.1 * RAW_HZ) for onset in onsets[:-1])]
    ends = [*starts[1:], x.shape[1]]
    pieces, at, places, order = [], 0, [], generator.permutation(len(onsets))
    level = x[:, 0].astype(np.int64)
    for k in order:
        piece = x[:, starts[k] : ends[k]].astype(np.int64)
        piece = piece - piece[:, :1] + level[:, None]
        level = piece[:, -1]
        places.append(at + onsets[k] - starts[k])
        pieces.append(piece)
        at += piece.shape[1]
    whole = np.clip(np.concatenate(pieces, axis=1), -32768, 32767).astype(np.int16)
    return whole, places, [codes[k] for k in order]


def load(folder: Path, work: Path, shuffle: int = 0) -> Cued:
    """All people, from ``work`` where they have been prepared before; ``shuffle`` > 0 re-sequences by that seed."""
    kept = work / f"trials_{shuffle}.npz"
    if not kept.exists():
        work.mkdir(parents=True, exist_ok=True)
        x, facts = [], []
        for person, path in enumerate(sorted(folder.glob("S*.npz"))):
            runs, events = read(path)
            generator = np.random.default_rng([shuffle, person])
            for run, raw in runs.items():
                cues = [(int(on), int(code)) for r, on, _, code in events if r == run and code]
                onsets, codes = [on for on, _ in cues], [code for _, code in cues]
                if shuffle:
                    raw, onsets, codes = resequenced(raw, onsets, codes, generator)
                for place, trial in enumerate(trials_of(hops_of(raw), onsets)):
                    if trial is not None:
                        x.append(trial)
                        facts.append((codes[place] - 1, person, run, place))
        y, who, run, place = np.array(facts).T
        np.savez(kept.with_suffix(".part.npz"), x=np.stack(x), y=y, person=who, run=run, place=place)
        kept.with_suffix(".part.npz").rename(kept)
    z: Any = np.load(kept)
    return Cued(z["x"], z["y"], z["person"], z["run"], z["place"], LABELS, (*BANDS_HZ, WIDE_HZ))


def splits(n_people: int) -> dict[str, tuple[NDArray[np.integer], NDArray[np.integer]]]:
    """People to train on and to test on: five folds, and ``choose``, a quarter of the first fold's training people."""
    parts = np.array_split(np.random.default_rng(SEED).permutation(n_people), N_FOLDS)
    found = {
        f"fold {k}": (np.concatenate([p for j, p in enumerate(parts) if j != k]), part) for k, part in enumerate(parts)
    }
    train = found["fold 0"][0]
    found["choose"] = (train[len(train) // 4 :], train[: len(train) // 4])
    return found


def starts(cued: Cued) -> NDArray[np.float64]:
    """Where recentring starts in each of `splits`: (splits, bands, channels, channels), symmetric to the midline."""
    from calibration.align import starting_alignment
    from decoders.mirror import mirror_order

    covariance, order = last_covariances(cued), mirror_order(cued.labels)
    people = splits(int(cued.person.max()) + 1).values()
    return np.stack([starting_alignment(covariance[np.isin(cued.person, train)], order) for train, _ in people])


def last_covariances(cued: Cued) -> NDArray[np.float64]:
    """Covariance of each band over the decision's window: (n, bands, channels, channels)."""
    from calibration.align import covariances

    return covariances(cued.rows[:, :, -round(WINDOW_S * SFREQ_HZ) :], len(cued.bands_hz))


def pack(cued: Cued, path: Path) -> float:
    """Write the trials in a tenth of the room: of each band its cosine coefficients, as whole numbers of 8 bits.

    With them `starts`, so that the other machine needs no pyriemann.

    Returns
    -------
    float
        Deviation of what `unpack` gives, relative to the signal.
    """
    from scipy.fft import dct

    arrays: dict[str, Any] = {
        "y": cued.y, "person": cued.person, "run": cued.run, "place": cued.place, "labels": np.array(cued.labels),
        "bands_hz": np.array(cued.bands_hz), "n_samples": cued.x.shape[-1],
        "starts": starts(cued),
    }  # fmt: skip
    for b, band_hz in enumerate(cued.bands_hz):
        coefficients = dct(cued.x[:, b].astype(np.float64), norm="ortho")[..., _bins(band_hz, cued.x.shape[-1])]
        scale = np.abs(coefficients).max(axis=-1, keepdims=True) / 127
        arrays[f"c{b}"] = np.rint(coefficients / scale).astype(np.int8)
        arrays[f"s{b}"] = scale[..., 0].astype(np.float32)
    np.savez(path, **arrays)
    return float(np.sqrt(np.mean((unpack(path).x - cued.x) ** 2) / np.mean(cued.x**2)))


def unpack(path: Path) -> Cued:
    """What `pack` wrote, but for its rounding."""
    from scipy.fft import idct

    z: Any = np.load(path)
    n = int(z["n_samples"])
    bands_hz = tuple((float(low), float(high)) for low, high in z["bands_hz"])
    x = []
    for b, band_hz in enumerate(bands_hz):
        whole = np.zeros((*z[f"c{b}"].shape[:2], n), np.float32)
        whole[..., _bins(band_hz, n)] = z[f"c{b}"] * z[f"s{b}"][..., None]
        x.append(idct(whole, norm="ortho"))
    labels = tuple(str(label) for label in z["labels"])
    return Cued(np.stack(x, axis=1), z["y"], z["person"], z["run"], z["place"], labels, bands_hz)


def _bins(band_hz: tuple[float, float], n: int) -> slice:
    hz = SFREQ_HZ / 2 / n  # between two cosines
    return slice(max(0, round((band_hz[0] - 5) / hz)), round((band_hz[1] + 8) / hz))
