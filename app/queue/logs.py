"""Logs: lines that a worker writes while it works on a task, the newest of which are kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select

from app.errors import TaskNotFound
from app.queue.leases import check_holder
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import task_logs, tasks

LEVELS = ("debug", "info", "warning", "error")
MAX_LINES = 100
KEPT_LINES = 1000

# Held until the lines are written: nobody takes the task over in between, and two writers count one after the other.
_HOLDER = (
    select(tasks.c.status, tasks.c.claimed_by, tasks.c.lease_token, tasks.c.attempts)
    .where(tasks.c.id == bindparam("task_id"))
    .with_for_update()
)
_INSERT = insert(task_logs)
_of_task = task_logs.c.task_id == bindparam("task_id")
_IS_WRITTEN = (
    select(task_logs.c.id)
    .where(_of_task, task_logs.c.logged_at == bindparam("now", type_=Instant))
    .order_by(task_logs.c.id.desc())
    .limit(1)
)
# By their ids, since a delete of a range would lock its neighbours too.
_TOO_OLD = select(task_logs.c.id).where(_of_task).order_by(task_logs.c.id.desc()).limit(MAX_LINES).offset(KEPT_LINES)
_DELETE = delete(task_logs).where(task_logs.c.id.in_(bindparam("ids", expanding=True)))
_PAGE = (
    select(task_logs)
    .where(_of_task, task_logs.c.id > bindparam("after_id"))
    .order_by(task_logs.c.id)
    .limit(bindparam("limit"))
)
_EXISTS = select(tasks.c.id).where(tasks.c.id == bindparam("task_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line, which may be of several lines itself."""

    level: str
    message: str


def add_logs(
    tx: Transaction, task_id: int, *, worker_id: str, lease_token: str | None, lines: Sequence[LogLine]
) -> None:
    """Write down the lines, at most 100, of the worker that holds the claim; the oldest beyond 1,000 are removed.

    Raises TaskNotFound, TaskNotClaimed, ClaimedByAnother or LeaseLost.
    """
    with tx.atomic():
        task = tx.one(_HOLDER, {"task_id": task_id})
        if task is None:
            raise TaskNotFound
        if tx.is_rerun and tx.one(_IS_WRITTEN, {"task_id": task_id, "now": tx.now}) is not None:
            return
        check_holder(task, worker_id, lease_token)
        of_all = {"task_id": task_id, "attempt": task["attempts"], "logged_at": tx.now}
        tx.execute(_INSERT, [{**of_all, "level": line.level, "message": line.message} for line in lines])
        too_old = [row["id"] for row in tx.all(_TOO_OLD, {"task_id": task_id})]
        if too_old:
            tx.execute(_DELETE, {"ids": too_old})


def list_logs(tx: Transaction, task_id: int, *, after_id: int, limit: int) -> list[Row]:
    """Return the lines of a task that were written after the one with this id, oldest first; raises TaskNotFound."""
    found = tx.all(_PAGE, {"task_id": task_id, "after_id": after_id, "limit": limit})
    if not found and tx.one(_EXISTS, {"task_id": task_id}) is None:
        raise TaskNotFound
    return found
