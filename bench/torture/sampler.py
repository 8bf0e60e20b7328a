"""Looks at the database all the time: how much waits, and whether more is claimed than the limits allow."""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pymysql

from app.lifecycle import TaskStatus
from bench.torture.board import Board
from bench.torture.findings import Findings
from bench.torture.plan import BACKLOG, CACHE_SECONDS

_EVERY_SECONDS = 0.2
# A lowered limit holds for those that know of it: the cache's time, and the longest that a process is made to sleep.
_IN_FORCE_SECONDS = CACHE_SECONDS + 20
_TYPES = "SELECT id, name, max_concurrency, key_max_concurrency FROM task_types"
_COUNTS = (
    "SELECT type_id, status, COUNT(*) FROM tasks FORCE INDEX (ix_tasks_claim) "
    "WHERE type_id IN ({}) AND status IN (1, 2, 3, 4) GROUP BY type_id, status"
)
_OF_KEYS = (
    "SELECT p.key_id, COUNT(*) FROM tasks t FORCE INDEX (ix_tasks_claim) JOIN line_places p ON p.task_id = t.id "
    "WHERE t.type_id = %s AND t.status = 4 GROUP BY p.key_id"
)


class Sampler:
    """A thread that reads a consistent snapshot, five times a second, straight from MariaDB."""

    def __init__(self, connect: Callable[[], pymysql.connections.Connection], board: Board, findings: Findings) -> None:
        self._connect = connect
        self._board = board
        self._findings = findings
        self._limits: deque[tuple[float, dict[str, int]]] = deque()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")
        self.waiting = 0
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                with closing(self._connect()) as connection:
                    while not self._is_over.wait(_EVERY_SECONDS):
                        self._look(connection)
            except pymysql.MySQLError:
                self._is_over.wait(_EVERY_SECONDS)

    def _look(self, connection: pymysql.connections.Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            cursor.execute(_TYPES)
            types: dict[str, Any] = {name: (type_id, *limits) for type_id, name, *limits in cursor.fetchall()}
            ids = ", ".join(str(type_id) for type_id, *_ in types.values())
            cursor.execute(_COUNTS.format(ids))
            counts = {(type_id, status): number for type_id, status, number in cursor.fetchall()}
            keyed = types["keyed"][0]
            cursor.execute(_OF_KEYS, (keyed,))
            of_keys = [number for _, number in cursor.fetchall()]
            cursor.execute("COMMIT")
        for name in BACKLOG:
            self._board.set_waiting(name, sum(counts.get((types[name][0], status), 0) for status in (1, 2, 3, 4)))
        self.waiting = sum(counts.values())
        limits = self._in_force({"limited": types["limited"][1], "keyed": types["keyed"][2]})
        claimed = counts.get((types["limited"][0], int(TaskStatus.CLAIMED)), 0)
        self._check("max_concurrency holds, by snapshots", claimed, limits["limited"])
        self._check("key_max_concurrency holds, by snapshots", max(of_keys, default=0), limits["keyed"])

    def _check(self, name: str, claimed: int, limit: int) -> None:
        self._findings.check(name, claimed <= limit, f"{claimed} of {limit} are claimed at {time.time()}")

    def _in_force(self, limits: dict[str, int]) -> dict[str, int]:
        """Return the highest limits that somebody may still go by."""
        now = time.monotonic()
        self._limits.append((now, limits))
        while self._limits[0][0] < now - _IN_FORCE_SECONDS:
            self._limits.popleft()
        return {name: max(seen[name] for _, seen in self._limits) for name in limits}
