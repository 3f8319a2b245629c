"""`ensemble`: the mean of the logits of several decoders on the same hops, each divided by its own temperature first.

The temperatures put logits of different families on one scale, that of log odds; their mean is then the logarithm of
the product of experts (Genest and Zidek 1986, Stat. Sci. 1:114), up to the ensemble's own temperature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from decoders import load_class
from decoders.checkpoint import Model
from decoders.engine import Compute, make_step, temperature
from decoders.spec import Arrays, Decoder, DecoderSpec, Fitted, Params, Request, SpecError, State

_SHARED = ("channels", "sfreq_hz", "hop", "classes", "outputs", "n_bands", "recentre_hops", "unit")


class Ensemble:
    """Members side by side on numpy arrays; state and params are theirs, one after the other.

    Parameters
    ----------
    spec : DecoderSpec
        As `combined_spec` gives it.
    members : sequence of Decoder
        In the order of ``spec.members``.
    """

    def __init__(self, spec: DecoderSpec, members: Sequence[Decoder]):
        self.spec = spec
        self.members = tuple(members)
        self._n_parts = [len(member.initial_state(1)) for member in members]

    def initial_state(self, batch: int) -> State:
        """The members' memories."""
        return tuple(_numpy(part) for member in self.members for part in member.initial_state(batch))

    def forward(self, x: NDArray[np.float32], state: State, params: Params) -> tuple[NDArray[np.float64], State]:
        """Many hops: x (batch, channels, n·hop) -> logits (batch, n, classes)."""
        return self._mean("forward", x, state, params)

    def step(self, x: NDArray[np.float32], state: State, params: Params) -> tuple[NDArray[np.float64], State]:
        """One hop (batch, channels, hop) -> logits (batch, classes)."""
        return self._mean("step", x, state, params)

    def _mean(self, method: str, x: Any, state: State, params: Params) -> tuple[NDArray[np.float64], State]:
        total, after, at = 0.0, (), 0
        for i, (member, n_parts) in enumerate(zip(self.members, self._n_parts, strict=True)):
            own = member_params(params, i)
            logits, parts = _call(getattr(member, method), member.spec, x, state[at : at + n_parts], own)
            total = total + logits / _scale(member.spec, own)
            after, at = after + parts, at + n_parts
        return np.asarray(total) / len(self.members), after


class EnsembleStep:
    """A hop of every member, each by what computes it fastest here."""

    def __init__(self, ensemble: Ensemble, params: Params, onnx: Sequence[bytes | None], compute: Compute):
        own = [member_params(params, i) for i in range(len(ensemble.members))]
        self._names = [frozenset(p) for p in own]
        steps = [*onnx, *[None] * len(own)]
        self._steps = [make_step(m, p, (s,), compute) for m, p, s in zip(ensemble.members, own, steps, strict=False)]
        self._scales = [_scale(member.spec, p) for member, p in zip(ensemble.members, own, strict=True)]
        self.name = " + ".join(dict.fromkeys(step.name for step in self._steps))

    def reset(self) -> None:
        """Forget everything."""
        for step in self._steps:
            step.reset()

    def set_params(self, values: Mapping[str, NDArray]) -> None:
        """Replace params of every member that has them, from the next hop on."""
        for step, names in zip(self._steps, self._names, strict=True):
            step.set_params({name: value for name, value in values.items() if name in names})

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """One hop (channels, hop) -> logits (n_outputs,)."""
        logits = [step(x) / scale for step, scale in zip(self._steps, self._scales, strict=True)]
        return np.sum(logits, axis=0) / len(logits)


class EnsembleFamily:
    """Restores ensembles (`decoders.spec.Family`); they are combined from models, not trained."""

    def design(self, request: Request) -> DecoderSpec:
        """SpecError: an ensemble is made of models that are trained already."""
        raise SpecError(
            "decoder 'ensemble' is combined from trained models, not trained: bci ensemble MODEL MODEL --out DIR"
        )

    def fit(self, spec: DecoderSpec, x: Any, y: Any, *, seed: int) -> Fitted:
        """Train every member on the same trials."""
        return pack([load_class(member.name).fit(member, x, y, seed=seed) for member in spec.members])

    def restore(self, spec: DecoderSpec, weights: Arrays) -> Decoder:
        """The ensemble around stored weights; DecoderError if they do not fit."""
        members = [load_class(m.name).restore(m, member_params(weights, i)) for i, m in enumerate(spec.members)]
        return Ensemble(spec, cast("list[Decoder]", members))


def combine(models: Sequence[Model]) -> tuple[DecoderSpec, Fitted, tuple[bytes | None, ...]]:
    """Spec, weights and graphs of the ensemble of these models; its temperature is 1.

    Raises
    ------
    SpecError
        Fewer than two, or they do not take the same preprocessed hops and give the same classes.
    """
    spec = combined_spec([model.spec for model in models])
    first = models[0]
    for model in models[1:]:
        if differing := sorted(
            key
            for key in {*first.preprocessing, *model.preprocessing}
            if first.preprocessing.get(key) != model.preprocessing.get(key)
        ):
            key = differing[0]
            one, other = (m.preprocessing.get(key) for m in (first, model))
            raise SpecError(
                f"models {first.hash[:12]} and {model.hash[:12]} differ in preprocessing: {key} {one!r} and {other!r}; "
                "train them with the same options"
            )
        start, other = (np.asarray(m.params.get("align", 0.0)) for m in (first, model))
        if spec.recentre_hops and not np.array_equal(start, other):
            raise SpecError(
                f"models {first.hash[:12]} and {model.hash[:12]} start their recentring elsewhere; "
                "train them on the same recordings"
            )
    fitted = pack([Fitted(model.weights, model.params) for model in models])
    return spec, fitted, tuple(model.onnx[0] for model in models)


def combined_spec(members: Sequence[DecoderSpec]) -> DecoderSpec:
    """The spec of an ensemble of decoders; SpecError says what they do not share."""
    if len(members) < 2:
        raise SpecError(f"decoder 'ensemble': {len(members)} member; at least 2 are needed")
    first = members[0]
    for member in members:
        if member.members or member.epoch is not None:
            what = "an ensemble" if member.members else "a decoder that answers markers"
            raise SpecError(f"decoder 'ensemble': {member.name!r} is {what}; its members must be decoders of hops")
        for name in _SHARED:
            if getattr(member, name) != getattr(first, name):
                raise SpecError(
                    f"decoder 'ensemble': {first.name!r} and {member.name!r} differ in {name}: "
                    f"{getattr(first, name)} and {getattr(member, name)}; train them with the same options"
                )
    fields = [member.receptive_field for member in members]
    return DecoderSpec(
        name="ensemble",
        receptive_field=None if None in fields else max(cast("list[int]", fields)),
        warmup_hops=max(member.n_priming_hops for member in members) if None in fields else 0,
        delay_s=max(member.delay_s for member in members),
        backend="numpy",
        members=tuple(members),
        **{name: getattr(first, name) for name in _SHARED},
    )


def pack(fitted: Sequence[Fitted]) -> Fitted:
    """Weights and params of all members under their numbers."""
    weights = {f"{i}.{name}": value for i, each in enumerate(fitted) for name, value in each.weights.items()}
    params = {f"{i}.{name}": value for i, each in enumerate(fitted) for name, value in each.params.items()}
    return Fitted(weights, params | {"temperature": np.ones(1)})


def member_params(arrays: Params, i: int) -> Arrays:
    """What belongs to member ``i``."""
    start = f"{i}."
    return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}


def _scale(spec: DecoderSpec, params: Params) -> float:
    return 1.0 if spec.outputs else temperature(spec.name, params)


def _call(method: Any, spec: DecoderSpec, x: Any, state: State, params: Params) -> tuple[NDArray, State]:
    if spec.backend == "numpy":
        return method(x, state, params)
    import torch

    def tensor(value: Any) -> Any:
        return torch.from_numpy(np.array(value, np.float32))

    with torch.inference_mode():
        named = {name: tensor(value) for name, value in params.items()}
        logits, after = method(tensor(x), tuple(map(tensor, state)), named)
        return _numpy(logits), tuple(_numpy(part) for part in after)


def _numpy(x: Any) -> NDArray:
    return x if isinstance(x, np.ndarray) else x.numpy()


ensemble = EnsembleFamily()
