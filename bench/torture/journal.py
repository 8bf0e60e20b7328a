"""Journals: what each client said and was told, one JSON line per fact, written before it acts further.

A line is one write() to a file opened for appending: it survives a `kill -9` of its process at any later moment.

    ["create", key, path, body]                       a producer is about to create under this Idempotency-Key
    ["created", key, [id, …]]                         and was told that these are the tasks
    ["cancel", t, id]  ["requeue", t, id]             somebody is about to send this
    ["done", verb, t, id, status or code]             and was told so
    ["claim", t0, t1, worker, token, claimed_at, lease_expires_at, [id, …]]   a worker asked at t0, was told at t1
    ["beat", t1, id, token, lease_expires_at]         its lease goes on
    ["end", t, kind, token, [id, …]]                  it is about to report: complete, fail, give_up or release
    ["verdict", t, kind, token, status or code, [id, …]]   and was told so; refused reports have a code
    ["odd", status, method, path, answer]             an answer that a correct server never gives
"""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """An append-only file of one client."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        # What the process before this one did not write to its end, it did not act upon.
        written = path.read_bytes()
        os.ftruncate(self._file, written.rfind(b"\n") + 1)

    def write(self, *lines: list[Any]) -> None:
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        with self._lock:
            os.write(self._file, text.encode())


def read_journal(path: Path) -> Iterator[list[Any]]:
    """Yield the lines; only the last may be incomplete, where a process was killed in the middle of a write."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
