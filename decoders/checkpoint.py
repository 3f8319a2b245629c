"""A model on disk: a folder of plain arrays and JSON, sealed by one hash. Nothing in it is ever executed.

::

    weights.safetensors   arrays: ``weights.*`` of the decoder, ``params.*`` that recalibration changes
    spec.json             format, decoder spec, preprocessing, temperature, what it was trained on, scores, versions
    card.md               the same for people
    step.onnx             where there is one: the decoder's hop as an ONNX graph; of an ensemble, step.0.onnx ...
    SHA256                of names, lengths and bytes of all of them
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from decoders import load_class
from decoders.spec import Arrays, Decoder, DecoderError, DecoderSpec, EpochDecoder, Fitted

FORMAT = 1
_FILES = ("card.md", "spec.json", "weights.safetensors")
_STEP = re.compile(r"step(\.\d+)?\.onnx")


class CheckpointError(DecoderError):
    """A model folder that cannot be read or written."""


class _SpecFile(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    decoder: DecoderSpec
    preprocessing: dict[str, Any]
    temperature: float
    info: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model that was loaded.

    ``preprocessing`` is whatever the application stored; ``info`` says where it is from. ``onnx`` holds the bytes that
    `decoders.onnx_step` computes a hop by, or None: one entry, or one for each member of an ensemble.
    ``weights`` are the decoder's, as stored.
    """

    decoder: Decoder | EpochDecoder
    params: Arrays
    preprocessing: dict[str, Any]
    spec: DecoderSpec
    hash: str
    info: dict[str, Any]
    onnx: tuple[bytes | None, ...] = (None,)
    weights: Arrays = field(default_factory=dict)


def save_model(
    folder: str | os.PathLike[str],
    spec: DecoderSpec,
    fitted: Fitted,
    preprocessing: Mapping[str, Any],
    info: Mapping[str, Any],
    card: str,
    onnx: Sequence[bytes | None] = (),
) -> str:
    """Write a model folder, whole or not at all; an older model of that name is replaced.

    Returns
    -------
    str
        The hash, 64 hexadecimal digits.

    Raises
    ------
    CheckpointError
        The folder cannot be written, or is in use for something else.
    """
    from safetensors.numpy import save

    arrays = {f"weights.{k}": np.ascontiguousarray(v) for k, v in fitted.weights.items()}
    arrays |= {f"params.{k}": np.ascontiguousarray(v) for k, v in fitted.params.items()}
    temperature = float(np.asarray(fitted.params["temperature"]).reshape(-1)[0])
    described = _SpecFile(
        format=FORMAT, decoder=spec, preprocessing=dict(preprocessing), temperature=temperature, info=dict(info)
    )
    contents = {
        "card.md": card.encode(),
        "spec.json": msgspec.json.format(msgspec.json.encode(described, order="sorted"), indent=2) + b"\n",
        "weights.safetensors": save(arrays),
    } | {name: step for name, step in zip(step_names(spec), onnx, strict=False) if step is not None}
    digest = _digest(contents)
    _write_folder(Path(folder), contents | {"SHA256": f"{digest}\n".encode()})
    return digest


def load_model(folder: str | os.PathLike[str]) -> Model:
    """Read a model folder and check every byte of it.

    Raises
    ------
    CheckpointError
        No model there, a file missing, changed, cut or foreign, or made by another version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    folder = Path(folder)
    contents = _read_folder(folder)
    claimed = contents.pop("SHA256").decode("ascii", "replace").strip()
    digest = _digest(contents)
    if digest != claimed:
        raise CheckpointError(
            f"model {folder}: its files do not match SHA256 ({digest[:12]}…, sealed as {claimed[:12]}…): "
            "it was changed or damaged; train it again or copy it again"
        )
    try:
        described = msgspec.json.decode(contents["spec.json"], type=_SpecFile)
    except (msgspec.DecodeError, DecoderError) as error:
        raise CheckpointError(f"model {folder}: spec.json is not ours ({error}); train it again") from None
    if described.format != FORMAT:
        raise CheckpointError(
            f"model {folder}: format {described.format}, this program reads {FORMAT}; train it again with this version"
        )
    try:
        arrays = load(contents["weights.safetensors"])
        weights = {k.removeprefix("weights."): v for k, v in arrays.items() if k.startswith("weights.")}
        params = {k.removeprefix("params."): v for k, v in arrays.items() if k.startswith("params.")}
        decoder = load_class(described.decoder.name).restore(described.decoder, weights)
    except (SafetensorError, DecoderError, KeyError, ValueError) as error:
        raise CheckpointError(f"model {folder}: weights do not fit its spec ({error}); train it again") from None
    if "temperature" not in params:
        raise CheckpointError(f"model {folder}: no temperature among its params; train it again")
    steps = tuple(contents.get(name) for name in step_names(described.decoder))
    return Model(decoder, params, described.preprocessing, described.decoder, digest, described.info, steps, weights)


def step_names(spec: DecoderSpec) -> tuple[str, ...]:
    """The files that hold the steps of a decoder, or of an ensemble's members."""
    return tuple(f"step.{i}.onnx" for i in range(len(spec.members))) or ("step.onnx",)


def load_weights(folder: str | os.PathLike[str]) -> Arrays:
    """The weights of a model that `load_model` takes, by name; CheckpointError where they cannot be read."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(_read_folder(Path(folder))["weights.safetensors"])
    except SafetensorError as error:
        raise CheckpointError(f"model {folder}: weights cannot be read ({error}); train it again") from None
    return {name.removeprefix("weights."): v for name, v in arrays.items() if name.startswith("weights.")}


def model_hash(folder: str | os.PathLike[str]) -> str:
    """The hash of the folder's bytes as they are now, whatever SHA256 claims."""
    contents = _read_folder(Path(folder))
    contents.pop("SHA256")
    return _digest(contents)


def _digest(contents: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name in sorted(contents):
        total.update(f"{name}\0{len(contents[name])}\0".encode())
        total.update(contents[name])
    return total.hexdigest()


def _read_folder(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise CheckpointError(f"no model folder {folder}; make one with: bci train RECORDING --out {folder}")
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    wanted = {*_FILES, "SHA256"}
    if missing := sorted(wanted - found):
        raise CheckpointError(f"model {folder}: {', '.join(missing)} missing; it is not a whole model folder")
    wanted |= {name for name in found if _STEP.fullmatch(name)}
    if foreign := sorted(found - wanted):
        raise CheckpointError(f"model {folder}: {', '.join(foreign)} does not belong there; take it out")
    try:
        return {name: (folder / name).read_bytes() for name in wanted}
    except OSError as error:
        raise CheckpointError(f"model {folder}: cannot be read ({error.strerror})") from None


def check_place(folder: str | os.PathLike[str]) -> None:
    """Make sure that a model may be written there, before hours of training are lost.

    Raises
    ------
    CheckpointError
        The folder is in use for something else, or lies where nothing can be written.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / "SHA256").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} exists and is not a model; choose another --out or move it away")
    parent = folder.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise CheckpointError(f"cannot write model {folder}: {parent} is no writable folder; choose another --out")


def _write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    check_place(folder)
    tag = secrets.token_hex(4)
    new, old = folder.with_name(f".{folder.name}.{tag}.new"), folder.with_name(f".{folder.name}.{tag}.old")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new.mkdir()
        for name, data in contents.items():
            with (new / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        _sync_folder(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        _sync_folder(folder.parent)
    except OSError as error:
        if old.exists() and not folder.exists():
            with contextlib.suppress(OSError):
                old.rename(folder)
        raise CheckpointError(
            f"cannot write model {folder}: {error.strerror}; choose an --out that is writable and has space"
        ) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a directory cannot be opened there; NTFS journals the rename
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
