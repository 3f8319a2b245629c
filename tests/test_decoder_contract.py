"""Each registry entry passes each check of the streaming contract, and each check rejects a decoder that breaks it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import contract as c
from decoders import load_class
from decoders.spec import DecoderSpec, Request
from tests.helpers.decoders import AT_HOPS, NETWORKS

_fitted = {}


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    monkeypatch.setattr("decoders.training.loop.MIN_EPOCHS", 2)
    monkeypatch.setattr("decoders.training.loop.MIN_STEPS", 2)


def trained(name, hop=8, n_channels=5, window_s=1.0):
    key = (name, hop, n_channels, window_s)
    if key not in _fitted:
        family = load_class(name)
        channels = ("C3", "Cz", "C4", "FC1", "CP2", "Fz", "Pz")[:n_channels]
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
@pytest.mark.parametrize("name", AT_HOPS)
def test_registry_keeps_the_contract(name, check):
    check(trained(name))


@pytest.mark.parametrize("name", AT_HOPS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_split_of_the_signal_gives_what_forward_gives(name, data):
    """Up to 4,000 samples, in any cuts, by single steps at the end, from the start or from where another signal led."""
    decoder, params = trained(name)()
    box = c._Box(lambda: (decoder, params))
    hop = box.spec.hop
    n_hops = data.draw(st.integers(2, 60) | st.integers(60, 4000 // hop))
    x = box.signal(n_hops, 1, seed=data.draw(st.integers(0, 99)))
    begin = decoder.initial_state(1)
    if n_before := data.draw(st.integers(0, 5)):
        _, begin = box.forward(5 * box.signal(n_before, 1, seed=100), begin)
    whole, _ = box.forward(x, begin)
    cuts = sorted(data.draw(st.sets(st.integers(1, n_hops - 1), max_size=4)))
    cuts += range(max([n_hops - 10, 0, *cuts]) + 1, n_hops)
    state, parts = begin, []
    for first, last in zip([0, *cuts], [*cuts, n_hops], strict=True):
        logits, state = box.forward(x[:, :, first * hop : last * hop], state)
        parts.append(logits)
    c.need_close(np.concatenate(parts, axis=1), whole, "parts differ from the whole")


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=15, deadline=None)
@given(hop=st.integers(1, 40), sfreq_hz=st.sampled_from([80.0, 250.0]), n_bands=st.sampled_from([1, 4]))
def test_every_hop_that_a_network_allows_keeps_the_contract(name, hop, sfreq_hz, n_bands):
    """Untrained weights, for it is the arithmetic that is checked; the hop decides pools, rings and ways to compute."""
    channels = tuple(f"{label} {band}" for band in range(n_bands) for label in ("C3", "Cz", "C4"))
    family = load_class(name)
    request = Request(
        channels=channels, sfreq_hz=sfreq_hz, hop=hop, n_bands=n_bands, window_s=2.0, classes=("left", "right")
    )
    spec = family.design(request)
    torch.manual_seed(hop)
    decoder = family.build(spec).eval().requires_grad_(False)
    align = np.broadcast_to(np.eye(3, dtype=np.float32), (3, 3) if n_bands == 1 else (n_bands, 3, 3))
    params = {"align": align, "temperature": np.ones(1)}

    def factory():
        return decoder, params

    c.check_shapes(factory)
    c.check_causal(factory)
    box = c._Box(factory)
    x = box.signal(min(4000 // hop, 40), 2)
    whole, _ = box.forward(x, decoder.initial_state(2))
    folded, _ = box.fold(x, decoder.initial_state(2))
    c.need_close(folded, whole, "step folded over the hops differs from forward")
    if spec.receptive_field is not None:
        x = box.signal(spec.n_priming_hops, 1)
        far = x.copy()
        far[:, :, : x.shape[2] - spec.receptive_field] += 1
        ends = [box.forward(each, decoder.initial_state(1))[0][:, -1] for each in (x, far)]
        c.need_close(*ends, "what lies before the receptive field is felt")


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
