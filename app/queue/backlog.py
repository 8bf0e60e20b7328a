"""Backlog: what is due and not done yet, counted as far as that costs little."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, select

from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import operations, schedules, tasks

COUNTED = 10_000
_now = bindparam("now", type_=Instant)


def _count(id_column: Any, condition: ColumnElement[bool]) -> Any:
    """Count rows through an index and no further than one above `COUNTED`."""
    some = select(id_column).where(condition).limit(COUNTED + 1).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


_BACKLOG = select(
    _count(tasks.c.id, tasks.c.due_at <= _now).label("due_tasks"),
    select(func.min(tasks.c.due_at)).scalar_subquery().label("first_due_at"),
    _count(schedules.c.id, schedules.c.due_at <= _now).label("due_schedules"),
    _count(operations.c.id, operations.c.status == "running").label("running_operations"),
)


def read_backlog(tx: Transaction) -> Row:
    """Return how many tasks and schedules are due and operations go on, each at most 10,000, and how late it is.

    `is_exact` tells whether all due tasks were counted; `late_seconds` is for how long the first of them is due.
    """
    told = tx.one(_BACKLOG, {"now": tx.now})
    assert told is not None
    first: datetime | None = told.pop("first_due_at")
    counts = {name: min(number, COUNTED) for name, number in told.items()}
    late = 0.0 if first is None else max(0.0, (tx.now - first).total_seconds())
    return {**counts, "is_exact": told["due_tasks"] <= COUNTED, "late_seconds": late}
