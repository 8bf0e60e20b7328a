"""Looks at the database all the time: how much waits, and whether more is claimed than the limits allow."""

import threading
import time
from collections import deque

from sqlalchemy import Connection, create_engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from app.lifecycle import UNFINISHED, TaskStatus
from app.storage.models import line_places, task_types, tasks
from bench.torture.board import Board
from bench.torture.findings import Findings
from bench.torture.plan import BACKLOG, CACHE_SECONDS

_EVERY_SECONDS = 0.2
# A lowered limit holds for those that know of it: the cache's time, and the longest that a process is made to sleep.
_IN_FORCE_SECONDS = CACHE_SECONDS + 20
_INDEX = "FORCE INDEX (ix_tasks_claim)"
_TYPES = select(task_types.c.id, task_types.c.name, task_types.c.max_concurrency, task_types.c.key_max_concurrency)
_COUNTS = (
    select(tasks.c.type_id, tasks.c.status, func.count())
    .with_hint(tasks, _INDEX, "mysql")
    .where(tasks.c.type_id.in_(select(task_types.c.id)), tasks.c.status.in_([int(status) for status in UNFINISHED]))
    .group_by(tasks.c.type_id, tasks.c.status)
)
_OF_KEYS = (
    select(line_places.c.key_id, func.count())
    .select_from(tasks.join(line_places, line_places.c.task_id == tasks.c.id))
    .with_hint(tasks, _INDEX, "mysql")
    .where(tasks.c.status == int(TaskStatus.CLAIMED), tasks.c.type_id.in_(select(task_types.c.id)))
    .group_by(line_places.c.key_id)
)
_BEGIN = {"mysql": "START TRANSACTION WITH CONSISTENT SNAPSHOT", "sqlite": "BEGIN"}


class Sampler:
    """A thread that reads a consistent snapshot, five times a second, straight from the database."""

    def __init__(self, url: str, board: Board, findings: Findings) -> None:
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        self._board = board
        self._findings = findings
        self._limits: deque[tuple[float, dict[str, int]]] = deque()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")
        #: How many tasks have not ended, and when that was.
        self.waiting = 0
        self.looked_at = 0.0
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._engine.dispose()

    def _run(self) -> None:
        while not self._is_over.wait(_EVERY_SECONDS):
            try:
                with self._engine.connect() as connection:
                    while not self._is_over.wait(_EVERY_SECONDS):
                        self._look(connection)
            except SQLAlchemyError:
                # The database is in trouble: that is what we are here for.
                self._engine.dispose()

    def _look(self, connection: Connection) -> None:
        began = time.monotonic()
        connection.execute(text(_BEGIN[connection.dialect.name]))
        types = {row.name: row for row in connection.execute(_TYPES)}
        counts = {(type_id, status): number for type_id, status, number in connection.execute(_COUNTS)}
        of_keys = [number for _, number in connection.execute(_OF_KEYS)]
        connection.execute(text("COMMIT"))
        for name in BACKLOG:
            self._board.set_waiting(name, sum(counts.get((types[name].id, int(of)), 0) for of in UNFINISHED))
        self.waiting = sum(counts.values())
        self.looked_at = began
        limits = self._in_force(
            {"limited": types["limited"].max_concurrency, "keyed": types["keyed"].key_max_concurrency}
        )
        claimed = counts.get((types["limited"].id, int(TaskStatus.CLAIMED)), 0)
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
