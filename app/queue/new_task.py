"""What a producer asks for, and the row that it becomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select

from app.errors import InstantPassed, QueueError, TaskTypeInactive
from app.lifecycle import TaskStatus
from app.queue.alarms import first_alarm
from app.queue.parameters import check_parameters, dedupe_hash
from app.queue.ranks import claim_rank
from app.queue.task_types import TaskType
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks

_OWN = select(tasks.c.id).where(
    tasks.c.dedupe_hash == bindparam("hash"), tasks.c.created_at == bindparam("at", type_=Instant)
)


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
    # What an equal task means, if not what the type's policy says.
    on_duplicate: str | None = None
    parent_task_id: str | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    concurrency_key: str | None = None
    depends_on: Sequence[int] = ()
    on_dependency_failure: str = "fail"
    # Whether it is a task of its own whatever equals it.
    is_unique: bool = False
    # The hash of what there is to be one task for ever, finished or not: it takes the place of every other comparison.
    once: str | None = None
    # Whether tasks that are created together with it wait for it, or it for them.
    is_followed: bool = False
    is_held: bool = False
    # More of what `tasks.extras` keeps.
    extras: Mapping[str, Any] = field(default_factory=dict)

    def all_extras(self) -> dict[str, Any] | None:
        """Return what the task has that most have not, in the form in which the API shows it; or None."""
        given = {
            "tags": list(dict.fromkeys(self.tags)),
            "metadata": dict(self.metadata),
            "concurrency_key": self.concurrency_key,
            "depends_on": sorted(set(self.depends_on)),
            **self.extras,
        }
        return {name: value for name, value in given.items() if value not in (None, [], {})} or None


def check_new_task(task_type: TaskType, new: NewTask) -> None:
    """Raise TaskTypeInactive or InvalidParameters unless the type takes the task."""
    if not task_type.is_active:
        raise TaskTypeInactive
    check_parameters(task_type.param_schema, new.params)


def checked_row(tx: Transaction, task_type: TaskType, new: NewTask, unique_hash: str) -> Row:
    """Return the row of the task, as `new_row`, if the type takes it; raises as `check_new_task` and `new_row`."""
    try:
        check_new_task(task_type, new)
    except QueueError:
        # The first run of this very work, whose answer was lost, may have created it before the type was changed.
        if not tx.is_rerun:
            raise
        hashed = new_row(tx, task_type, new, unique_hash)["dedupe_hash"]
        if tx.one(_OWN, {"hash": hashed, "at": tx.now}) is None:
            raise
    return new_row(tx, task_type, new, unique_hash)


def new_row(tx: Transaction, task_type: TaskType, new: NewTask, unique_hash: str) -> Row:
    """Return the row of a task that waits for nothing but its time, without its id and type.

    `unique_hash` is for a task that equals no other. Raises InstantPassed for a deadline that leaves no time for a
    start.
    """
    policies = task_type.policies
    available_at = new.available_at or tx.now
    if new.delay_seconds is not None:
        available_at = tx.now + timedelta(seconds=new.delay_seconds)
    if new.deadline_at is not None and new.deadline_at <= max(available_at, tx.now):
        problem = "Must be later than now, and than the time from which the task is available."
        raise InstantPassed(sentence=f"deadline_at: {problem}", details=[{"field": "deadline_at", "problem": problem}])
    is_scheduled = available_at > tx.now
    if new.once is not None:
        hashed = new.once
    elif new.is_unique or (new.dedupe_key is None and policies.dedupe == "never"):
        # Unique, so that a rerun after a lost answer finds the task instead of creating a second one.
        hashed = unique_hash
    else:
        hashed = dedupe_hash(task_type.id, new.params, new.dedupe_key, policies.dedupe_on)
    return {
        "status": int(TaskStatus.SCHEDULED if is_scheduled else TaskStatus.PENDING),
        "priority": new.priority,
        "claim_rank": claim_rank(
            # A time that has passed is no seniority.
            policies,
            priority=new.priority,
            available_at=max(available_at, tx.now),
            deadline_at=new.deadline_at,
        ),
        "due_at": available_at if is_scheduled else first_alarm(policies, tx.now, new.deadline_at),
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
        "extras": new.all_extras(),
    }
