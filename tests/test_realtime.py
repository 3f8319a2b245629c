"""Settings of a process, each in a process of its own."""

import os
import subprocess
import sys


def run(code, **env):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, **env}
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_limits_threads_of_libraries_that_come_and_that_are_there():
    count = "from threadpoolctl import threadpool_info as i; print({p['num_threads'] for p in i()})"
    call = "from bci.host.realtime import limit_threads; limit_threads()"
    many = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    assert run(f"import numpy; {count}", **many) == "{2}"
    assert run(f"{call}; import numpy; {count}", **many) == "{1}"
    assert run(f"import numpy; {call}; {count}", **many) == "{1}"
    assert run(f"{call}; import os; print(os.environ['OMP_NUM_THREADS'])", **many) == "1"


def test_limits_torch_that_is_there():
    code = "import torch; torch.set_num_threads(2); from bci.host.realtime import limit_threads; limit_threads()"
    assert run(f"{code}; print(torch.get_num_threads())") == "1"


def test_importing_it_loads_neither_numpy_nor_torch():
    code = "import bci.host.realtime, sys; print([m for m in ('numpy', 'torch', 'psutil') if m in sys.modules])"
    assert run(code) == "[]"


def test_settle_says_what_it_did_and_garbage_is_still_collected():
    out = run(
        "import gc, sys, weakref\n"
        "from bci.host.realtime import settle\n"
        "done = settle()\n"
        "assert gc.get_freeze_count() > 1000 and gc.isenabled()\n"
        "assert sys.getswitchinterval() < 0.001\n"
        "class Node: pass\n"
        "node = Node(); node.me = node; gone = weakref.ref(node); del node\n"
        "junk = [[] for _ in range(20_000)]\n"
        "assert gone() is None\n"
        "print('; '.join(done))\n"
    )
    assert "objects frozen" in out
    assert "switch interval 0.5 ms" in out
