"""Create: put a task into the queue, once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, insert, null, select, update
from sqlalchemy.exc import IntegrityError

from app.errors import InstantPassed, TaskTypeInactive, TryAgain
from app.lifecycle import FINISHED, TaskStatus
from app.queue.parameters import check_parameters, dedupe_hash
from app.queue.ranks import claim_rank
from app.queue.task_types import TaskType, find_type
from app.storage.database import Row, Transaction
from app.storage.models import task_types, tasks

_COLUMNS = (
    "status",
    "priority",
    "claim_rank",
    "due_at",
    "params",
    "progress",
    "attempts",
    "max_attempts",
    "available_at",
    "deadline_at",
    "created_at",
    "updated_at",
    "dedupe_key",
    "dedupe_hash",
    "parent_task_id",
    "has_followers",
    "extras",
)
# The type's id is looked up together with the revision under which the task was checked; if that has changed, the id
# is NULL and the insert fails. Not INSERT … SELECT: that takes InnoDB's table-wide lock for ids.
_INSERT = (
    insert(tasks)
    .values(
        type_id=select(task_types.c.id)
        .where(task_types.c.id == bindparam("of_type"), task_types.c.revision == bindparam("revision"))
        .scalar_subquery(),
        **{name: bindparam(name, type_=tasks.c[name].type) for name in _COLUMNS},
    )
    .inline()
)
# A locking read sees what has been committed meanwhile, also inside a transaction with an older snapshot.
_EQUAL = select(tasks).where(tasks.c.dedupe_hash == bindparam("hash")).with_for_update(read=True)
_FORGET_HASH = (
    update(tasks)
    .where(tasks.c.id == bindparam("task_id"), tasks.c.dedupe_hash == bindparam("hash"))
    .values(dedupe_hash=null())
)
_MAX_TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """What a producer asks for."""

    type_name: str
    params: dict[str, Any]
    priority: int = 0
    available_at: datetime | None = None
    delay_seconds: float | None = None
    deadline_at: datetime | None = None
    dedupe_key: str | None = None
    parent_task_id: str | None = None


def create_task(tx: Transaction, new: NewTask) -> tuple[Row, bool]:
    """Create the task and return its row and False, or the equal task that is already there and True.

    Raises TaskTypeNotFound, TaskTypeInactive, InvalidParameters, in this order; InstantPassed for a deadline that
    leaves no time for a start.
    """
    for try_ in range(_MAX_TRIES):
        task_type = find_type(tx, new.type_name, fresh=try_ > 0)
        if not task_type.is_active:
            raise TaskTypeInactive
        check_parameters(task_type.param_schema, new.params)
        values = _row(tx, task_type, new)
        try:
            task_id = tx.execute(_INSERT, {**values, "of_type": task_type.id, "revision": task_type.revision}).lastrowid
        except IntegrityError:
            existing = _find_equal(tx, task_type, values["dedupe_hash"])
            if existing is None:
                # Either the cached type is out of date, or the equal task stands in the way no longer.
                continue
            # After a lost answer, the equal task may be the one that this very request created.
            is_own = tx.is_rerun and existing["created_at"] == values["created_at"]
            return {**existing, "type": task_type.name}, not is_own
        return {"id": task_id, "type_id": task_type.id, "type": task_type.name, **values}, False
    raise TryAgain(retry_after_seconds=1)


def _row(tx: Transaction, task_type: TaskType, new: NewTask) -> Row:
    policies = task_type.policies
    available_at = new.available_at or tx.now
    if new.delay_seconds is not None:
        available_at = tx.now + timedelta(seconds=new.delay_seconds)
    if new.deadline_at is not None and new.deadline_at <= max(available_at, tx.now):
        problem = "Must be later than now, and than the time from which the task is available."
        raise InstantPassed(sentence=f"deadline_at: {problem}", details=[{"field": "deadline_at", "problem": problem}])
    is_scheduled = available_at > tx.now
    if new.dedupe_key is None and policies.dedupe == "never":
        # Unique, so that a rerun after a lost answer finds the task instead of creating a second one.
        hashed = tx.nonce * 2
    else:
        hashed = dedupe_hash(task_type.id, new.params, new.dedupe_key)
    return {
        "status": int(TaskStatus.SCHEDULED if is_scheduled else TaskStatus.PENDING),
        "priority": new.priority,
        "claim_rank": claim_rank(
            policies, priority=new.priority, available_at=available_at, deadline_at=new.deadline_at
        ),
        "due_at": available_at if is_scheduled else first_alarm(task_type, tx.now, new.deadline_at),
        "params": new.params,
        "progress": 0,
        "attempts": 0,
        "max_attempts": policies.max_attempts,
        "available_at": available_at,
        "deadline_at": new.deadline_at,
        "created_at": tx.now,
        "updated_at": tx.now,
        "dedupe_key": new.dedupe_key,
        "dedupe_hash": hashed,
        "parent_task_id": new.parent_task_id,
        "has_followers": False,
        "extras": None,
    }


def first_alarm(task_type: TaskType, since: datetime, deadline_at: datetime | None) -> datetime | None:
    """Return when a task that became pending at `since`, and was never started, must be given up."""
    expires = task_type.policies.expires_after_seconds
    if expires is None:
        return deadline_at
    return first_of(since + timedelta(seconds=expires), deadline_at)


def first_of(instant: datetime, deadline_at: datetime | None) -> datetime:
    """Return the earlier of an instant and a deadline, if there is one."""
    return instant if deadline_at is None else min(instant, deadline_at)


def _find_equal(tx: Transaction, task_type: TaskType, hashed: str) -> Row | None:
    """Return the equal task that stands in the way of a new one, or free the hash and return None.

    A task keeps its hash when it finishes, which costs its completion nothing; whether a finished or an old task
    still counts is decided here, by the policy of now.
    """
    existing = tx.one(_EQUAL, {"hash": hashed})
    if existing is None or (tx.is_rerun and existing["created_at"] == tx.now):
        return existing
    policies = task_type.policies
    is_over = existing["status"] in FINISHED and policies.dedupe != "forever"
    window = policies.dedupe_window_seconds
    is_old = window is not None and existing["created_at"] <= tx.now - timedelta(seconds=window)
    if not is_over and not is_old:
        return existing
    tx.changes(_FORGET_HASH, {"task_id": existing["id"], "hash": hashed})
    return None
