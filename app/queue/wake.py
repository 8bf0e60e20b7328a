"""Wake: scheduled tasks whose time has come become claimable."""

from sqlalchemy import bindparam, select

from app.lifecycle import TaskStatus
from app.queue.enter import COLUMNS, enter
from app.storage.columns import Instant
from app.storage.database import Transaction
from app.storage.models import tasks

_DUE = select(*COLUMNS).where(
    tasks.c.id.in_(bindparam("task_ids", expanding=True)),
    tasks.c.status == int(TaskStatus.SCHEDULED),
    tasks.c.due_at <= bindparam("now", type_=Instant),
)


def wake_tasks(tx: Transaction, task_ids: list[int]) -> int:
    """Make these scheduled tasks claimable and return how many were."""
    with tx.atomic():
        due = tx.all(_DUE.with_for_update(skip_locked=tx.skips_locked_rows), {"task_ids": task_ids, "now": tx.now})
        enter(tx, due)
        return len(due)
