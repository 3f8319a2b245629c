"""Checks of the streaming contract. They take a factory and need no pytest, so that anyone can run them on a decoder.

>>> from decoders.contract import check_decoder
>>> check_decoder(my_factory)  # doctest: +SKIP

A factory returns ``(decoder, params)``, made anew at each call and with the same weights; params are numpy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decoders.spec import Arrays, Decoder, DecoderError

Factory: TypeAlias = Callable[[], tuple[Decoder, Arrays]]
RELATIVE = 1e-5


class ContractError(DecoderError):
    """A decoder breaks the streaming contract."""


def check_decoder(factory: Factory) -> None:
    """Run every check; ContractError says which promise is broken, and where."""
    for check in CHECKS:
        check(factory)


def check_shapes(factory: Factory) -> None:
    """``step`` gives (batch, classes), ``forward`` (batch, n, classes), finite; state is a flat tuple by batch."""
    box = _Box(factory)
    n_outputs = box.spec.n_outputs
    for batch in (1, 3):
        x = box.signal(4, batch)
        state = box.decoder.initial_state(batch)
        need(isinstance(state, tuple), f"initial_state gives {type(state).__name__}, a flat tuple is needed")
        need(all(part.shape[0] == batch for part in state), f"a part of the state does not have batch {batch} first")
        logits, after = box.step(x[:, :, : box.spec.hop], state)
        need(logits.shape == (batch, n_outputs), f"step gives {logits.shape}, not {(batch, n_outputs)}")
        same = [(a.shape, a.dtype) for a in after] == [(b.shape, b.dtype) for b in state]
        need(same, "step changes the shapes or types of the state")
        logits, _ = box.forward(x, state)
        need(logits.shape == (batch, 4, n_outputs), f"forward gives {logits.shape}, not {(batch, 4, n_outputs)}")
        need(np.isfinite(logits).all(), "forward gives numbers that are not finite")


def check_silence(factory: Factory) -> None:
    """A signal of zeros, and one of large numbers, give finite logits."""
    box = _Box(factory)
    for x in (np.zeros_like(box.signal(3, 1)), 1e4 * box.signal(3, 1)):
        logits, _ = box.forward(x, box.decoder.initial_state(1))
        need(np.isfinite(logits).all(), f"logits are not finite for a signal of up to {np.abs(x).max():.0g}")


def check_fold(factory: Factory) -> None:
    """Folding ``step`` over the hops equals ``forward``, from the first hop and from any later state."""
    box = _Box(factory)
    n_hops = box.spec.n_priming_hops + 6
    x = box.signal(n_hops, 2)
    state = box.decoder.initial_state(2)
    folded, _ = box.fold(x, state)
    whole, _ = box.forward(x, state)
    need_close(folded, whole, "step folded over the hops differs from forward")
    cut = n_hops // 3
    _, middle = box.fold(x[:, :, : cut * box.spec.hop], state)
    later, _ = box.forward(x[:, :, cut * box.spec.hop :], middle)
    need_close(later, whole[:, cut:], f"forward from the state after {cut} hops differs from forward over all")


def check_causal(factory: Factory) -> None:
    """An output does not depend on what comes after its hop."""
    box = _Box(factory)
    x = box.signal(6, 1)
    changed = x.copy()
    changed[:, :, 3 * box.spec.hop :] = 7.0
    state = box.decoder.initial_state(1)
    before, after = box.forward(x, state)[0], box.forward(changed, state)[0]
    need_close(after[:, :3], before[:, :3], "forward looks at samples after the hop")


def check_state_is_value(factory: Factory) -> None:
    """``step`` changes neither its input, nor the state, nor params, and keeps no view of the input."""
    box = _Box(factory)
    x = box.signal(3, 1)
    hop = box.spec.hop
    _, state = box.step(x[:, :, :hop], box.decoder.initial_state(1))
    kept = [_numpy(part).copy() for part in state]
    params = {name: _numpy(value).copy() for name, value in box.params.items()}
    mine = box.array(x[:, :, hop : 2 * hop])
    first, after = box.raw_step(mine, state)
    first = _numpy(first).copy()
    need(np.array_equal(_numpy(mine), x[:, :, hop : 2 * hop]), "step changes its input")
    need(
        all(np.array_equal(_numpy(a), b) for a, b in zip(state, kept, strict=True)),
        "step changes the state it is given",
    )
    need(all(np.array_equal(_numpy(box.params[k]), v) for k, v in params.items()), "step changes params")
    again, _ = box.step(x[:, :, hop : 2 * hop], state)
    need(np.array_equal(first, again), "the same state and hop give another answer the second time")
    frozen = [_numpy(part).copy() for part in after]
    mine[:] = 99.0
    need(
        all(np.array_equal(_numpy(a), b) for a, b in zip(after, frozen, strict=True)),
        "the state is a view of the input",
    )


def check_reset(factory: Factory) -> None:
    """``initial_state`` is the same however much has been decoded before."""
    box = _Box(factory)
    x = box.signal(5, 1)
    fresh, _ = box.fold(x, box.decoder.initial_state(1))
    box.fold(3 * x, box.decoder.initial_state(1))
    again, _ = box.fold(x, box.decoder.initial_state(1))
    need(np.array_equal(fresh, again), "after initial_state something of the signal before is remembered")


def check_determinism(factory: Factory) -> None:
    """Two copies give the same bits, wherever the hop lies in memory."""
    one, two = _Box(factory), _Box(factory)
    x = one.signal(5, 1)
    shifted = np.empty(x.size + 1, np.float32)[1:].reshape(x.shape)
    shifted[:] = x
    first, _ = one.fold(x, one.decoder.initial_state(1))
    second, _ = two.fold(shifted, two.decoder.initial_state(1))
    need(np.array_equal(first, second), "two copies of the decoder give different bits for the same hops")


def check_batch(factory: Factory) -> None:
    """Rows of a batch do not see each other."""
    box = _Box(factory)
    x = box.signal(4, 3)
    together, _ = box.forward(x, box.decoder.initial_state(3))
    alone = np.concatenate([box.forward(x[i : i + 1], box.decoder.initial_state(1))[0] for i in range(3)])
    need_close(together, alone, "a row of a batch depends on the others")


def check_memory(factory: Factory) -> None:
    """After ``spec.n_priming_hops`` the start no longer shows; an endless memory has lost three quarters of it."""
    box = _Box(factory)
    n = box.spec.n_priming_hops
    x = box.signal(n + 2, 1)
    _, other = box.fold(-2 * box.signal(n + 3, 1, seed=5), box.decoder.initial_state(1))
    fresh, _ = box.fold(x, box.decoder.initial_state(1))
    late, _ = box.fold(x, other)
    if box.spec.receptive_field is not None:
        need_close(late[:, n - 1 :], fresh[:, n - 1 :], f"after {n} hops the start still shows")
        return
    shows = np.abs(late - fresh).max(axis=(0, 2))
    left = float(shows[n] / max(shows[0], 1e-12))
    need(left < 0.25, f"after {n + 1} hops {left:.0%} of the start still shows; state more warmup_hops, or forget it")


def check_params(factory: Factory) -> None:
    """A temperature is among params and is left to the runner: it does not change the logits."""
    box = _Box(factory)
    need("temperature" in box.params, "params hold no temperature")
    x = box.signal(2, 1)
    before, _ = box.forward(x, box.decoder.initial_state(1))
    box.params["temperature"] = box.params["temperature"] * 3
    after, _ = box.forward(x, box.decoder.initial_state(1))
    need(np.array_equal(before, after), "the temperature changes the logits; they are divided by it later")


CHECKS: tuple[Callable[[Factory], None], ...] = (
    check_shapes,
    check_silence,
    check_fold,
    check_causal,
    check_state_is_value,
    check_reset,
    check_determinism,
    check_batch,
    check_memory,
    check_params,
)


class _Box:
    """A decoder with its params, called with numpy arrays whatever its backend."""

    def __init__(self, factory: Factory):
        self.decoder, params = factory()
        self.spec = self.decoder.spec
        self.params: dict[str, Any] = {name: self.array(value) for name, value in params.items()}

    def array(self, x: Any) -> Any:
        x = np.asarray(x)
        if self.spec.backend == "numpy":
            return x if x.flags.writeable else x.copy()
        import torch

        return torch.from_numpy(np.array(x, np.float32))

    def signal(self, n_hops: int, batch: int, seed: int = 1) -> NDArray[np.float32]:
        shape = (batch, len(self.spec.channels), n_hops * self.spec.hop)
        return np.random.default_rng(seed).normal(size=shape).astype(np.float32)

    def raw_step(self, x: Any, state: Any) -> tuple[Any, Any]:
        return self.decoder.step(x, state, self.params)

    def step(self, x: NDArray[np.float32], state: Any) -> tuple[NDArray, Any]:
        logits, state = self.decoder.step(self.array(x), state, self.params)
        return _numpy(logits), state

    def forward(self, x: NDArray[np.float32], state: Any) -> tuple[NDArray, Any]:
        logits, state = self.decoder.forward(self.array(x), state, self.params)
        return _numpy(logits), state

    def fold(self, x: NDArray[np.float32], state: Any) -> tuple[NDArray, Any]:
        logits = []
        for at in range(0, x.shape[2], self.spec.hop):
            one, state = self.step(x[:, :, at : at + self.spec.hop], state)
            logits.append(one)
        return np.stack(logits, axis=1), state


def _numpy(x: Any) -> NDArray:
    return np.asarray(x.detach()) if hasattr(x, "detach") else np.asarray(x)


def need(is_kept: Any, what: str) -> None:
    """Raise ContractError that says ``what``, unless the promise is kept."""
    if not is_kept:
        raise ContractError(what)


def need_close(a: NDArray, b: NDArray, what: str, tolerance: float = RELATIVE) -> None:
    """`need` that two arrays are equal, relative to the largest number of the second."""
    scale = max(float(np.abs(b).max()), 1e-6)
    worst = float(np.abs(np.asarray(a, float) - b).max()) / scale
    if not worst <= tolerance:
        raise ContractError(f"{what}: by {worst:.2g} of the largest logit, allowed {tolerance:g}")
