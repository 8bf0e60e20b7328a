"""Attempts that did not complete their task: written and listed."""

from collections.abc import Sequence

from sqlalchemy import bindparam, insert, select

from app.errors import TaskNotFound
from app.storage.database import Row, Transaction
from app.storage.models import attempts, tasks

_INSERT = insert(attempts)
_LIST = select(attempts).where(attempts.c.task_id == bindparam("task_id")).order_by(attempts.c.id).limit(1000)
_EXISTS = select(tasks.c.id).where(tasks.c.id == bindparam("task_id"))


def add_attempt(
    tx: Transaction, task: Row, outcome: str, error_message: str | None, error_details: str | None = None
) -> None:
    """Write down how the present attempt of `task` ended."""
    add_ends(tx, [(task, error_message, error_details)], outcome)


def add_attempts(tx: Transaction, of_tasks: list[Row], outcome: str, error_message: str) -> None:
    """Write down that the present attempts of some tasks ended in the same way, in one statement."""
    add_ends(tx, [(task, error_message, None) for task in of_tasks], outcome)


def add_ends(tx: Transaction, ends: Sequence[tuple[Row, str | None, str | None]], outcome: str) -> None:
    """Write down the ends of attempts, each as its task, the error and its details, in one statement."""
    tx.execute(
        _INSERT,
        [
            {
                "task_id": task["id"],
                "number": task["attempts"],
                "worker_id": task["claimed_by"],
                "lease_token": task["lease_token"],
                "claimed_at": task["claimed_at"],
                "ended_at": tx.now,
                "outcome": outcome,
                "error_message": error_message,
                "error_details": error_details,
            }
            for task, error_message, error_details in ends
        ],
    )


def list_attempts(tx: Transaction, task_id: int) -> list[Row]:
    """Return the unsuccessful attempts of a task, oldest first, at most 1,000; raises TaskNotFound."""
    found = tx.all(_LIST, {"task_id": task_id})
    if not found and tx.one(_EXISTS, {"task_id": task_id}) is None:
        raise TaskNotFound
    return found
