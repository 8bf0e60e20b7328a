"""Duplicates: does an equal task stand in the way of a new one, and what comes of that?"""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, null, select, update

from app.errors import DuplicateTask, TaskNotFound, TryAgain
from app.lifecycle import FINISHED, WAITING, TaskStatus
from app.queue.alarms import pending_alarm
from app.queue.enter import enter
from app.queue.line import leave_line
from app.queue.task_types import TaskType
from app.queue.tasks import read_task
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import line_places, tasks

_FORGET_HASHES = update(tasks).where(tasks.c.id.in_(bindparam("task_ids", expanding=True))).values(dedupe_hash=null())
_MAX_TRIES = 10
_ASKED_FOR = ("params", "priority", "available_at", "deadline_at")
_REPLACED = (*_ASKED_FOR, "claim_rank")
_REPLACE = (
    update(tasks)
    .where(
        tasks.c.id == bindparam("task_id"),
        tasks.c.status == bindparam("seen_status"),
        # It may have been claimed and have failed since it was seen, and wait again.
        tasks.c.attempts == bindparam("seen_attempts"),
    )
    .values(
        {
            **{name: bindparam(f"new_{name}", type_=tasks.c[name].type) for name in _REPLACED},
            "status": bindparam("next_status"),
            "due_at": bindparam("due", type_=Instant),
            "updated_at": bindparam("at", type_=Instant),
            # The worker of an attempt that expired has done what was asked for before.
            "claimed_by": null(),
            "lease_token": null(),
        }
    )
)
_PLACE = select(line_places.c.task_id).where(line_places.c.task_id == bindparam("of_task"))


class Created(NamedTuple):
    """What came of a request to create a task."""

    task: Row
    # An equal task was there already, and is returned.
    is_duplicate: bool = False
    # That task still waited, and has taken over what was asked for.
    is_replaced: bool = False


def stands_in_the_way(tx: Transaction, task_type: TaskType, existing: Row) -> bool:
    """Tell whether an equal task still counts.

    A task keeps its hash when it finishes, which costs its completion nothing; whether a finished or an old task
    still counts is decided here, by the policy of now.
    """
    policies = task_type.policies
    is_over = existing["status"] in FINISHED and policies.dedupe != "forever"
    window = policies.dedupe_window_seconds
    is_old = window is not None and existing["created_at"] <= tx.now - timedelta(seconds=window)
    return not is_over and not is_old


def forget_hashes(tx: Transaction, task_ids: list[int]) -> None:
    """Let nothing equal these tasks any more."""
    tx.execute(_FORGET_HASHES, {"task_ids": task_ids})


def meet_duplicate(tx: Transaction, task_type: TaskType, existing: Row, row: Row, on_duplicate: str | None) -> Created:
    """Do with the equal task that is there what the caller or the type's policy says.

    Raises DuplicateTask; TryAgain where the equal task was removed meanwhile.
    """
    action = on_duplicate or task_type.policies.on_duplicate
    existing = {**existing, "type": task_type.name}
    if action == "reject":
        problem = f"Task {existing['id']} is equal and {TaskStatus(existing['status']).word}."
        raise DuplicateTask(problem, details=[{"field": "params", "problem": problem}])
    if action == "replace" and tx.is_rerun and all(existing[name] == row[name] for name in _ASKED_FOR):
        # The first run of this very work, whose answer was lost, has replaced it.
        return Created(existing, True, True)
    if action == "replace":
        for _try in range(_MAX_TRIES):
            if existing["status"] not in WAITING:
                break
            replaced = _replace(tx, task_type, existing, row)
            if replaced is not None:
                return Created(replaced, True, True)
            # It may wait in another way since it was read: admitted, say, by what the same batch has replaced before.
            try:
                existing = read_task(tx, existing["id"])
            except TaskNotFound as error:
                raise TryAgain(retry_after_seconds=1) from error
    return Created(existing, True)


def _replace(tx: Transaction, task_type: TaskType, existing: Row, row: Row) -> Row | None:
    """Let the waiting task take over what was asked for; None if it does not wait as it was seen."""
    # What waits for other tasks goes on waiting for them.
    is_blocked = existing["status"] == TaskStatus.BLOCKED
    status, due_at = row["status"], row["due_at"]
    is_in_line = is_blocked and tx.one(_PLACE, {"of_task": existing["id"]}) is not None
    if is_blocked and not is_in_line:
        status, due_at = existing["status"], row["deadline_at"]
    elif status == TaskStatus.PENDING:
        due_at = pending_alarm(
            task_type.policies, tx.now, existing["attempts"], row["deadline_at"], existing["first_claimed_at"]
        )
    changes = {name: row[name] for name in _REPLACED}
    parameters = {
        "task_id": existing["id"],
        "seen_status": existing["status"],
        "seen_attempts": existing["attempts"],
        "next_status": status,
        "due": due_at,
        "at": tx.now,
        **{f"new_{name}": value for name, value in changes.items()},
    }
    with tx.atomic():
        if not tx.changes(_REPLACE, parameters):
            return None
        let_go = {"claimed_by": None, "lease_token": None}
        replaced = {**existing, **changes, **let_go, "status": status, "due_at": due_at, "updated_at": tx.now}
        if not existing["has_followers"]:
            return replaced
        if is_blocked and not is_in_line:
            return replaced
        # Its place in line is for those whose time has come.
        leave_line(tx, [existing["id"]])
        enter(tx, [replaced])
        return read_task(tx, existing["id"])
