"""Enter: waiting tasks that nothing holds back any more become claimable."""

from collections import defaultdict
from datetime import datetime

from sqlalchemy import bindparam, update

from app.lifecycle import TaskStatus
from app.queue.alarms import first_of, pending_alarm
from app.queue.line import join_line, line_key, rank_as_in_line
from app.queue.ranks import waiting_rank
from app.queue.task_types import find_type_by_id
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks

_MOVE = (
    update(tasks)
    .where(tasks.c.id.in_(bindparam("task_ids", expanding=True)))
    .values(
        status=bindparam("next_status"),
        due_at=bindparam("alarm", type_=Instant),
        updated_at=bindparam("at", type_=Instant),
    )
)
# Whoever is in a line has followers, however it came there: the next of the line waits for its end.
_MOVE_INTO_LINE = _MOVE.values(has_followers=True)
#: What `enter` needs of each task.
COLUMNS = (
    tasks.c.id,
    tasks.c.type_id,
    tasks.c.priority,
    tasks.c.claim_rank,
    tasks.c.attempts,
    tasks.c.created_at,
    tasks.c.available_at,
    tasks.c.first_claimed_at,
    tasks.c.deadline_at,
    tasks.c.extras,
)


def enter(tx: Transaction, waiting: list[Row]) -> None:
    """Make these tasks, which the transaction holds, claimable, each as soon as its time and its line allow."""
    groups: dict[tuple[TaskStatus, datetime | None], list[int]] = defaultdict(list)
    in_line = []
    turned = []
    for task in waiting:
        task_type = find_type_by_id(tx, task["type_id"])
        is_overdue = task["deadline_at"] is not None and task["deadline_at"] <= tx.now
        if task["available_at"] > tx.now and not is_overdue:
            groups[TaskStatus.SCHEDULED, first_of(task["available_at"], task["deadline_at"])].append(task["id"])
            continue
        alarm = pending_alarm(
            task_type.policies, tx.now, task["attempts"], task["deadline_at"], task["first_claimed_at"]
        )
        if line_key(task_type, task["extras"]) is not None:
            groups[TaskStatus.BLOCKED, alarm].append(task["id"])
            if task_type.policies.key_order == "round_robin":
                # What had its turn before still has the rank of that turn, which is behind all that is new.
                task = {**task, "claim_rank": waiting_rank(task_type.policies, task)}
                turned.append(task["id"])
            in_line.append(task)
        else:
            groups[TaskStatus.PENDING, alarm].append(task["id"])
    for (status, alarm), ids in groups.items():
        statement = _MOVE_INTO_LINE if status is TaskStatus.BLOCKED else _MOVE
        tx.execute(statement, {"task_ids": ids, "next_status": int(status), "alarm": alarm, "at": tx.now})
    if in_line:
        join_line(tx, in_line)
    if turned:
        rank_as_in_line(tx, turned)
