"""Remove: finished tasks leave the table when the retention time of their type is over."""

from sqlalchemy import bindparam, delete

from app.lifecycle import FINISHED
from app.queue.usage import count_usage, read_watermark
from app.storage.columns import Instant
from app.storage.database import Transaction
from app.storage.models import attempts, idempotency_keys, tasks

_TASKS = delete(tasks).where(
    tasks.c.id.in_(bindparam("task_ids", expanding=True)),
    tasks.c.status.in_([int(status) for status in FINISHED]),
    tasks.c.due_at <= bindparam("now", type_=Instant),
)
_ATTEMPTS = delete(attempts).where(attempts.c.task_id.in_(bindparam("task_ids", expanding=True)))
_ANSWERS = delete(idempotency_keys).where(idempotency_keys.c.id.in_(bindparam("ids", expanding=True)))


def remove_tasks(tx: Transaction, task_ids: list[int]) -> int:
    """Remove these finished tasks and their attempts; return how many tasks.

    A task that has not been counted into its type's usage yet stays until it has been.
    """
    watermark = read_watermark(tx)
    if any(task_id > watermark for task_id in task_ids):
        count_usage(tx)
        watermark = read_watermark(tx)
    counted = [task_id for task_id in task_ids if task_id <= watermark]
    if not counted:
        return 0
    with tx.atomic():
        tx.execute(_ATTEMPTS, {"task_ids": counted})
        return tx.changes(_TASKS, {"task_ids": counted, "now": tx.now})


def remove_answers(tx: Transaction, ids: list[int]) -> int:
    """Remove kept answers to Idempotency-Keys; return how many."""
    return tx.changes(_ANSWERS, {"ids": ids})
