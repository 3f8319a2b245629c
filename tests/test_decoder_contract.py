"""Each registry entry passes each check of the streaming contract, and each check rejects a decoder that breaks it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import DECODERS, load_class
from decoders import contract as c
from decoders.spec import DecoderSpec, Request

EPOCH_DECODERS = ("xdawn", "cca")  # they keep another contract: tests/test_epoch_decoders.py
STREAMING = [name for name in DECODERS if name not in EPOCH_DECODERS]
_fitted = {}


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    monkeypatch.setattr("decoders.training.loop.MIN_EPOCHS", 2)
    monkeypatch.setattr("decoders.training.loop.MIN_STEPS", 2)


def trained(name, hop=8, n_channels=5, window_s=1.0):
    key = (name, hop, n_channels, window_s)
    if key not in _fitted:
        family = load_class(name)
        channels = tuple(f"c{i}" for i in range(n_channels))
        spec = family.design(
            Request(channels=channels, sfreq_hz=80.0, hop=hop, classes=("left", "right"), window_s=window_s)
        )
        rng = np.random.default_rng(0)
        x = rng.normal(size=(12, n_channels, spec.context)).astype(np.float32)
        y = np.arange(12) % 2
        x[y == 1, 0] *= 2
        _fitted[key] = family, spec, family.fit(spec, x, y, seed=0)
    family, spec, fitted = _fitted[key]
    return lambda: (family.restore(spec, fitted.weights), dict(fitted.params))


@pytest.mark.parametrize("check", c.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", STREAMING)
def test_registry_keeps_the_contract(name, check):
    check(trained(name))


@pytest.mark.parametrize("name", STREAMING)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_split_of_the_signal_gives_what_forward_gives(name, data):
    decoder, params = trained(name)()
    box = c._Box(lambda: (decoder, params))
    n_hops = data.draw(st.integers(2, 60))
    x = box.signal(n_hops, 1, seed=data.draw(st.integers(0, 99)))
    whole, _ = box.forward(x, decoder.initial_state(1))
    cuts = sorted(data.draw(st.sets(st.integers(1, n_hops - 1), max_size=4)))
    state, parts = decoder.initial_state(1), []
    for first, last in zip([0, *cuts], [*cuts, n_hops], strict=True):
        logits, state = box.forward(x[:, :, first * 8 : last * 8], state)
        parts.append(logits)
    joined = np.concatenate(parts, axis=1)
    assert np.abs(joined - whole).max() <= 1e-5 * max(np.abs(whole).max(), 1e-6)


# --- broken doubles --------------------------------------------------------------------------------------------------

SPEC = DecoderSpec(
    name="double", channels=("a", "b"), sfreq_hz=10.0, hop=2, classes=("l", "r"), receptive_field=4, options={}
)


@dataclass
class Good:
    """Mean of the last two hops of each channel: a decoder that keeps every promise."""

    spec: DecoderSpec = SPEC
    calls: int = 0
    seen: list = field(default_factory=list)

    def initial_state(self, batch):
        return (np.zeros((batch, 2, 2), np.float32),)

    def read(self, x, past, params):
        return np.concatenate((past, x), axis=2).mean(axis=2, dtype=float)

    def step(self, x, state, params):
        return self.read(x, state[0], params), (x.copy(),)

    def forward(self, x, state, params):
        logits = []
        for at in range(0, x.shape[2], 2):
            one, state = self.step(x[:, :, at : at + 2], state, params)
            logits.append(one)
        return np.stack(logits, axis=1), state


class WrongShape(Good):
    def step(self, x, state, params):
        return self.read(x, state[0], params)[0], (x.copy(),)


class NotFinite(Good):
    def read(self, x, past, params):
        with np.errstate(divide="ignore"):
            return np.log(np.abs(super().read(x, past, params)))


class ForwardForgets(Good):
    def forward(self, x, state, params):
        logits, _ = super().forward(x, self.initial_state(len(x)), params)
        return logits, state


class LooksAhead(Good):
    def forward(self, x, state, params):
        logits, state = super().forward(x, state, params)
        return logits + x.mean(), state


class ChangesState(Good):
    def step(self, x, state, params):
        logits = self.read(x, state[0], params)
        state[0][:] = x
        return logits, state


class KeepsView(Good):
    def step(self, x, state, params):
        return self.read(x, state[0], params), (x,)


class ChangesParams(Good):
    def step(self, x, state, params):
        params["temperature"] += 1
        return super().step(x, state, params)


class NeverForgets(Good):
    def step(self, x, state, params):
        self.calls += 1
        logits, state = super().step(x, state, params)
        return logits + self.calls, state


_made = []


class MadeDifferently(Good):
    def __init__(self):
        super().__init__()
        _made.append(self)
        self.offset = len(_made)

    def read(self, x, past, params):
        return super().read(x, past, params) + self.offset


class MixesRows(Good):
    def read(self, x, past, params):
        logits = super().read(x, past, params)
        return logits - logits.mean(axis=0)


class LongMemory(Good):
    def step(self, x, state, params):
        return self.read(x, state[0], params), ((x + state[0]).astype(np.float32),)


class NeverFades(Good):
    def __init__(self):
        endless = DecoderSpec(name="d", channels=("a", "b"), sfreq_hz=10.0, hop=2, classes=("l", "r"), warmup_hops=2)
        super().__init__(endless)

    def step(self, x, state, params):
        return self.read(x, state[0], params), ((x + state[0]).astype(np.float32),)


class AppliesTemperature(Good):
    def read(self, x, past, params):
        return super().read(x, past, params) / params["temperature"]


BROKEN = [
    (c.check_shapes, WrongShape),
    (c.check_silence, NotFinite),
    (c.check_fold, ForwardForgets),
    (c.check_causal, LooksAhead),
    (c.check_state_is_value, ChangesState),
    (c.check_state_is_value, KeepsView),
    (c.check_state_is_value, ChangesParams),
    (c.check_reset, NeverForgets),
    (c.check_determinism, MadeDifferently),
    (c.check_batch, MixesRows),
    (c.check_memory, LongMemory),
    (c.check_memory, NeverFades),
    (c.check_params, AppliesTemperature),
]


def made_by(kind):
    return lambda: (kind(), {"temperature": np.ones(1)})


def test_a_good_double_passes_everything():
    c.check_decoder(made_by(Good))


@pytest.mark.parametrize(("check", "kind"), BROKEN, ids=lambda value: value.__name__)
def test_each_check_rejects_what_breaks_it(check, kind):
    with pytest.raises(c.ContractError):
        check(made_by(kind))


def test_every_check_has_a_broken_double():
    assert {check for check, _ in BROKEN} == set(c.CHECKS)
