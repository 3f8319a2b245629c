"""The decoders of the registry by their kind: those that answer at every hop, and those that answer markers."""

from decoders import DECODERS

AT_MARKERS = ("xdawn", "cca")
AT_HOPS = tuple(name for name in DECODERS if name not in (*AT_MARKERS, "ensemble"))
NETWORKS = tuple(name for name in DECODERS if DECODERS[name].startswith("decoders.networks"))
