"""Limits of a task type: how many tasks at once, how many claims in a time.

Only claims of a type that has limits come here. They hold the type's row in `task_type_limits` until they commit, so
the limits are strict across processes and hosts.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, func, select, update

from app.lifecycle import TaskStatus
from app.policies import parse_rate
from app.queue.task_types import TaskType
from app.storage.columns import EPOCH
from app.storage.database import Transaction
from app.storage.models import task_type_limits, tasks

_LOCK = (
    select(task_type_limits.c.recent_claims).where(task_type_limits.c.type_id == bindparam("type_id")).with_for_update()
)
_CLAIMED = (
    select(func.count().label("claimed"))
    .select_from(tasks)
    .where(tasks.c.type_id == bindparam("type_id"), tasks.c.status == int(TaskStatus.CLAIMED))
)
_REMEMBER = (
    update(task_type_limits)
    .where(task_type_limits.c.type_id == bindparam("of_type"))
    .values(recent_claims=bindparam("recent", type_=task_type_limits.c.recent_claims.type))
)


class LimitReached(Exception):
    """The type may not be claimed from now, whatever its tasks."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many tasks of a type may be claimed now, at least one, and when the latest were."""

    number: int
    recent: list[int]


def lock_limits(tx: Transaction, task_type: TaskType, wanted: int = 1) -> Allowance:
    """Hold the type's limits until the end of the transaction; say how many of `wanted` tasks may be claimed now.

    Where there is a rate, the claim is made now, and no earlier than those before it, however long this work has waited
    or slept since its instant was taken: others have forgotten by now what counted then.

    Raises LimitReached, also when somebody else holds the limits for a whole second: other types should not wait for
    that.
    """
    row = tx.lock(_LOCK, {"type_id": task_type.id})
    if row is None:
        raise LimitReached
    number = wanted
    recent: list[int] = row["recent_claims"]
    policies = task_type.policies
    if policies.rate_limit is not None:
        tx.catch_up(EPOCH + timedelta(microseconds=max(recent, default=0)))
        claims, seconds = parse_rate(policies.rate_limit)
        since = (tx.now - timedelta(seconds=seconds) - EPOCH) // timedelta(microseconds=1)
        recent = [claimed_at for claimed_at in recent if claimed_at > since]
        number = min(number, claims - len(recent))
    if number > 0 and policies.max_concurrency is not None:
        number = min(number, policies.max_concurrency - tx.execute(_CLAIMED, {"type_id": task_type.id}).scalar_one())
    if number <= 0:
        raise LimitReached
    return Allowance(number, recent)


def count_claims(tx: Transaction, task_type: TaskType, recent: list[int], number: int = 1) -> None:
    """Count claims against the type's rate limit, if it has one."""
    if task_type.policies.rate_limit is not None:
        now = (tx.now - EPOCH) // timedelta(microseconds=1)
        tx.execute(_REMEMBER, {"of_type": task_type.id, "recent": [*recent, *[now] * number]})
