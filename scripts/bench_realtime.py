"""What the settings of `bci.host.realtime` buy: the length of a full garbage collection, in ms, before and after.

``python scripts/bench_realtime.py``. The switch interval is measured by ``scripts/bench_inbox.py``.
"""

from __future__ import annotations

import gc
import time

from bci.host.realtime import limit_threads, settle

limit_threads()


def collection_ms(generation: int) -> float:
    times_s = []
    for _ in range(11):
        start_s = time.perf_counter()
        gc.collect(generation)
        times_s.append(time.perf_counter() - start_s)
    return 1e3 * sorted(times_s)[5]


def main() -> None:
    import mne
    import numpy as np
    import sklearn.linear_model  # noqa: F401
    import torch

    torch.zeros(1)
    mne.create_info(2, 100.0)
    print(f"{len(gc.get_objects())} objects, full collection {collection_ms(2):.2f} ms")
    print("settled:", "; ".join(settle()))
    print(f"full collection {collection_ms(2):.3f} ms, youngest generation {collection_ms(0):.3f} ms")
    young = [{"cycle": np.zeros(1)} for _ in range(9_000)]  # just not enough to be collected by itself
    start_s = time.perf_counter()
    gc.collect(0)
    print(f"youngest generation of {len(young)} dicts {1e3 * (time.perf_counter() - start_s):.3f} ms")


if __name__ == "__main__":
    main()
