"""Release: the worker gives a task back without spending the attempt."""

from datetime import timedelta

from sqlalchemy import bindparam, null, update

from app.errors import TryAgain
from app.lifecycle import TaskStatus
from app.queue.alarms import first_of, pending_alarm
from app.queue.attempts import add_attempt
from app.queue.enter import enter
from app.queue.leases import RELEASED, check_holder, was_said_before
from app.queue.line import leave_line
from app.queue.task_types import find_type_by_id
from app.queue.tasks import read_task
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks

_RELEASE = (
    update(tasks)
    .where(
        tasks.c.id == bindparam("task_id"),
        tasks.c.status == int(TaskStatus.CLAIMED),
        tasks.c.lease_token == bindparam("token"),
    )
    .values(
        status=bindparam("next_status"),
        attempts=tasks.c.attempts - 1,
        available_at=bindparam("available", type_=Instant),
        due_at=bindparam("due", type_=Instant),
        progress=0,
        progress_message=null(),
        claimed_by=null(),
        lease_token=null(),
        claimed_at=null(),
        attempt_ends_at=null(),
        first_claimed_at=bindparam("first_claimed", type_=Instant),
        updated_at=bindparam("at", type_=Instant),
    )
)
_MAX_TRIES = 5


def release_task(
    tx: Transaction, task_id: int, *, worker_id: str, lease_token: str | None, delay_seconds: float
) -> Row:
    """Make the task claimable again, after `delay_seconds`, and return it; saying it twice changes nothing.

    Raises TaskNotFound, TaskNotClaimed, ClaimedByAnother or LeaseLost.
    """
    for _try in range(_MAX_TRIES):
        task = read_task(tx, task_id)
        if was_said_before(tx, task, worker_id, lease_token, RELEASED):
            return task
        check_holder(task, worker_id, lease_token)
        # What was never started before is as it was when it was created.
        policies = find_type_by_id(tx, task["type_id"]).policies
        first_claimed_at = None if task["attempts"] == 1 else task["first_claimed_at"]
        alarm = pending_alarm(policies, tx.now, task["attempts"] - 1, task["deadline_at"], first_claimed_at)
        available_at = tx.now + timedelta(seconds=delay_seconds)
        status = TaskStatus.SCHEDULED if delay_seconds > 0 else TaskStatus.PENDING
        parameters = {
            "task_id": task_id,
            "token": task["lease_token"],
            "next_status": int(status),
            "available": available_at,
            "due": first_of(available_at, task["deadline_at"]) if delay_seconds > 0 else alarm,
            "first_claimed": first_claimed_at,
            "at": tx.now,
        }
        with tx.atomic():
            if tx.changes(_RELEASE, parameters):
                add_attempt(tx, task, RELEASED, None)
                released = {
                    **task,
                    "status": int(status),
                    "attempts": task["attempts"] - 1,
                    "available_at": available_at,
                    "claimed_by": None,
                    "claimed_at": None,
                    "first_claimed_at": first_claimed_at,
                    "lease_token": None,
                    "progress": 0,
                    "progress_message": None,
                    "updated_at": tx.now,
                }
                if task["has_followers"] and delay_seconds > 0:
                    leave_line(tx, [task_id])
                elif task["has_followers"]:
                    enter(tx, [released])
                    # It may stand in the line of its key now.
                    return read_task(tx, task_id)
                return released
    raise TryAgain(retry_after_seconds=1)
