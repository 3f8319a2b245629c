"""A stand-in for the engine: holds a device host, arms it, and beats until it is told to end or is killed.

``python -m tests.helpers.armed_engine URL…`` prints each report of the host as a line of JSON; a line on its standard
input sends a command of that name, ``end`` closes.
"""

import json
import sys
import threading
import time

import msgspec

from bci.host.clock import now_s
from bci.host.device_host import DeviceHost
from bci.types import Command


def main():
    host = DeviceHost(sys.argv[1:], session="test-session")
    host.start()
    print(json.dumps({"pid": host.pid}), flush=True)
    lines = []
    threading.Thread(target=lambda: lines.extend(iter(sys.stdin.readline, "")), daemon=True).start()
    hop, is_ending = 0, False
    while not is_ending:
        host.heartbeat(hop, 0.01, now_s())
        if hop == 0:
            host.arm(1)
        hop += 1
        while lines:
            name = lines.pop(0).strip()
            is_ending = is_ending or name == "end"
            if name != "end":
                host.send(Command(hop, name, 0.9, now_s(), 300.0, 1, hop))
        tell(host.poll(now_s()))
        time.sleep(0.02)
    tell(host.close())


def tell(reports):
    for report in reports:
        print(msgspec.json.encode(report).decode(), flush=True)


if __name__ == "__main__":
    main()
