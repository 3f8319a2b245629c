"""`bci` with a decoder that raises at its 60th hop: `python -m tests.helpers.broken_decoder run ...`."""

from __future__ import annotations

import sys

from bci.__main__ import main
from decoders.classical.bandpower import BandPower

N_GOOD = 60
_step = BandPower.step
_n_hops = 0


def _broken(self, x, state, params):
    global _n_hops
    _n_hops += 1
    if _n_hops > N_GOOD:
        raise IndexError("no such electrode")
    return _step(self, x, state, params)


if __name__ == "__main__":
    BandPower.step = _broken
    main(sys.argv[1:])
