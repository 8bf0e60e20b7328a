"""What every end of a task has in common."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, null

from app.lifecycle import TaskStatus
from app.queue.task_types import TaskType
from app.storage.columns import Instant

# To be set by the update that ends a task; `finish_parameters` fills the bound ones.
FINISH: dict[str, Any] = {
    "completed_at": bindparam("at", type_=Instant),
    "updated_at": bindparam("at", type_=Instant),
    "due_at": bindparam("removed_at", type_=Instant),
    "attempt_ends_at": null(),
}


def finish_parameters(task_type: TaskType, now: datetime) -> dict[str, datetime]:
    """Return the values for `FINISH`: the end itself, and when the task may be removed."""
    return {"at": now, "removed_at": now + timedelta(seconds=task_type.policies.retention_seconds)}


def finished(status: TaskStatus, now: datetime) -> dict[str, Any]:
    """Return what `FINISH` changes in a row, as far as a caller can see it."""
    return {"status": int(status), "completed_at": now, "updated_at": now}
