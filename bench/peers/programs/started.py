"""Started: what every peer's task does, so that it is known which ones began, and when.

One small record is appended to a file of the process; the clock is the same in all processes of a machine.
"""

import os
import struct
import time

_RECORD = struct.Struct("<qq")
_files: dict[int, int] = {}


def note(number: int) -> None:
    """Write down that the task with this number begins now."""
    process = os.getpid()
    file = _files.get(process)
    if file is None:
        path = os.path.join(os.environ["PEERS_STARTED"], str(process))
        file = _files[process] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, _RECORD.pack(number, time.monotonic_ns()))
