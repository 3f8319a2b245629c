"""A recording through the whole path: a file, `bci stream`, `bci run`, and the session's recording as it came out."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bci.recording.xdf import read_xdf
from bci.sources.save import save_xdf
from bci.types import DTYPES, Channel, Gap, Numbered, RecordedStream, SampleFormat, StreamSpec
from decoders import load_class
from decoders.checkpoint import save_model
from decoders.spec import Request

LIMIT_S = 90.0  # beyond the recording's own length; a machine that does three other things takes half of it
FIRST = {"float32": 0, "int32": 2**30, "double64": 2**50}  # of the sample numbers: a cast on the way would show


def counted(
    n: int, n_channels: int, sfreq_hz: float, format_: SampleFormat = "float32", stamps_s: Any = None
) -> RecordedStream:
    """Noise in channels ``ch1``, ``ch2``, ... and, in channel ``n``, the number of each sample."""
    generator = np.random.default_rng(5)
    samples = generator.normal(0, 30, (n, n_channels)).astype(DTYPES[format_])
    samples[:, 0] = FIRST[format_] + np.arange(n)
    labels = ("n", *(f"ch{i}" for i in range(1, n_channels)))
    channels = tuple(Channel(label, "Misc" if label == "n" else "EEG", "uV") for label in labels)
    spec = StreamSpec(name="counted", sfreq_hz=sfreq_hz, format=format_, channels=channels)
    return RecordedStream(spec, samples, 100 + np.arange(n) / sfreq_hz if stamps_s is None else np.asarray(stamps_s))


def write_xdf(path: Path, *streams: RecordedStream) -> Path:
    """A file for `bci stream`."""
    return save_xdf(path, streams)


def noise_model(
    folder: Path,
    decoder: str,
    spec: StreamSpec,
    labels: dict[str, str],
    sfreq_hz: float,
    hop: int,
    preprocessing: dict[str, Any],
    unit: str = "uV",
) -> Path:
    """A model for all channels of a stream: what it says is worthless, but every bit of it depends on the signal."""
    family, channels, classes = load_class(decoder), spec.labels, tuple(labels.values())
    request = Request(channels=channels, sfreq_hz=sfreq_hz, hop=hop, classes=classes, window_s=1.0, unit=unit)
    design = family.design(request)
    n = (design.receptive_field or int(sfreq_hz)) + 5 * hop
    size = {"uV": 10, "T": 3e-13}[unit]
    x = np.random.default_rng(1).normal(0, size, (24, len(channels), n // hop * hop)).astype(np.float32)
    fitted = family.fit(design, x, np.arange(24) % 2, seed=1)
    how = {"channels": channels, "sfreq_hz": sfreq_hz, "hop": hop, "unit": unit, **preprocessing}
    save_model(folder, design, fitted, how, {"labels": labels, "decide_at_s": 2.0}, "# fitted to noise\n")
    return folder


@dataclass
class Came:
    """What a session left. ``raw`` is the signal, ``sent`` what ``bci stream --json`` says of it."""

    report: dict[str, Any]
    sent: dict[str, Any]
    streams: dict[str, RecordedStream]
    name: str
    folder: Path

    @property
    def raw(self) -> RecordedStream:
        return self.streams[self.name]

    @property
    def events(self) -> list[Any]:
        """What entered the session, in order, checked to be without a hole."""
        lines = [msgspec.json.decode(line, type=Numbered) for line in self.streams["bci-events"].samples]
        assert [line.seq for line in lines] == list(range(len(lines)))
        return [line.event for line in lines]

    @property
    def verdicts(self) -> list[tuple[str, int, int]]:
        """Kind, place and size of every gap of the signal that was judged."""
        return [(e.verdict, e.first_index, e.n) for e in self.events
                if isinstance(e, Gap) and e.stream == 0 and e.verdict != "open"]  # fmt: skip

    def assert_whole(self, source: RecordedStream) -> None:
        """Every sample of ``source`` is in the recording, in order, bit for bit, with its own stamp."""
        raw = self.raw
        assert raw.spec.format == source.spec.format
        assert raw.samples.dtype == source.samples.dtype
        assert np.array_equal(raw.samples[:, 0], source.samples[:, 0])
        assert raw.samples.tobytes() == source.samples.tobytes()
        assert np.array_equal(raw.stamps_s, source.stamps_s + self.sent["shift_s"])
        assert self.report["n_samples"] == self.sent["n_samples"] == len(source.stamps_s)
        assert (self.report["n_unrecorded"], self.report["recorder"]) == ({}, "ok")


@contextlib.contextmanager
def running(*arguments: Any) -> Iterator[subprocess.Popen[str]]:
    """`python ARGUMENTS` in a process session of its own; killed at the end if it has not ended by itself."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """All cores but one are kept busy."""
    with contextlib.ExitStack() as stack:
        for _ in range(max(1, (os.cpu_count() or 2) - 1)):
            stack.enter_context(running("-c", "while True: pass"))
        yield


def ended(process: subprocess.Popen[str], what: str, timeout_s: float, code: int = 0) -> str:
    """What it printed, once it has ended with ``code``."""
    out, errors = process.communicate(timeout=timeout_s)
    assert process.returncode == code, f"{what} ended with {process.returncode}: {errors}"
    return out


def run_arguments(name: str, model: Path, folder: Path, *options: Any) -> list[Any]:
    """Of `bci run` in ``folder``."""
    return ["-m", "bci", "run", "--stream", name, "--model", model, "--session", folder / "session", "--wait", 40,
            "--quiet", "--json", folder / "report.json", *options]  # fmt: skip


def stream_arguments(recording: Path, name: str, *options: Any) -> list[Any]:
    """Of `bci stream`, which waits for `bci run`."""
    return ["-m", "bci", "stream", recording, "--name", name, "--wait", "--json", "-", *options]


def play(
    recording: Path, model: Path, name: str, folder: Path, *, stream: tuple[Any, ...] = (), run: tuple[Any, ...] = ()
) -> Came:
    """`bci stream` and `bci run` to their ends, with more options for each."""
    with (
        running(*stream_arguments(recording, name, *stream)) as sender,
        running(*run_arguments(name, model, folder, *run)) as live,
    ):
        sent = json.loads(ended(sender, "bci stream", LIMIT_S + 60))
        ended(live, "bci run", LIMIT_S)
    return came(name, folder, sent)


def came(name: str, folder: Path, sent: dict[str, Any]) -> Came:
    """What a session in ``folder`` left."""
    streams = {s.spec.name: s for s in read_xdf(folder / "session" / "session.xdf").streams}
    return Came(json.loads((folder / "report.json").read_text()), sent, streams, name, folder)
