"""What the database holds at the end, read straight from its tables, row by row."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

from app.storage.models import attempts, dependencies, schedules, task_types, tasks

_TASK = (
    tasks.c.id,
    tasks.c.type_id,
    tasks.c.status,
    tasks.c.params,
    tasks.c.result,
    tasks.c.attempts,
    tasks.c.max_attempts,
    tasks.c.claimed_by,
    tasks.c.claimed_at,
    tasks.c.lease_token,
    tasks.c.failure_reason,
    tasks.c.dedupe_key,
    tasks.c.extras,
)
_ATTEMPT = (
    attempts.c.task_id,
    attempts.c.number,
    attempts.c.lease_token,
    attempts.c.claimed_at,
    attempts.c.ended_at,
    attempts.c.outcome,
)
_ROWS_AT_ONCE = 2000


@dataclass(slots=True)
class Attempt:
    """An attempt that did not complete its task."""

    number: int
    token: str
    claimed_at: float
    outcome: str


@dataclass(slots=True)
class Record:
    """A task as it is in its row, with its unsuccessful attempts."""

    id: int
    kind: str
    status: int
    params: Any
    result: Any = None
    attempts: int = 0
    max_attempts: int = 1
    claimed_by: str | None = None
    claimed_at: float | None = None
    token: str | None = None
    failure_reason: str | None = None
    dedupe_key: str | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    tries: list[Attempt] = field(default_factory=list)


@dataclass(slots=True)
class Schedule:
    """A schedule as it is in its row."""

    id: int
    interval_seconds: int
    starts_at: float
    next_at: float
    created_count: int
    skipped_count: int


class Records:
    """The tables of a run; tasks are read one by one, the rest is small."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.connect() as connection:
            self._names = dict(connection.execute(select(task_types.c.id, task_types.c.name)).tuples().all())
            edges = select(dependencies.c.task_id, dependencies.c.depends_on_id, dependencies.c.on_failure)
            self.edges: dict[int, list[tuple[int, str]]] = defaultdict(list)
            for child, parent, on_failure in connection.execute(edges):
                self.edges[child].append((parent, on_failure))
            columns = ("id", "interval_seconds", "starts_at", "created_at", "next_at", "created_count", "skipped_count")
            self.schedules = [
                Schedule(
                    row.id,
                    row.interval_seconds,
                    _seconds(row.starts_at or row.created_at),
                    _seconds(row.next_at),
                    row.created_count,
                    row.skipped_count,
                )
                for row in connection.execute(select(*(schedules.c[name] for name in columns)))
            ]

    def tasks(self) -> Iterator[Record]:
        """Yield all tasks by id: neither they nor their attempts are held in memory all at once."""
        with self._engine.connect() as connection, self._engine.connect() as another:
            tries = _by_task(
                another.execution_options(yield_per=_ROWS_AT_ONCE).execute(
                    select(*_ATTEMPT).order_by(attempts.c.task_id, attempts.c.id)
                )
            )
            of_task, found = next(tries, (0, []))
            rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(*_TASK).order_by(tasks.c.id))
            for row in rows:
                record = Record(
                    row.id,
                    self._names[row.type_id],
                    row.status,
                    row.params,
                    row.result,
                    row.attempts,
                    row.max_attempts,
                    row.claimed_by,
                    None if row.claimed_at is None else _seconds(row.claimed_at),
                    row.lease_token,
                    row.failure_reason,
                    row.dedupe_key,
                    row.extras or {},
                )
                if of_task == row.id:
                    record.tries = found
                    of_task, found = next(tries, (0, []))
                yield record


def _by_task(rows: Any) -> Iterator[tuple[int, list[Attempt]]]:
    task_id, found = None, []
    for row in rows:
        if row.task_id != task_id:
            if task_id is not None:
                yield task_id, found
            task_id, found = row.task_id, []
        found.append(Attempt(row.number, row.lease_token, _seconds(row.claimed_at), row.outcome))
    if task_id is not None:
        yield task_id, found


def _seconds(instant: datetime) -> float:
    return instant.timestamp()
