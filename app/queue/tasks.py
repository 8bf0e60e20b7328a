"""Tasks: read and listed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select

from app.errors import TaskNotFound
from app.lifecycle import TaskStatus
from app.queue.task_types import find_type_by_id, find_type_ids, name_types
from app.storage.database import Row, Transaction
from app.storage.models import task_types, tasks

_HEAVY = ("params", "result")
_READ = (
    select(*tasks.c, task_types.c.name.label("type"))
    .select_from(tasks.join(task_types, task_types.c.id == tasks.c.type_id))
    .where(tasks.c.id == bindparam("task_id"))
)


def read_task(tx: Transaction, task_id: int) -> Row:
    """Return the whole row of a task with its type's name as `type`; raises TaskNotFound."""
    row = tx.one(_READ, {"task_id": task_id})
    if row is None:
        raise TaskNotFound
    return row


def list_tasks(
    tx: Transaction,
    *,
    limit: int,
    offset: int = 0,
    below_id: int | None = None,
    statuses: Sequence[TaskStatus] | None = None,
    type_name: str | None = None,
    worker_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    include: Sequence[str] = (),
) -> list[Row]:
    """Return tasks, newest first; `type_name` with `%` in it is a pattern; `below_id` continues a listing.

    `params` and `result` can be large and are read only when `include` names them.
    """
    columns: list[Any] = [column for column in tasks.c if column.name not in _HEAVY or column.name in include]
    # Not joined with the task types: where these are few, MariaDB joins them through a buffer and sorts all tasks.
    statement = select(*columns).order_by(tasks.c.id.desc()).limit(limit).offset(offset)
    if below_id is not None:
        statement = statement.where(tasks.c.id < below_id)
    if statuses is not None:
        statement = statement.where(tasks.c.status.in_([int(status) for status in statuses]))
    if type_name is not None:
        pattern = type_name if "%" in type_name else _escape(type_name)
        statement = statement.where(tasks.c.type_id.in_(find_type_ids(tx, pattern)))
    if worker_id is not None:
        statement = statement.where(tasks.c.claimed_by == worker_id)
    if created_from is not None:
        statement = statement.where(tasks.c.created_at >= created_from)
    if created_before is not None:
        statement = statement.where(tasks.c.created_at < created_before)
    rows = tx.all(statement)
    names = name_types(tx) if rows else {}
    return [{**row, "type": names.get(row["type_id"]) or find_type_by_id(tx, row["type_id"]).name} for row in rows]


def _escape(name: str) -> str:
    return name.replace("\\", "\\\\").replace("_", "\\_")
