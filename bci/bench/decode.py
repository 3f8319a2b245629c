"""`bci bench decode`: what a hop costs, streaming and by its whole window, the same weights, in turn, one thread."""

from __future__ import annotations

import contextlib
import io
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bci.bench.whole_window import Order, WholeWindow
from bci.signal.positions import POSITIONS_M
from decoders import DECODERS, load_class
from decoders.engine import TorchStep, use_one_thread
from decoders.networks.network import Network
from decoders.onnx_step import OnnxStep, export_module, export_step, open_session
from decoders.spec import Request, SpecError

N_CHANNELS, SFREQ_HZ, HOP, WINDOW_S = 64, 250.0, 8, 2.0
N_ROUNDS, N_CALLS = 15, 40  # of every row, in turn
N_FIRST = 10  # calls that are not counted, in every round: caches hold the row before
NETWORKS = tuple(name for name, where in DECODERS.items() if where.startswith("decoders.networks"))
PEERS = ("EEGNet", "EEGConformer")  # of braindecode

Call = Callable[[], Any]
COLUMNS = {
    "step_onnx": "step ORT",
    "step_torch": "step torch",
    "step_cuda": "step CUDA",
    "published_torch": "published torch",
    "published_onnx": "published ORT",
    "fastest_torch": "fastest torch",
    "fastest_onnx": "fastest ORT",
}
WANTED = {  # how many times faster the step shall be than a column
    "eegnet": {"published_torch": 30, "fastest_torch": 8, "fastest_onnx": 4},
    "tcn": {"published_torch": 30, "fastest_torch": 8, "fastest_onnx": 4},
    "lstm": {"published_torch": 20},
    "transformer": {"published_torch": 10},
}


@dataclass
class Family:
    """The rows of one network: what to call, and whether all of them give the same logits."""

    name: str
    calls: dict[str, Call]
    is_equal: bool


def measure(
    names: Sequence[str] = NETWORKS,
    *,
    n_rounds: int = N_ROUNDS,
    n_calls: int = N_CALLS,
    each: Callable[[Sequence[str]], Any] = iter,
) -> dict[str, Any]:
    """Time every row of every network: p50 and p99 by the clock, p50 on the processor, in microseconds.

    Rows of a network take turns, ``n_calls`` calls each, ``n_rounds`` times, so that what the machine does meanwhile
    hits all of them.
    """
    use_one_thread()
    rows = []
    for name in each([*names, *PEERS]):
        family = peer(name) if name in PEERS else network(name)
        if family is not None:
            times_us = in_turn(family.calls, n_rounds, n_calls)
            rows.append({"decoder": family.name, "is_equal": family.is_equal} | _figures(family.name, times_us))
    return {
        "rows": rows,
        "n_channels": N_CHANNELS,
        "sfreq_hz": SFREQ_HZ,
        "hop": HOP,
        "window_s": WINDOW_S,
        "machine": machine(),
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "numpy")},
    }


def in_turn(calls: dict[str, Call], n_rounds: int, n_calls: int) -> dict[str, NDArray[np.float64]]:
    """Microseconds of each call (2, n), by row: by the clock, and of this thread on the processor."""
    times: dict[str, list[tuple[int, int]]] = {key: [] for key in calls}
    for _ in range(n_rounds):
        for key, call in calls.items():
            for k in range(N_FIRST + n_calls):
                began, busy = time.perf_counter_ns(), time.thread_time_ns()
                call()
                took = time.perf_counter_ns() - began, time.thread_time_ns() - busy
                if k >= N_FIRST:
                    times[key].append(took)
    return {key: np.array(values).T / 1e3 for key, values in times.items()}


def _figures(name: str, times_us: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    us = {
        key: {"p50": float(np.median(clock)), "p99": float(np.percentile(clock, 99)), "cpu_p50": float(np.median(busy))}
        for key, (clock, busy) in times_us.items()
    }
    # by the processor: a long call is more often interrupted by other programs than a short one
    times_faster = {key: us[key]["cpu_p50"] / us["step_onnx"]["cpu_p50"] for key in us if "step_onnx" in us}
    wanted = WANTED.get(name, {})
    return {
        "us": us,
        "times_faster": times_faster,
        "wanted": wanted,
        "is_reached": all(times_faster[key] >= least for key, least in wanted.items()),
    }


def untrained(name: str, seed: int = 0) -> tuple[Network, dict[str, Any]]:
    """A network of the benchmark's size with random weights, and its params."""
    channels = tuple(POSITIONS_M)[:N_CHANNELS]
    request = Request(channels=channels, sfreq_hz=SFREQ_HZ, hop=HOP, classes=("left", "right"), window_s=WINDOW_S)
    family: Any = load_class(name)
    torch.manual_seed(seed)
    net: Network = family.build(family.design(request)).eval().requires_grad_(False)
    rng = np.random.default_rng(seed)
    align = (np.eye(N_CHANNELS) + 0.05 * rng.normal(size=(N_CHANNELS, N_CHANNELS))).astype(np.float32)
    return net, {"align": align, "temperature": np.ones(1)}


def network(name: str) -> Family:
    """A network with everything that is timed; rows that should agree are checked to do so."""
    net, params = untrained(name)
    rng = np.random.default_rng(1)
    hop = rng.normal(size=(N_CHANNELS, HOP)).astype(np.float32)
    onnx, eager = OnnxStep(net, params, export_step(net, params)), TorchStep(net, params)
    calls: dict[str, Call] = {"step_onnx": lambda: onnx(hop), "step_torch": lambda: eager(hop)}
    orders: tuple[Order, ...] = ("published", "fastest")
    for order in orders:
        whole = WholeWindow(net, order, WINDOW_S)
        x = rng.normal(size=(1, N_CHANNELS, whole.n_samples)).astype(np.float32)
        if order == "fastest" and not whole.is_spatial:
            calls["fastest_torch"], calls["fastest_onnx"] = calls["published_torch"], calls["published_onnx"]
            break
        calls[f"{order}_torch"], calls[f"{order}_onnx"] = both(whole, {"x": x, "align": params["align"]})
        if whole.is_equal:
            check_equal(net, params, whole, x)
    if torch.cuda.is_available():
        from decoders.cuda_step import CudaStep

        graph = CudaStep(net, params)
        calls["step_cuda"] = lambda: graph(hop)
    return Family(name, calls, WholeWindow(net, "published", WINDOW_S).is_equal)


def check_equal(net: Network, params: dict[str, Any], whole: WholeWindow, x: NDArray[np.float32]) -> None:
    """The window at once and hop by hop give the same logits; AssertionError where they do not."""
    n = net.spec.n_priming_hops * HOP
    stream = np.concatenate([np.zeros((1, N_CHANNELS, n - x.shape[2]), np.float32), x], axis=2)[0]
    step = TorchStep(net, params)
    for at in range(0, n, HOP):
        logits = step(stream[:, at : at + HOP])
    expected = whole(torch.from_numpy(x), torch.from_numpy(params["align"]))[0].numpy()
    np.testing.assert_allclose(logits, expected, atol=2e-5 * max(1, float(np.abs(expected).max())))


def both(module: Any, inputs: dict[str, NDArray[np.float32]]) -> tuple[Call, Call]:
    """A module in eager torch and in ONNX Runtime, on inputs that stay where they are."""
    from onnxruntime import OrtValue

    module = module.eval().requires_grad_(False)
    tensors = [torch.from_numpy(value) for value in inputs.values()]
    session = open_session(export_module(module, tuple(tensors), list(inputs), ["logits"]), "benchmark")
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(value))
    with torch.inference_mode():
        logits = module(*tensors).numpy().copy()
    expected = logits.copy()
    binding.bind_ortvalue_output("logits", OrtValue.ortvalue_from_numpy(logits))

    def eager() -> Any:
        with torch.inference_mode():
            return module(*tensors)

    def onnx() -> None:
        session.run_with_iobinding(binding)

    onnx()
    np.testing.assert_allclose(logits, expected, atol=2e-5 * max(1, float(np.abs(expected).max())))
    return eager, onnx


def peer(name: str) -> Family | None:
    """A network of braindecode on the window, or None where it is not installed."""
    from decoders.braindecode import load_braindecode

    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            models = load_braindecode()
            n = round(WINDOW_S * SFREQ_HZ)
            module = getattr(models, name)(n_chans=N_CHANNELS, n_outputs=2, n_times=n, sfreq=SFREQ_HZ)
            x = np.random.default_rng(0).normal(size=(1, N_CHANNELS, n)).astype(np.float32)
            eager, onnx = both(module, {"x": x})
    except SpecError:
        return None
    return Family(f"braindecode {name}", {"published_torch": eager, "published_onnx": onnx}, False)


def machine() -> str:
    """Processor, cores and system, in words."""
    import os

    from bci.build import processor

    return f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def _cell(us: dict[str, float] | None) -> str:
    return f"{us['p50']:.0f} ({us['p99']:.0f})" if us else "-"


def table(result: dict[str, Any]) -> str:
    """For people."""
    columns = [key for key in COLUMNS if any(key in row["us"] for row in result["rows"])]
    lines = [
        f"a hop of {result['hop']} samples, {result['n_channels']} ch x {result['sfreq_hz']:g} Hz, window "
        f"{result['window_s']:g} s, one thread; {result['machine']}; "
        + ", ".join(f"{name} {v}" for name, v in result["versions"].items()),
        f"{'p50 (p99), microseconds':<24}" + "".join(f"{COLUMNS[key]:>18}" for key in columns),
    ]
    for row in result["rows"]:
        told = "".join(f"{_cell(row['us'].get(key)):>18}" for key in columns)
        lines.append(f"{row['decoder'] + ('' if row['is_equal'] else ' *'):<24}{told}")
    lines.append(f"{'times faster (CPU time)':<24}" + "".join(f"{COLUMNS[key]:>18}" for key in columns))
    for row in result["rows"]:
        if row["times_faster"]:
            told = "".join(f"{row['times_faster'][key]:>17.1f}x" for key in columns)
            wanted = ", ".join(f"{least}x {COLUMNS[key]}" for key, least in row["wanted"].items())
            met = f"  wanted {wanted}: {'reached' if row['is_reached'] else 'NOT reached'}" if wanted else ""
            lines.append(f"{row['decoder']:<24}{told}{met}")
    lines.append(
        "* equal work, not equal output: a recurrent cell starts from nothing at every window, attention is over all "
        "of its tokens; braindecode's have other sizes. The others give the same logits in every column."
    )
    return "\n".join(lines)
