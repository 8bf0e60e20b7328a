"""Heartbeat and progress: the worker is alive, and its lease goes on."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, or_, update

from app.errors import TaskCancelled, TryAgain
from app.lifecycle import TaskStatus
from app.queue.leases import check_holder, read_token
from app.queue.signals import find_signals
from app.queue.task_types import TaskType, find_type_by_id
from app.queue.tasks import read_task
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks
from app.storage.prepared import Prepared

_ends = bindparam("ends", type_=Instant)
_extend = (
    update(tasks)
    .where(
        tasks.c.id == bindparam("task_id"),
        tasks.c.status == int(TaskStatus.CLAIMED),
        tasks.c.lease_token == bindparam("token"),
        tasks.c.claimed_by == bindparam("worker"),
        # However alive the worker is, an attempt ends when its time is up.
        or_(tasks.c.attempt_ends_at.is_(None), tasks.c.attempt_ends_at >= _ends),
    )
    .values(due_at=_ends, updated_at=bindparam("at", type_=Instant))
)
_extend_with_progress = _extend.values(progress=bindparam("done"), progress_message=bindparam("message"))
_EXTEND, _EXTEND_WITH_PROGRESS = Prepared(_extend), Prepared(_extend_with_progress)
_EXTEND_WITH_RESULT = Prepared(_extend_with_progress.values(result=bindparam("partial", type_=tasks.c.result.type)))
_MAX_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a worker hears when it reports on its task: what it needs to know to go on, or to stop."""

    #: None when the task was cancelled meanwhile.
    lease_expires_at: datetime | None
    #: No more tasks of this type are given out for now.
    type_paused: bool
    #: What an admin wants this worker to do, if anything.
    command: str | None

    @property
    def is_cancelled(self) -> bool:
        """Whether the task was cancelled while this worker had it."""
        return self.lease_expires_at is None


def beat(tx: Transaction, task_id: int, *, worker_id: str, lease_token: str | None, lease_seconds: int | None) -> Told:
    """Extend the worker's lease by the length it was claimed with, or by `lease_seconds`.

    Raises TaskNotFound, TaskNotClaimed, ClaimedByAnother, or LeaseLost: the worker should stop then.
    """
    return _extend_lease(tx, task_id, worker_id, lease_token, lease_seconds, _EXTEND, {})


def report_progress(
    tx: Transaction,
    task_id: int,
    *,
    worker_id: str,
    lease_token: str | None,
    progress: int,
    message: str | None,
    result: Any = None,
) -> Told:
    """Write down how far the worker is, and extend its lease; raises as `beat`, and TaskCancelled.

    `result` is what there is of it so far; None leaves what an earlier report said.
    """
    report = {"done": progress, "message": message}
    statement = _EXTEND_WITH_PROGRESS
    if result is not None:
        report["partial"] = result
        statement = _EXTEND_WITH_RESULT
    told = _extend_lease(tx, task_id, worker_id, lease_token, None, statement, report)
    if told.is_cancelled:
        raise TaskCancelled
    return told


def _extend_lease(
    tx: Transaction,
    task_id: int,
    worker_id: str,
    lease_token: str | None,
    lease_seconds: int | None,
    statement: Prepared,
    report: Row,
) -> Told:
    # With a token the update alone decides; without one, or when it hits nothing, the row is read to say why.
    token, attempt_ends_at = lease_token, None
    for _try in range(_MAX_TRIES):
        lease = read_token(token)
        if lease is not None:
            ends = tx.now + timedelta(seconds=lease_seconds or lease.seconds)
            ends = min(ends, attempt_ends_at or ends)
            if tx.changes(
                statement,
                {"task_id": task_id, "token": token, "worker": worker_id, "ends": ends, "at": tx.now, **report},
            ):
                return _tell(tx, worker_id, find_type_by_id(tx, lease.type_id), ends)
        task = read_task(tx, task_id)
        if task["status"] == TaskStatus.CANCELLED and task["claimed_by"] == worker_id:
            if lease_token is None or task["lease_token"] == lease_token:
                return _tell(tx, worker_id, find_type_by_id(tx, task["type_id"]), None)
        check_holder(task, worker_id, lease_token)
        token, attempt_ends_at = task["lease_token"], task["attempt_ends_at"]
    raise TryAgain(retry_after_seconds=1)


def _tell(tx: Transaction, worker_id: str, task_type: TaskType, lease_expires_at: datetime | None) -> Told:
    signals = find_signals(tx)
    return Told(
        lease_expires_at=lease_expires_at,
        type_paused=signals.pauses(task_type),
        command=signals.commands.get(worker_id),
    )
