"""What time must do to tasks: one indexed question, and one handler for each status."""

from collections import defaultdict
from datetime import datetime

from sqlalchemy import bindparam, select

from app.lifecycle import FINISHED, TaskStatus
from app.queue.expire import expire_leases, expire_waiting
from app.queue.floor import find_floor, look_from_start
from app.queue.follow import follow_up
from app.queue.remove import remove_tasks
from app.queue.wake import wake_tasks
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks

SLICE = 200

_DUE = (
    select(tasks.c.id, tasks.c.status, tasks.c.has_followers, tasks.c.due_at)
    .where(tasks.c.due_at <= bindparam("now", type_=Instant))
    .order_by(tasks.c.due_at)
    .limit(SLICE)
)
_DUE_FROM_FLOOR = _DUE.where(tasks.c.due_at >= bindparam("floor", type_=Instant))


def do_what_is_due(tx: Transaction) -> int:
    """Wake, expire, follow up and remove what is due, at most one slice of rows, and return how many rows were changed.

    Any number of processes may do this at the same time: each change is guarded. When nothing is due this is one
    indexed read.
    """
    due = _find_due(tx)
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


def _find_due(tx: Transaction) -> list[Row]:
    """Return the first that are due: at once those above the floor, a moment later those that came to be below."""

    def look(floor: datetime | None) -> list[Row]:
        if floor is None:
            return tx.all(_DUE, {"now": tx.now})
        return tx.all(_DUE_FROM_FLOOR, {"now": tx.now, "floor": floor})

    floor = find_floor(tx, "due")
    if floor is not None:
        return look(floor)
    return look_from_start(tx, "due", look, lambda found: found[0]["due_at"] if found else tx.now)
