"""What time must do: one indexed question, and one handler for each status."""

from collections import defaultdict
from datetime import timedelta

from sqlalchemy import bindparam, select

from app.lifecycle import FINISHED, TaskStatus
from app.queue.expire import expire_leases, expire_waiting
from app.queue.follow import follow_up
from app.queue.remove import remove_answers, remove_tasks
from app.queue.wake import wake_tasks
from app.storage.columns import Instant
from app.storage.database import Transaction
from app.storage.models import idempotency_keys, tasks

SLICE = 200

_DUE = (
    select(tasks.c.id, tasks.c.status, tasks.c.has_followers)
    .where(tasks.c.due_at <= bindparam("now", type_=Instant))
    .order_by(tasks.c.due_at)
    .limit(SLICE)
)
_OLD_ANSWERS = (
    select(idempotency_keys.c.id)
    .where(idempotency_keys.c.created_at <= bindparam("before", type_=Instant))
    .order_by(idempotency_keys.c.created_at)
    .limit(SLICE)
)


def do_what_is_due(tx: Transaction) -> int:
    """Wake, expire and remove what is due, at most one slice of rows, and return how many rows were changed.

    Any number of processes may do this at the same time: each change is guarded. When nothing is due this is one
    indexed read.
    """
    due = tx.all(_DUE, {"now": tx.now})
    if not due:
        return 0
    by_status = defaultdict(list)
    for task in due:
        is_followed = task["has_followers"] and task["status"] in FINISHED
        by_status[task["status"], is_followed].append(task["id"])
    changed = 0
    for (status, is_followed), ids in sorted(by_status.items()):
        if status == TaskStatus.SCHEDULED:
            changed += wake_tasks(tx, ids)
        elif status == TaskStatus.CLAIMED:
            changed += expire_leases(tx, ids)
        elif status in (TaskStatus.PENDING, TaskStatus.BLOCKED):
            changed += expire_waiting(tx, ids)
        elif is_followed:
            changed += follow_up(tx, ids)
        else:
            changed += remove_tasks(tx, ids)
    return changed


def remove_old_answers(tx: Transaction, keep_seconds: int) -> int:
    """Remove one slice of the answers that were kept for their time; return how many."""
    ids = [row["id"] for row in tx.all(_OLD_ANSWERS, {"before": tx.now - timedelta(seconds=keep_seconds)})]
    return remove_answers(tx, ids) if ids else 0
