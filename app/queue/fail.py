"""Fail: the worker could not do the task; try again later, or give it up."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, null, update

from app.errors import TryAgain
from app.lifecycle import FailureReason, TaskStatus
from app.queue.alarms import pending_alarm
from app.queue.attempts import add_attempt
from app.queue.enter import enter
from app.queue.finish import FINISH, finish_parameters, finished
from app.queue.follow import follow_up
from app.queue.leases import FAILED, refuse_late_report, was_not_taken_over, was_said_before
from app.queue.line import leave_line
from app.queue.retry_policy import is_out_of_time, retry_delay_seconds
from app.queue.task_types import find_type_by_id
from app.queue.tasks import read_task
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks

_HELD = (
    tasks.c.id == bindparam("task_id"),
    tasks.c.status == int(TaskStatus.CLAIMED),
    tasks.c.lease_token == bindparam("token"),
)
LET_GO = {"claimed_by": null(), "lease_token": null(), "attempt_ends_at": null()}
_RETRY = (
    update(tasks)
    .where(*_HELD)
    .values(
        status=bindparam("next_status"),
        available_at=bindparam("available", type_=Instant),
        due_at=bindparam("due", type_=Instant),
        error_message=bindparam("error"),
        updated_at=bindparam("at", type_=Instant),
        **LET_GO,
    )
)
_GIVE_UP = (
    update(tasks)
    .where(*_HELD)
    .values(
        status=int(TaskStatus.FAILED),
        error_message=bindparam("error"),
        failure_reason=bindparam("reason"),
        **{**FINISH, **LET_GO},
    )
)
_MAX_TRIES = 5


def fail_task(
    tx: Transaction,
    task_id: int,
    *,
    worker_id: str,
    lease_token: str | None,
    error: str | None,
    retryable: bool,
    retry_after_seconds: float | None,
    error_details: str | None = None,
) -> Row:
    """End the attempt as failed and return the task: waiting for its next attempt, or a dead letter.

    Raises TaskNotFound, TaskNotClaimed, ClaimedByAnother, or LeaseLost when the task has been taken over. Saying the
    same again with the same token changes nothing.
    """
    report = {"success": False, "error": error, "error_details": error_details}
    for _try in range(_MAX_TRIES):
        task = read_task(tx, task_id)
        if was_said_before(tx, task, worker_id, lease_token, FAILED):
            return task
        if was_not_taken_over(task, worker_id, lease_token):
            # The attempt has been counted as expired already; failing it a second time would count it twice.
            return task
        refuse_late_report(tx, task, worker_id, lease_token, report)
        values = next_state(tx, task, retryable, retry_after_seconds)
        statement = _GIVE_UP if values["status"] == TaskStatus.FAILED else _RETRY
        with tx.atomic():
            if tx.changes(statement, {**_parameters(tx, task, values), "error": error}):
                add_attempt(tx, task, FAILED, error, error_details)
                if task["has_followers"]:
                    tell_followers(tx, [{**task, **values}])
                    # It may stand in the line of its key now.
                    return read_task(tx, task_id)
                return {**task, **values, "error_message": error, "claimed_by": None, "lease_token": None}
    raise TryAgain(retry_after_seconds=1)


def next_state(tx: Transaction, task: Row, retryable: bool, retry_after_seconds: float | None) -> Row:
    """Return what a failure of the task's present attempt changes in its row, as far as a caller can see it."""
    policies = find_type_by_id(tx, task["type_id"]).policies
    reason = None
    delay = 0.0
    if not retryable:
        reason = FailureReason.NOT_RETRYABLE
    elif task["attempts"] >= task["max_attempts"]:
        reason = FailureReason.ATTEMPTS_EXHAUSTED
    else:
        delay = retry_delay_seconds(policies, task["attempts"])
        if retry_after_seconds is not None:
            delay = retry_after_seconds
        begin_at = tx.now + timedelta(seconds=delay)
        if is_out_of_time(policies, task["first_claimed_at"], begin_at):
            reason = FailureReason.ATTEMPTS_EXHAUSTED
        elif task["deadline_at"] is not None and begin_at >= task["deadline_at"]:
            reason = FailureReason.DEADLINE_PASSED
    if reason is not None:
        return {**finished(TaskStatus.FAILED, tx.now), "failure_reason": reason}
    available_at = tx.now + timedelta(seconds=delay)
    status = TaskStatus.SCHEDULED if available_at > tx.now else TaskStatus.PENDING
    return {"status": int(status), "available_at": available_at, "updated_at": tx.now}


def tell_followers(tx: Transaction, failed: Sequence[Row]) -> None:
    """See to those who wait for these tasks, whose rows are as their failures left them."""
    by_status = defaultdict(list)
    for task in failed:
        by_status[TaskStatus(task["status"])].append(task)
    if dead := by_status[TaskStatus.FAILED]:
        follow_up(tx, [task["id"] for task in dead])
    if scheduled := by_status[TaskStatus.SCHEDULED]:
        leave_line(tx, [task["id"] for task in scheduled])
    if claimable := by_status[TaskStatus.PENDING]:
        enter(tx, claimable)


def _parameters(tx: Transaction, task: Row, values: Row) -> Row:
    held = {"task_id": task["id"], "token": task["lease_token"]}
    if values["status"] == TaskStatus.FAILED:
        finish = finish_parameters(find_type_by_id(tx, task["type_id"]), tx.now)
        return {**held, **finish, "reason": values["failure_reason"]}
    return {
        **held,
        "next_status": values["status"],
        "available": values["available_at"],
        "due": next_alarm(tx, task, values),
        "at": tx.now,
    }


def next_alarm(tx: Transaction, task: Row, values: Row) -> datetime | None:
    """Return the alarm of a task that waits for its next attempt, as `next_state` says."""
    if values["status"] == TaskStatus.SCHEDULED:
        available_at: datetime = values["available_at"]
        return available_at
    policies = find_type_by_id(tx, task["type_id"]).policies
    return pending_alarm(policies, tx.now, task["attempts"], task["deadline_at"], task["first_claimed_at"])
