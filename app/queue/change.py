"""Change: what of a task may still be changed while it waits."""

from sqlalchemy import bindparam, update

from app.errors import TaskNotWaiting, TryAgain
from app.lifecycle import WAITING, TaskStatus
from app.queue.line import line_key, move_place
from app.queue.ranks import move_rank
from app.queue.task_types import find_type_by_id
from app.queue.tasks import read_task
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks

_CHANGE = (
    update(tasks)
    .where(
        tasks.c.id == bindparam("task_id"),
        tasks.c.status == bindparam("seen_status"),
        tasks.c.claim_rank == bindparam("seen_rank"),
    )
    .values(
        priority=bindparam("new_priority"),
        claim_rank=bindparam("new_rank"),
        updated_at=bindparam("at", type_=Instant),
    )
)
_MAX_TRIES = 5


def change_task(tx: Transaction, task_id: int, *, priority: int) -> Row:
    """Give a task that still waits another priority and return it; saying it twice changes nothing.

    Raises TaskNotFound, or TaskNotWaiting for a task that is claimed or finished.
    """
    for _try in range(_MAX_TRIES):
        task = read_task(tx, task_id)
        if task["status"] not in WAITING:
            raise TaskNotWaiting
        if task["priority"] == priority:
            return task
        task_type = find_type_by_id(tx, task["type_id"])
        is_in_line = line_key(task_type, task["extras"]) is not None
        rank = task["claim_rank"]
        # Where keys take turns, the rank of a task that is out of the line is its turn.
        if not is_in_line or task["status"] != TaskStatus.PENDING or task_type.policies.key_order != "round_robin":
            rank = move_rank(task_type.policies, rank, task["priority"], priority)
        changed = {"priority": priority, "claim_rank": rank, "updated_at": tx.now}
        parameters = {
            "task_id": task_id,
            "seen_status": task["status"],
            "seen_rank": task["claim_rank"],
            "new_priority": priority,
            "new_rank": rank,
            "at": tx.now,
        }
        with tx.atomic():
            if tx.changes(_CHANGE, parameters):
                if is_in_line and rank != task["claim_rank"]:
                    move_place(tx, task_id, rank)
                return {**task, **changed}
    raise TryAgain(retry_after_seconds=1)
