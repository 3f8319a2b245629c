"""What a training writes beside its model while it runs: a log of losses, their plot, and snapshots to go on from.

The folder is called ``MODEL.training``; the model folder itself is sealed. Snapshots go when the model is saved.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bci.errors import ModelError
from decoders.training.plan import Epoch, Snapshot


class WorkFolder:
    """Journals of the fits of one training.

    Parameters
    ----------
    model : str
        Where the model will be saved.
    resume : bool
        Go on from the snapshots that are there. Otherwise they are removed.
    """

    def __init__(self, model: str, *, resume: bool):
        self.folder = Path(model).with_name(Path(model).name + ".training")
        self._resume, self._fingerprint = resume, ""
        self._epochs: dict[str, tuple[Epoch, ...]] = {}
        if resume and not any(self.folder.glob("*.safetensors")):
            raise ModelError(f"--resume: no snapshot in {self.folder}; train without it")

    def open(self, fingerprint: str) -> WorkFolder:
        """For the training of that fingerprint: the snapshots of another are of no use."""
        self._fingerprint = fingerprint
        if not self._resume:
            self._remove_snapshots()
        return self

    def journal(self, name: str) -> _Journal:
        """Of the fit of that name."""
        return _Journal(self, name)

    def finish(self) -> None:
        """Plot the losses and remove the snapshots: the model is saved."""
        self._remove_snapshots()
        if not self._epochs:
            return  # no network
        try:
            self._plot()
        except (ImportError, OSError):
            return  # a picture is not worth a training

    def _remove_snapshots(self) -> None:
        for path in self.folder.glob("*.safetensors"):
            path.unlink(missing_ok=True)

    def load(self, name: str) -> Snapshot | None:
        """The last snapshot of that fit; ModelError where it is of another training."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            with safe_open(path, "numpy") as file:
                said = file.metadata() or {}
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            if said["training"] != self._fingerprint:
                raise ModelError(
                    f"--resume: {path} is of another training (recordings, options or versions differ); "
                    "give those of before, or train without --resume"
                )
            epochs = msgspec.json.decode(said["epochs"], type=tuple[Epoch, ...])
            snapshot = Snapshot(arrays, epochs, msgspec.json.decode(said["rest"]))
        except (SafetensorError, KeyError, OSError, msgspec.DecodeError) as error:
            raise ModelError(f"--resume: {path} cannot be read ({error}); train without it") from None
        self._epochs[name] = snapshot.epochs
        return snapshot

    def save(self, name: str, snapshot: Snapshot) -> None:
        """Replace the snapshot of that fit, and write the log."""
        path = self.folder / f"{name}.safetensors"
        self._epochs[name] = snapshot.epochs
        said = {
            "training": self._fingerprint,
            "epochs": msgspec.json.encode(snapshot.epochs).decode(),
            "rest": msgspec.json.encode(snapshot.rest).decode(),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(".new")
            save_file({key: np.ascontiguousarray(v) for key, v in snapshot.arrays.items()}, new, metadata=said)
            new.replace(path)  # a kill leaves the one of before
            self._write_log()
        except OSError as error:
            raise ModelError(f"cannot write {path}: {error.strerror}; make space, then --resume") from None

    def _write_log(self) -> None:
        new = self.folder / "losses.csv.new"
        with new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["fit", *Epoch.__struct_fields__])
            for name, epochs in self._epochs.items():
                writer.writerows([name, *msgspec.structs.astuple(epoch)] for epoch in epochs)
        new.replace(self.folder / "losses.csv")

    def _plot(self) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for name, epochs in self._epochs.items():
            number = [epoch.number for epoch in epochs]
            (line,) = axes.plot(number, [epoch.loss for epoch in epochs], label=name)
            if epochs[0].held_out_loss is not None:
                held_out: Any = [epoch.held_out_loss for epoch in epochs]
                axes.plot(number, held_out, "--", color=line.get_color(), label=f"{name}, held out")
        axes.set(xlabel="epoch", ylabel="loss")
        axes.legend(fontsize="small")
        figure.savefig(os.fspath(self.folder / "losses.png"), dpi=100)


class _Journal:
    def __init__(self, folder: WorkFolder, name: str):
        self._folder, self._name = folder, name

    def last(self) -> Snapshot | None:
        return self._folder.load(self._name)

    def keep(self, snapshot: Snapshot) -> None:
        self._folder.save(self._name, snapshot)
