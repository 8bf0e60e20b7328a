"""What every end of a task has in common."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, null

from app.lifecycle import TaskStatus
from app.queue.ranks import end_rank
from app.queue.task_types import TaskType, find_type_by_id
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks

# To be set by the update that ends a task; `finish_parameters` fills the bound ones.
FINISH: dict[str, Any] = {
    "completed_at": bindparam("at", type_=Instant),
    "updated_at": bindparam("at", type_=Instant),
    # The alarm of a task with followers rings at once, so that they are seen to even if this process dies now.
    "due_at": case(
        (tasks.c.has_followers, bindparam("at", type_=Instant)), else_=bindparam("removed_at", type_=Instant)
    ),
    "claim_rank": bindparam("end_rank"),
    "attempt_ends_at": null(),
}


def finish_parameters(task_type: TaskType, now: datetime) -> dict[str, Any]:
    """Return the values for `FINISH`: the end itself, and when the task may be removed."""
    removed_at = now + timedelta(seconds=task_type.policies.retention_seconds)
    return {"at": now, "removed_at": removed_at, "end_rank": end_rank(now)}


def finish_by_type(tx: Transaction, of_tasks: Iterable[Row]) -> Iterator[Row]:
    """Yield, for each type of these tasks, the `task_ids` and the values for `FINISH`."""
    by_type = defaultdict(list)
    for task in of_tasks:
        by_type[task["type_id"]].append(task["id"])
    for type_id, task_ids in by_type.items():
        yield {"task_ids": task_ids, **finish_parameters(find_type_by_id(tx, type_id), tx.now)}


def finished(status: TaskStatus, now: datetime) -> dict[str, Any]:
    """Return what `FINISH` changes in a row, as far as a caller can see it."""
    return {"status": int(status), "completed_at": now, "updated_at": now}
