"""The decoders of the registry by kind: classifiers that answer at every hop, or markers; regressions."""

from decoders import DECODERS

AT_MARKERS = ("xdawn", "cca", "trca")
REGRESSIONS = ("ridge", "kalman")
AT_HOPS = tuple(name for name in DECODERS if name not in (*AT_MARKERS, *REGRESSIONS, "ensemble"))
NETWORKS = tuple(name for name in DECODERS if DECODERS[name].startswith("decoders.networks"))
