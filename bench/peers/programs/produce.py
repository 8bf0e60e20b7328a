"""Produce: enqueue tasks by one of the peers' programs; prints as JSON how long it took and when each was sent.

python produce.py PROGRAM send|send_many|steadily NUMBER
"""

import importlib
import json
import sys
import time

_SECONDS_BETWEEN = 0.05


def main() -> None:
    peer = importlib.import_module(sys.argv[1])
    how, number = sys.argv[2], int(sys.argv[3])
    sent = {}
    peer.open()
    # Connections are made and modules imported by the first one.
    peer.send(-1)
    began, cpu = time.monotonic(), time.process_time()
    if how == "send_many":
        peer.send_many(range(number))
    else:
        for place in range(number):
            if how == "steadily":
                time.sleep(max(0.0, began + place * _SECONDS_BETWEEN - time.monotonic()))
                sent[place] = time.monotonic_ns()
            peer.send(place)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "sent": sent}))


if __name__ == "__main__":
    main()
