"""`braindecode:MODEL`: any network of braindecode (Schirrmeister et al. 2017), by its name, on the window at every hop.

The package is an extra. It imports torchaudio, whose wheel needs CUDA's libraries and fails beside a torch for the CPU;
a stand-in takes its place then, and only what really filters or resamples audio fails, when it is used.
"""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.engine import use_one_thread
from decoders.networks.network import alignment, apply
from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError, State
from decoders.training.loop import train_network
from decoders.windowed import Windowed

_AUDIO = ("torchaudio", "torchaudio.functional", "torchaudio.transforms")


def load_braindecode() -> Any:
    """The module ``braindecode.models``.

    Raises
    ------
    SpecError
        The extra is not installed.
    """
    try:
        import torchaudio  # type: ignore[import-not-found]  # noqa: F401
    except (ImportError, OSError):
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]  # what its failed import left
        package, *parts = (sys.modules.setdefault(name, _StandIn(name)) for name in _AUDIO)
        for part in parts:
            setattr(package, part.__name__.rpartition(".")[2], part)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import braindecode.models  # type: ignore[import-not-found]
    except ImportError as error:
        raise SpecError(
            f"decoder 'braindecode:…': braindecode cannot be imported ({error}); "
            "install the extra: pip install 'rolandic[braindecode]'"
        ) from None
    return braindecode.models


class _StandIn(ModuleType):
    """torchaudio where its library cannot be loaded: everything can be named, nothing can be called."""

    def __init__(self, name: str):
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_: Any, **__: Any) -> None:
            raise ImportError(f"{self.__name__}.{name} needs a torchaudio that loads beside torch {torch.__version__}")

        return type(name, (), {"__init__": refuse})  # a class, for it may be named in annotations, too


class Braindecode:
    """A kind of network of braindecode (`decoders.spec.Family`); ``request.options`` go to its constructor.

    Parameters
    ----------
    model : str
        Its name in ``braindecode.models``, such as EEGConformer.
    """

    def __init__(self, model: str):
        self.model = model
        self.name = f"braindecode:{model}"

    def design(self, request: Request) -> DecoderSpec:
        """The window is ``request.window_s``; SpecError where the model cannot be made for it."""
        spec = DecoderSpec(
            name=self.name,
            channels=request.channels,
            sfreq_hz=request.sfreq_hz,
            hop=request.hop,
            classes=request.classes,
            outputs=request.outputs,
            n_bands=request.n_bands,
            receptive_field=round(request.window_s * request.sfreq_hz),
            unit=request.unit,
            options=request.options,
        )
        self.build(spec)
        return spec

    def build(self, spec: DecoderSpec) -> OnWindow:
        """An untrained network; randomness comes from torch's generator."""
        models = load_braindecode()
        kind = getattr(models, self.model, None)
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            names = sorted(n for n in vars(models) if isinstance(getattr(models, n), type) and n[0].isupper())
            raise SpecError(f"decoder {self.name!r}: braindecode has no such model; there are {', '.join(names)}")
        options = {key: int(value) if float(value).is_integer() else value for key, value in spec.options.items()}
        sizes = {"n_chans": len(spec.channels), "n_outputs": spec.n_outputs, "n_times": spec.receptive_field}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return OnWindow(kind(**sizes, sfreq=spec.sfreq_hz, **options), spec)
        except Exception as error:  # each model has its own ways to refuse sizes
            why = " ".join(str(error).split())[:200]
            raise SpecError(
                f"decoder {self.name!r}: cannot be made for {len(spec.channels)} channels and "
                f"{spec.receptive_field} samples ({type(error).__name__}: {why}); use another window or model"
            ) from None

    def fit(self, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[Any], *, seed: int) -> Fitted:
        """Align to the trials' mean covariance, then train as our own networks are."""
        params = {"align": alignment(x, spec.n_bands), "temperature": np.ones(1, np.float32)}
        use_one_thread()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.build(spec)
            train_network(network, x, y, {"align": torch.from_numpy(params["align"])})
        weights = {name: value.detach().numpy().copy() for name, value in network.model.state_dict().items()}
        return Fitted(weights, params)

    def restore(self, spec: DecoderSpec, weights: Arrays) -> Windowed:
        """The network around stored weights; SpecError if they do not fit."""
        with torch.random.fork_rng(devices=[]):
            network = self.build(spec)
        try:
            network.model.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in weights.items()})
        except RuntimeError as error:
            raise SpecError(
                f"decoder {self.name!r}: weights do not fit ({str(error).splitlines()[-1].strip()})"
            ) from None
        return Windowed(network.requires_grad_(False).eval(), spec)


class OnWindow(nn.Module):
    """A network of braindecode on the aligned window, as training and `Windowed` take it."""

    def __init__(self, model: nn.Module, spec: DecoderSpec):
        super().__init__()
        self.model = model
        self.spec = spec

    def initial_state(self, batch: int) -> State:
        """None: nothing is carried."""
        return ()

    def forward(self, x: Tensor, state: State, params: Params) -> tuple[Tensor, State]:
        """Logits (batch, 1, outputs) of the end of x (batch, channels, n)."""
        x = apply(x[:, :, -self.spec.receptive_field :], params["align"], self.spec.n_bands)  # type: ignore[operator]
        return self.model(x)[:, None], state

    def logits(self, window: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
        """Logits of window (batch, channels, n_samples) -> (batch, outputs)."""
        matrix = torch.from_numpy(np.array(params["align"], np.float32))
        with torch.inference_mode():
            return self.forward(torch.from_numpy(window), (), {"align": matrix})[0][:, 0].double().numpy()
