"""Heartbeat and progress: the worker is alive, and its lease goes on."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, update

from app.errors import TryAgain
from app.lifecycle import TaskStatus
from app.queue.leases import check_holder, read_token
from app.queue.task_types import find_type_by_id
from app.queue.tasks import read_task
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks

_ends = bindparam("ends", type_=Instant)
_EXTEND = (
    update(tasks)
    .where(
        tasks.c.id == bindparam("task_id"),
        tasks.c.status == int(TaskStatus.CLAIMED),
        tasks.c.lease_token == bindparam("token"),
        tasks.c.claimed_by == bindparam("worker"),
    )
    # However alive the worker is, an attempt ends when its time is up.
    .values(
        due_at=case((tasks.c.attempt_ends_at < _ends, tasks.c.attempt_ends_at), else_=_ends),
        updated_at=bindparam("at", type_=Instant),
    )
)
_EXTEND_WITH_PROGRESS = _EXTEND.values(progress=bindparam("done"), progress_message=bindparam("message"))
_EXTEND_WITH_RESULT = _EXTEND_WITH_PROGRESS.values(result=bindparam("partial", type_=tasks.c.result.type))
_MAX_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The answer to a heartbeat: when the lease now ends, or that the task was cancelled meanwhile."""

    lease_expires_at: datetime | None
    is_cancelled: bool


def beat(tx: Transaction, task_id: int, *, worker_id: str, lease_token: str | None, lease_seconds: int | None) -> Beat:
    """Extend the worker's lease by the length it was claimed with, or by `lease_seconds`.

    Raises TaskNotFound, TaskNotClaimed, ClaimedByAnother, or LeaseLost: the worker should stop then.
    """
    ends = _extend(tx, task_id, worker_id, lease_token, lease_seconds, _EXTEND, {})
    return Beat(lease_expires_at=ends, is_cancelled=ends is None)


def report_progress(
    tx: Transaction,
    task_id: int,
    *,
    worker_id: str,
    lease_token: str | None,
    progress: int,
    message: str | None,
    result: Any = None,
) -> datetime:
    """Write down how far the worker is, and extend its lease; raises as `beat`, and TaskNotClaimed when cancelled.

    `result` is what there is of it so far; None leaves what an earlier report said.
    """
    report = {"done": progress, "message": message}
    statement = _EXTEND_WITH_PROGRESS
    if result is not None:
        report["partial"] = result
        statement = _EXTEND_WITH_RESULT
    ends = _extend(tx, task_id, worker_id, lease_token, None, statement, report)
    if ends is None:
        check_holder(read_task(tx, task_id), worker_id, lease_token)
        raise TryAgain
    return ends


def _extend(
    tx: Transaction,
    task_id: int,
    worker_id: str,
    lease_token: str | None,
    lease_seconds: int | None,
    statement: Any,
    report: Row,
) -> datetime | None:
    """Return when the lease now ends, or None if the task was cancelled while this worker had it."""
    # With a token the update alone decides; without one, or when it hits nothing, the row is read to say why.
    token = lease_token
    for _try in range(_MAX_TRIES):
        lease = read_token(token)
        if lease is not None:
            ends = tx.now + timedelta(seconds=lease_seconds or lease.seconds)
            if tx.changes(
                statement,
                {"task_id": task_id, "token": token, "worker": worker_id, "ends": ends, "at": tx.now, **report},
            ):
                has_timeout = find_type_by_id(tx, lease.type_id).policies.attempt_timeout_seconds is not None
                return read_task(tx, task_id)["due_at"] if has_timeout else ends
        task = read_task(tx, task_id)
        if task["status"] == TaskStatus.CANCELLED and task["claimed_by"] == worker_id:
            if lease_token is None or task["lease_token"] == lease_token:
                return None
        check_holder(task, worker_id, lease_token)
        token = task["lease_token"]
    raise TryAgain(retry_after_seconds=1)
