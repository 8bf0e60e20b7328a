"""Cancel: nobody wants the task done any more."""

from sqlalchemy import bindparam, update

from app.errors import TaskFinished, TryAgain
from app.lifecycle import FINISHED, TaskStatus
from app.queue.finish import FINISH, finish_parameters, finished
from app.queue.follow import follow_up
from app.queue.task_types import find_type_by_id
from app.queue.tasks import read_task
from app.storage.database import Row, Transaction
from app.storage.models import tasks

# `claimed_by` and `lease_token` stay, so that the worker's next heartbeat learns that its task was cancelled.
_CANCEL = (
    update(tasks)
    .where(tasks.c.id == bindparam("task_id"), tasks.c.status == bindparam("seen_status"))
    .values(status=int(TaskStatus.CANCELLED), **FINISH)
)
_MAX_TRIES = 5


def cancel_task(tx: Transaction, task_id: int) -> Row:
    """Cancel the task and return it; a cancelled one stays as it is.

    A worker that has claimed it is told at its next heartbeat, and its result is refused. Raises TaskNotFound, or
    TaskFinished for a task that has completed or failed.
    """
    for _try in range(_MAX_TRIES):
        task = read_task(tx, task_id)
        if task["status"] == TaskStatus.CANCELLED:
            return task
        if task["status"] in FINISHED:
            raise TaskFinished
        parameters = finish_parameters(find_type_by_id(tx, task["type_id"]), tx.now)
        if tx.changes(_CANCEL, {"task_id": task_id, "seen_status": task["status"], **parameters}):
            if task["has_followers"]:
                follow_up(tx, [task_id])
            return {**task, **finished(TaskStatus.CANCELLED, tx.now)}
    raise TryAgain(retry_after_seconds=1)
