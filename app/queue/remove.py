"""Remove: finished tasks leave the table when the retention time of their type is over."""

from sqlalchemy import bindparam, delete, select, update

from app.lifecycle import FINISHED
from app.queue.usage import LAG, count_usage, read_watermark
from app.storage.columns import Instant
from app.storage.database import Transaction
from app.storage.models import idempotency_keys, tasks

_ids = tasks.c.id.in_(bindparam("task_ids", expanding=True))
_REMOVABLE = select(tasks.c.id).where(
    _ids,
    tasks.c.status.in_([int(status) for status in FINISHED]),
    tasks.c.due_at <= bindparam("now", type_=Instant),
)
# Their attempts go with them.
_DELETE = delete(tasks).where(_ids)
_PUT_OFF = update(tasks).where(_ids).values(due_at=bindparam("later", type_=Instant))
_ANSWERS = delete(idempotency_keys).where(idempotency_keys.c.id.in_(bindparam("ids", expanding=True)))


def remove_tasks(tx: Transaction, task_ids: list[int]) -> int:
    """Remove these finished tasks and their attempts; return how many rows were changed.

    A task that has not been counted into its type's usage yet is put off, out of the way of what else is due.
    """
    watermark = read_watermark(tx)
    if any(task_id > watermark for task_id in task_ids):
        count_usage(tx)
        watermark = read_watermark(tx)
    with tx.atomic():
        locking = _REMOVABLE.with_for_update(skip_locked=tx.skips_locked_rows)
        due = [row["id"] for row in tx.all(locking, {"task_ids": task_ids, "now": tx.now})]
        counted = [task_id for task_id in due if task_id <= watermark]
        uncounted = [task_id for task_id in due if task_id > watermark]
        if counted:
            tx.execute(_DELETE, {"task_ids": counted})
        if uncounted:
            tx.execute(_PUT_OFF, {"task_ids": uncounted, "later": tx.now + LAG})
        return len(due)


def remove_answers(tx: Transaction, ids: list[int]) -> int:
    """Remove kept answers to Idempotency-Keys; return how many."""
    return tx.changes(_ANSWERS, {"ids": ids})
