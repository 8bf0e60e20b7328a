"""Filters: which tasks a list shows, or an operation changes."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select

from app.queue.labels import tag_label
from app.queue.patterns import exactly
from app.queue.task_types import find_type_ids, name_types
from app.storage.database import Row, Transaction
from app.storage.models import attempts, task_labels, tasks, workflow_tasks

INSTANTS = frozenset({"failed_from", "failed_before", "created_from", "created_before"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """What a task must have to be meant; what is None does not matter."""

    type: str | None = None
    statuses: tuple[str, ...] | None = None
    failure_reason: str | None = None
    error_contains: str | None = None
    failed_from: datetime | None = None
    failed_before: datetime | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    worker_id: str | None = None
    tag: str | None = None
    workflow_id: int | None = None
    ids: tuple[int, ...] | None = None

    def to_json(self) -> Row:
        """Return what is given, as JSON can hold it."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in given.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, stored: Row) -> "TaskFilter":
        """Return the filter that `to_json` wrote down."""
        return cls(**{name: _load(name, value) for name, value in stored.items()})

    def find_type_ids(self, tx: Transaction) -> list[int]:
        """Return the ids of the types that are meant, in order."""
        if self.type is None:
            return sorted(name_types(tx))
        return sorted(find_type_ids(tx, exactly(self.type)))

    def conditions(self, tx: Transaction) -> list[ColumnElement[bool]]:
        """Return what a row of `tasks` must fulfil, whatever its status."""
        wanted: dict[str, Any] = {
            "type": lambda _: tasks.c.type_id.in_(self.find_type_ids(tx)),
            "failure_reason": lambda reason: tasks.c.failure_reason == reason,
            # Not LIKE: that ignores case on SQLite, and its signs would have to be escaped.
            "error_contains": lambda text: func.instr(tasks.c.error_message, text) > 0,
            "failed_from": lambda instant: tasks.c.completed_at >= instant,
            "failed_before": lambda instant: tasks.c.completed_at < instant,
            "created_from": lambda instant: tasks.c.created_at >= instant,
            "created_before": lambda instant: tasks.c.created_at < instant,
            "worker_id": lambda worker: _has(attempts, attempts.c.worker_id == worker),
            "tag": lambda tag: _has(task_labels, task_labels.c.label == tag_label(tag)),
            "workflow_id": lambda workflow_id: _has(workflow_tasks, workflow_tasks.c.workflow_id == workflow_id),
            "ids": tasks.c.id.in_,
        }
        return [make(value) for name, make in wanted.items() if (value := getattr(self, name)) is not None]


def _has(table: Any, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(table.c.task_id).where(table.c.task_id == tasks.c.id, condition).correlate(tasks))


def _load(name: str, value: Any) -> Any:
    if name in INSTANTS:
        return datetime.fromisoformat(value)
    return tuple(value) if isinstance(value, list) else value
