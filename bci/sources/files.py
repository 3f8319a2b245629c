"""Recordings as files: EDF(+), FIF and XDF become a `Recording`, its streams as an amplifier would have sent them."""

from __future__ import annotations

import functools
import hashlib
import lzma
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from bci.errors import RecordingError, SourceError
from bci.types import Channel, RecordedStream, Recording, StreamSpec
from bci.units import canonical_unit

SUFFIXES = (".edf", ".edf.xz", ".fif", ".fif.gz", ".xdf")
_VOLTS = ("nV", "uV", "mV", "V")
_FIFF_UNITS = {107: "uV", 112: "T", 201: "T/m"}  # volts leave here as microvolts


def load_recording(path: str | Path) -> Recording:
    """Read a recording whole.

    EEG and other voltages are float32 microvolts; MEG is in T and T/m; trigger channels keep their values (as float64
    where float32 cannot hold them). Stamps of EDF and FIF count seconds from the first sample of the acquisition
    (``first_samp / sfreq``). Annotations, and the events of a FIF file's trigger channel, form the marker stream
    ``<file>-markers``. An EDF file with several sampling rates gives one stream a rate. Streams of an XDF file keep
    their own format, and their stamps as recorded: not de-jittered, not moved to one clock. A string stream with
    several channels becomes one label a sample, joined by tabs.

    Positions are metres in MNE's head frame (origin between the ears, x right, y front): those of the file, else those
    of the label in the 10-05 system. MEG sensors are placed in the frame of the device, as in the file.

    Raises
    ------
    SourceError, RecordingError
        No such file, an unknown format, or a file that is damaged, cut off, or empty.
    """
    path = Path(path)
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise SourceError(f"{path}: not a kind of recording that is read here ({', '.join(SUFFIXES)})")
    stem = path.name[: -len(suffix)]
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if not file.seek(0, 2):
                raise SourceError(f"{path}: the file is empty")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        if suffix == ".xdf":
            streams = _read_xdf(path)
        elif suffix.startswith(".fif"):
            streams = _read_fif(path, stem)
        elif suffix == ".edf":
            streams = _read_edf(path, stem)
        else:
            with tempfile.TemporaryDirectory(prefix="rolandic-") as folder:
                unpacked = Path(folder) / f"{stem}.edf"
                unpacked.write_bytes(lzma.decompress(path.read_bytes()))
                streams = _read_edf(unpacked, stem)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    except RecordingError:  # from the XDF reader, with the path
        raise
    except Exception as error:  # the readers raise whatever a damaged file leads them to
        reason = (str(error).splitlines() or [type(error).__name__])[0].replace(f" in {path}", "")
        raise SourceError(f"{path}: not a readable {suffix} recording ({reason})") from error
    if not any(len(s.stamps_s) for s in streams):
        raise SourceError(f"{path}: the recording holds no samples")
    return Recording(str(path), tuple(streams), sha256)


# --- EDF and FIF, through MNE ----------------------------------------------------------------------------------------


def _read_edf(path: Path, stem: str) -> list[RecordedStream]:
    import mne

    header = _EdfHeader(path)
    raw = mne.io.read_raw_edf(path, preload=False, infer_types=True, verbose="ERROR")
    streams = []
    rates = sorted({header.n_per_record[i] for i in header.signals}, reverse=True)
    for rate in rates:
        mine = [i for i in header.signals if header.n_per_record[i] == rate]
        if len(rates) > 1:  # read together, MNE would interpolate the slower ones
            include = [header.labels[i] for i in mine]
            part = mne.io.read_raw_edf(path, include=include, preload=False, infer_types=True, verbose="ERROR")
        else:
            part = raw
        units = [header.units[i] for i in mine]
        name = stem if rate == rates[0] else f"{stem}-{part.info['sfreq']:g}Hz"
        streams.append(_signal(part, name, units))
        part.close()
    return [*streams, _markers(raw, stem, [])]


class _EdfHeader:
    """What MNE does not tell: units that are not volts, each signal's rate, and whether the file is whole."""

    def __init__(self, path: Path):
        with path.open("rb") as file:
            fixed = file.read(256)
            if len(fixed) < 256 or fixed[:8].strip() != b"0":
                raise SourceError("not an EDF file")
            n = int(fixed[252:256])
            rest = file.read(256 * n)
            size = file.seek(0, 2)
        if len(rest) < 256 * n:
            raise SourceError("cut off within its header")

        def field(start: int, width: int) -> list[str]:
            at = [n * start + i * width for i in range(n)]
            return [rest[a : a + width].decode("latin-1").strip() for a in at]

        self.labels = field(0, 16)
        self.units = field(96, 8)
        self.n_per_record = [int(v) for v in field(216, 8)]
        self.signals = [i for i, label in enumerate(self.labels) if label != "EDF Annotations"]
        n_records, record = int(fixed[236:244]), 2 * sum(self.n_per_record)
        if not self.signals or n_records == 0:
            raise SourceError("the recording holds no samples")
        if n_records > 0 and size < 256 * (n + 1) + n_records * record:
            whole = max(0, (size - 256 * (n + 1)) // record)
            raise SourceError(f"cut off: {whole} of {n_records} data records are whole; copy the file again")
        if fixed[192:197] == b"EDF+D":
            raise SourceError("discontinuous EDF+D is not read here; convert it to continuous EDF+ or FIF")


def _read_fif(path: Path, stem: str) -> list[RecordedStream]:
    import mne

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the naming convention of FIF files
        raw = mne.io.read_raw_fif(path, preload=True, allow_maxshield=True, verbose="ERROR")
    events: list[tuple[float, str]] = []
    if "stim" in raw.get_channel_types():
        found = mne.find_events(raw, shortest_event=1, verbose="ERROR")
        events = [(sample / raw.info["sfreq"], str(code)) for sample, _, code in found]
    units = [_FIFF_UNITS.get(int(c["unit"]), "") for c in raw.info["chs"]]
    return [_signal(raw, stem, units), _markers(raw, stem, events)]


def _signal(raw: Any, name: str, units: list[str]) -> RecordedStream:
    kinds = raw.get_channel_types()
    data = raw.get_data()
    channels = []
    for i, (info, kind, unit) in enumerate(zip(raw.info["chs"], kinds, units, strict=True)):
        bare = info["ch_name"].strip().rstrip(".")  # old EDF files fill labels with dots: "Fc5."
        label, standard = standard_places().get(bare.casefold(), (bare, None))
        unit = "" if kind == "stim" else canonical_unit(unit)
        if unit in _VOLTS:
            data[i] *= 1e6  # MNE holds volts
            unit = "uV"
        x, y, z = (float(v) for v in info["loc"][:3])
        placed = np.isfinite([x, y, z]).all() and any((x, y, z))
        position = (x, y, z) if placed else standard if kind == "eeg" else None
        channels.append(Channel(label, kind.upper(), unit, position))
    stim = data[[kind == "stim" for kind in kinds]]
    wide = bool(np.any(stim != stim.astype(np.float32)))
    samples = np.ascontiguousarray(data.T, np.float64 if wide else np.float32)
    sfreq_hz = float(raw.info["sfreq"])
    type_ = "MEG" if {"mag", "grad"} & set(kinds) else "EEG" if "eeg" in kinds else kinds[0].upper()
    spec = StreamSpec(
        name=name, type=type_, sfreq_hz=sfreq_hz, channels=tuple(channels), format="double64" if wide else "float32"
    )
    return RecordedStream(spec, samples, (raw.first_samp + np.arange(len(samples))) / sfreq_hz)


def _markers(raw: Any, stem: str, events: list[tuple[float, str]]) -> RecordedStream:
    notes = [(float(a["onset"]), str(a["description"])) for a in raw.annotations]
    both = sorted(notes + events, key=lambda pair: pair[0])
    return RecordedStream(marker_spec(f"{stem}-markers"), [label for _, label in both], np.array([t for t, _ in both]))


def marker_spec(name: str) -> StreamSpec:
    """A marker stream as LSL knows it: strings, one channel, no rate."""
    return StreamSpec(name=name, type="Markers", format="string", channels=(Channel("marker", "Markers"),))


@functools.cache
def standard_places() -> dict[str, tuple[str, tuple[float, float, float]]]:
    """Casefolded label to label and position (metres, MNE's head frame) of the 10-05 system."""
    import mne

    montage = mne.channels.make_standard_montage("colin27_1005")
    info = mne.create_info(montage.ch_names, 1.0, "eeg")
    info.set_montage(montage)
    places = {}
    for channel in info["chs"]:
        x, y, z = (float(v) for v in channel["loc"][:3])
        places[channel["ch_name"].casefold()] = (channel["ch_name"], (x, y, z))
    return places


def _read_xdf(path: Path) -> list[RecordedStream]:
    from bci.recording.xdf import read_xdf

    streams = read_xdf(path).streams
    return [  # labels of several channels are joined, so one channel is left of them
        RecordedStream(replace(s.spec, channels=s.spec.channels[:1]), s.samples, s.stamps_s)
        if isinstance(s.samples, list)
        else s
        for s in streams
    ]
