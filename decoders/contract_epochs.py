"""Checks of the contract of decoders that are locked to markers, as `decoders.contract` has them for the others.

>>> from decoders.contract_epochs import check_epoch_decoder
>>> check_epoch_decoder(my_factory)  # doctest: +SKIP

A factory returns ``(decoder, params)``, made anew at each call and with the same weights; params are numpy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from decoders.contract import need, need_close
from decoders.spec import Arrays, EpochDecoder

Factory: TypeAlias = Callable[[], tuple[EpochDecoder, Arrays]]


def check_epoch_decoder(factory: Factory) -> None:
    """Run every check; ContractError says which promise is broken."""
    for check in CHECKS:
        check(factory)


def check_spec(factory: Factory) -> None:
    """The spec has an epoch, and numpy as its backend."""
    spec = factory()[0].spec
    need(spec.epoch is not None, "the spec has no epoch")
    need(spec.backend == "numpy", f"backend {spec.backend}: epochs are numpy arrays")


def check_shapes(factory: Factory) -> None:
    """``predict`` gives (batch, classes), finite numbers."""
    decoder, params = factory()
    for batch in (1, 3):
        logits = decoder.predict(_epochs(decoder, batch), params)
        wanted = (batch, len(decoder.spec.classes))
        need(np.shape(logits) == wanted, f"predict gives {np.shape(logits)}, not {wanted}")
        need(np.isfinite(logits).all(), "predict gives numbers that are not finite")


def check_silence(factory: Factory) -> None:
    """Epochs of zeros, with a channel of zeros, and of large numbers give finite logits."""
    decoder, params = factory()
    epoch = _epochs(decoder, 1)
    flat = epoch.copy()
    flat[:, 0] = 0
    for x in (np.zeros_like(epoch), flat, 1e4 * epoch):
        need(np.isfinite(decoder.predict(x, params)).all(), f"not finite for epochs of up to {np.abs(x).max():.0g}")


def check_nothing_is_changed(factory: Factory) -> None:
    """``predict`` changes neither the epochs nor params, and its answer stays as it was given."""
    decoder, params = factory()
    epoch = _epochs(decoder, 2)
    before, kept = epoch.copy(), {name: np.array(value) for name, value in params.items()}
    logits = decoder.predict(epoch, params)
    given = np.array(logits)
    need(np.array_equal(epoch, before), "predict changes its input")
    need(all(np.array_equal(params[name], value) for name, value in kept.items()), "predict changes params")
    epoch[:] = 99.0
    decoder.predict(epoch, params)
    need(np.array_equal(logits, given), "an answer changes after it was given")


def check_no_memory(factory: Factory) -> None:
    """The answer to an epoch does not depend on those before it."""
    decoder, params = factory()
    epochs = _epochs(decoder, 4)
    first = np.array(decoder.predict(epochs[:1], params))
    for other in epochs[1:]:
        decoder.predict(3 * other[None], params)
    need(np.array_equal(decoder.predict(epochs[:1], params), first), "something of the epochs before is remembered")


def check_determinism(factory: Factory) -> None:
    """Two copies give the same bits, wherever the epoch lies in memory."""
    (one, params), (two, same) = factory(), factory()
    epoch = _epochs(one, 1)
    shifted = np.empty(epoch.size + 1, np.float32)[1:].reshape(epoch.shape)
    shifted[:] = epoch
    need(np.array_equal(one.predict(epoch, params), two.predict(shifted, same)), "two copies give different bits")


def check_batch(factory: Factory) -> None:
    """Epochs of a batch do not see each other."""
    decoder, params = factory()
    epochs = _epochs(decoder, 3)
    alone = np.concatenate([decoder.predict(epochs[i : i + 1], params) for i in range(3)])
    need_close(np.asarray(decoder.predict(epochs, params)), alone, "an epoch of a batch depends on the others")


def check_params(factory: Factory) -> None:
    """A temperature is among params and is left to the runner."""
    decoder, params = factory()
    need("temperature" in params, "params hold no temperature")
    epoch = _epochs(decoder, 1)
    before = np.array(decoder.predict(epoch, params))
    hotter = {**params, "temperature": 3 * params["temperature"]}
    need(np.array_equal(decoder.predict(epoch, hotter), before), "the temperature changes the logits")


CHECKS: tuple[Callable[[Factory], None], ...] = (
    check_spec,
    check_shapes,
    check_silence,
    check_nothing_is_changed,
    check_no_memory,
    check_determinism,
    check_batch,
    check_params,
)


def _epochs(decoder: EpochDecoder, n: int) -> NDArray[np.float32]:
    shape = (n, len(decoder.spec.channels), decoder.spec.receptive_field or 0)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)
