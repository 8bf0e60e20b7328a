"""Wake: scheduled tasks whose time has come become pending."""

from collections import defaultdict

from sqlalchemy import bindparam, update

from app.lifecycle import TaskStatus
from app.queue.create import first_alarm
from app.queue.task_types import find_type_by_id
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks

_WAKE = (
    update(tasks)
    .where(
        tasks.c.id.in_(bindparam("task_ids", expanding=True)),
        tasks.c.status == int(TaskStatus.SCHEDULED),
        tasks.c.due_at <= bindparam("at", type_=Instant),
    )
    .values(
        status=int(TaskStatus.PENDING),
        due_at=bindparam("next_alarm", type_=Instant),
        updated_at=bindparam("at", type_=Instant),
    )
)


def wake_tasks(tx: Transaction, due: list[Row]) -> int:
    """Make these scheduled tasks claimable and return how many were."""
    by_alarm = defaultdict(list)
    for task in due:
        alarm = task["deadline_at"]
        if task["attempts"] == 0:
            alarm = first_alarm(find_type_by_id(tx, task["type_id"]), tx.now, alarm)
        by_alarm[alarm].append(task["id"])
    return sum(
        tx.changes(_WAKE, {"task_ids": task_ids, "next_alarm": alarm, "at": tx.now})
        for alarm, task_ids in by_alarm.items()
    )
