"""Limits of a task type: how many tasks at once, how many claims in a time.

Only claims of a type that has limits come here. They hold the type's row in `task_type_limits` until they commit, so
the limits are strict across processes and hosts.
"""

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


def lock_limits(tx: Transaction, task_type: TaskType) -> list[int] | None:
    """Hold the type's limits until the end of the transaction; return its recent claims, or None at a limit.

    None too when somebody else holds them for a whole second: other types should not wait for that.
    """
    row = tx.lock(_LOCK, {"type_id": task_type.id})
    if row is None:
        return None
    recent: list[int] = row["recent_claims"]
    policies = task_type.policies
    if policies.rate_limit is not None:
        claims, seconds = parse_rate(policies.rate_limit)
        since = (tx.now - timedelta(seconds=seconds) - EPOCH) // timedelta(microseconds=1)
        recent = [claimed_at for claimed_at in recent if claimed_at > since]
        if len(recent) >= claims:
            return None
    if policies.max_concurrency is not None:
        claimed = tx.execute(_CLAIMED, {"type_id": task_type.id}).scalar_one()
        if claimed >= policies.max_concurrency:
            return None
    return recent


def count_claim(tx: Transaction, task_type: TaskType, recent: list[int]) -> None:
    """Count one claim against the type's rate limit, if it has one."""
    if task_type.policies.rate_limit is not None:
        now = (tx.now - EPOCH) // timedelta(microseconds=1)
        tx.execute(_REMEMBER, {"of_type": task_type.id, "recent": [*recent, now]})
