"""How often and when last a task type was used, without counting the task table and without a write per task.

A watermark divides the tasks by id: those below it are counted in `task_type_usage`, those above it are few and are
counted when somebody asks. Housekeeping moves the watermark. It stays a minute behind, because ids are given out
before their rows are committed.
"""

from datetime import timedelta

from sqlalchemy import bindparam, func, insert, select, union_all, update
from sqlalchemy.exc import IntegrityError

from app.storage.database import Row, Transaction
from app.storage.models import counters, task_type_usage, tasks

WATERMARK = "usage_counted_up_to_task_id"
LAG = timedelta(seconds=60)
SLICE = 2000

_WATERMARK = select(counters.c.value).where(counters.c.name == WATERMARK)
_MOVE = (
    update(counters)
    .where(counters.c.name == WATERMARK, counters.c.value == bindparam("old"))
    .values(value=bindparam("new"))
)
_NEXT = (
    select(tasks.c.id, tasks.c.type_id, tasks.c.created_at)
    .where(tasks.c.id > bindparam("old"))
    .order_by(tasks.c.id)
    .limit(SLICE)
)
# When the first task above the watermark was created.
FIRST_UNCOUNTED = (
    select(tasks.c.created_at)
    .where(tasks.c.id > func.coalesce(_WATERMARK.scalar_subquery(), 0))
    .order_by(tasks.c.id)
    .limit(1)
    .scalar_subquery()
)
# One statement, so one snapshot: between two the watermark could move, and some tasks be counted twice.
_USAGE = union_all(
    select(task_type_usage.c.type_id, task_type_usage.c.usage_count, task_type_usage.c.last_used_at),
    select(tasks.c.type_id, func.count(), func.max(tasks.c.created_at))
    .where(tasks.c.id > func.coalesce(_WATERMARK.scalar_subquery(), 0))
    .group_by(tasks.c.type_id),
)
_ADD = (
    update(task_type_usage)
    .where(task_type_usage.c.type_id == bindparam("of_type"))
    .values(
        usage_count=task_type_usage.c.usage_count + bindparam("more"),
        last_used_at=bindparam("latest", type_=task_type_usage.c.last_used_at.type),
    )
)


def read_watermark(tx: Transaction) -> int:
    """Return the id up to which tasks are counted."""
    row = tx.one(_WATERMARK)
    return 0 if row is None else int(row["value"])


def read_usage(tx: Transaction) -> dict[int, Row]:
    """Return `usage_count` and `last_used_at` by id of the task type."""
    usage: dict[int, Row] = {}
    for row in tx.all(_USAGE):
        of_type = usage.setdefault(row["type_id"], {"usage_count": 0, "last_used_at": None})
        of_type["usage_count"] += row["usage_count"]
        of_type["last_used_at"] = row["last_used_at"] or of_type["last_used_at"]
    return usage


def count_usage(tx: Transaction) -> int:
    """Move the watermark over at most one slice of tasks and return how many were counted."""
    watermark = read_watermark(tx)
    counted: dict[int, Row] = {}
    last = watermark
    number = 0
    for row in tx.all(_NEXT, {"old": watermark}):
        if row["created_at"] > tx.now - LAG:
            break
        of_type = counted.setdefault(row["type_id"], {"more": 0, "latest": row["created_at"]})
        of_type["more"] += 1
        of_type["latest"] = max(of_type["latest"], row["created_at"])
        last = row["id"]
        number += 1
    if number == 0:
        return 0
    if watermark == 0 and tx.one(_WATERMARK) is None:
        try:
            tx.execute(insert(counters), {"name": WATERMARK, "value": 0})
        except IntegrityError:
            # Somebody else is counting for the first time too.
            return 0
    with tx.atomic():
        # Whoever moves the watermark adds the slice; the others find it moved.
        if tx.changes(_MOVE, {"old": watermark, "new": last}) == 0:
            return 0
        for type_id, of_type in sorted(counted.items()):
            tx.execute(_ADD, {"of_type": type_id, **of_type})
        return number
