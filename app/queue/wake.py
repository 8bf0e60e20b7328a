"""Wake: scheduled tasks whose time has come become pending."""

from collections import defaultdict

from sqlalchemy import bindparam, select, update

from app.lifecycle import TaskStatus
from app.queue.create import first_alarm
from app.queue.task_types import find_type_by_id
from app.storage.columns import Instant
from app.storage.database import Transaction
from app.storage.models import tasks

_ids = tasks.c.id.in_(bindparam("task_ids", expanding=True))
_DUE = select(tasks.c.id, tasks.c.type_id, tasks.c.attempts, tasks.c.deadline_at).where(
    _ids, tasks.c.status == int(TaskStatus.SCHEDULED), tasks.c.due_at <= bindparam("now", type_=Instant)
)
_WAKE = (
    update(tasks)
    .where(_ids)
    .values(
        status=int(TaskStatus.PENDING),
        due_at=bindparam("next_alarm", type_=Instant),
        updated_at=bindparam("at", type_=Instant),
    )
)


def wake_tasks(tx: Transaction, task_ids: list[int]) -> int:
    """Make these scheduled tasks claimable and return how many were."""
    with tx.atomic():
        due = tx.all(_DUE.with_for_update(skip_locked=tx.skips_locked_rows), {"task_ids": task_ids, "now": tx.now})
        by_alarm = defaultdict(list)
        for task in due:
            alarm = task["deadline_at"]
            if task["attempts"] == 0:
                alarm = first_alarm(find_type_by_id(tx, task["type_id"]), tx.now, alarm)
            by_alarm[alarm].append(task["id"])
        for alarm, of_alarm in by_alarm.items():
            tx.execute(_WAKE, {"task_ids": of_alarm, "next_alarm": alarm, "at": tx.now})
        return len(due)
