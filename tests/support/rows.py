"""Puts rows into `tasks` as they would have become in time, many at once."""

import secrets
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from app.lifecycle import FINISHED, TaskStatus
from app.queue.ranks import end_rank
from app.storage.database import Database, Transaction
from app.storage.models import task_labels, tasks

_CHUNK = 1000
_MONTH = timedelta(days=30)


def add_rows(database: Database, type_id: int, status: TaskStatus, number: int, **columns: Any) -> list[int]:
    """Add so many tasks of this status, a millisecond apart, and return their ids in the order of their ends."""

    def add(tx: Transaction, count: int) -> list[int]:
        at = columns.get("completed_at", tx.now)
        rows = []
        for place in range(count):
            ended_at = at - timedelta(milliseconds=number - place)
            of_end: dict[str, Any] = {}
            if status in FINISHED:
                of_end = {"completed_at": ended_at, "claim_rank": end_rank(ended_at), "due_at": ended_at + _MONTH}
            if status == TaskStatus.FAILED:
                of_end.update(failure_reason="attempts_exhausted", error_message="it broke")
            row = {
                **{column.name: None for column in tasks.c if column.name != "id"},
                "type_id": type_id,
                "status": int(status),
                "priority": 0,
                "claim_rank": 0,
                "params": {},
                "progress": 0,
                "attempts": 3 if status in FINISHED else 0,
                "max_attempts": 3,
                "available_at": ended_at,
                "created_at": ended_at - timedelta(hours=1),
                "updated_at": ended_at,
                "dedupe_hash": secrets.token_hex(32),
                "has_followers": False,
                **of_end,
            }
            rows.append({**row, **columns})
        before = tx.one(select(tasks.c.id).order_by(tasks.c.id.desc()).limit(1))
        tx.execute(tasks.insert(), rows)
        above = tasks.c.id > (before["id"] if before else 0)
        return [row["id"] for row in tx.all(select(tasks.c.id).where(above).order_by(tasks.c.id))]

    ids: list[int] = []
    while len(ids) < number:
        count = min(_CHUNK, number - len(ids))
        ids += database.write(lambda tx, count=count: add(tx, count))
    return ids


def label_rows(database: Database, task_ids: list[int], label: str) -> None:
    """Give these tasks a label."""
    rows = [{"label": label, "task_id": task_id} for task_id in task_ids]
    database.write(lambda tx: tx.execute(task_labels.insert(), rows))
