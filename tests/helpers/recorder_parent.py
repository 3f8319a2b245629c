"""An engine in small: records 100 samples, says so, and waits to be killed or interrupted.

``python -m tests.helpers.recorder_parent PATH``
"""

import sys
import time

import numpy as np

from bci.host.recorder import RecorderProcess
from bci.types import Channel, StreamSpec


def main() -> None:
    recorder = RecorderProcess(sys.argv[1])
    spec = StreamSpec(name="EEG", sfreq_hz=100.0, format="int32", channels=(Channel("n"),))
    stream = recorder.open_stream(spec)
    try:
        for k in range(10):
            recorder.write(stream, np.arange(10 * k, 10 * k + 10, dtype="i4")[:, None], np.arange(10.0))
        while recorder.n_waiting:
            time.sleep(0.01)
        print("recorded", flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        recorder.close()
        print("closed", flush=True)


if __name__ == "__main__":
    main()
