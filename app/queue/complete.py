"""Complete: the worker has done the task."""

from typing import Any

from sqlalchemy import and_, bindparam, null, or_, update

from app.errors import TryAgain
from app.lifecycle import TaskStatus
from app.queue.finish import FINISH, finish_parameters
from app.queue.follow import follow_up
from app.queue.leases import DIED_OF_TIME, read_token, refuse_late_report, was_not_taken_over
from app.queue.parameters import check_result
from app.queue.task_types import get_type
from app.queue.tasks import read_task
from app.storage.database import Row, Transaction
from app.storage.models import tasks
from app.storage.prepared import Prepared

# Which rows a report of success may end.
MAY_COMPLETE = (
    tasks.c.claimed_by == bindparam("worker"),
    # An expired attempt keeps its token until somebody claims the task again, and may still complete it.
    or_(
        # One by one: what is given to IN as a list is written anew with every execution.
        *(tasks.c.status == int(status) for status in (TaskStatus.CLAIMED, TaskStatus.PENDING, TaskStatus.BLOCKED)),
        and_(
            tasks.c.status == int(TaskStatus.FAILED),
            or_(*(tasks.c.failure_reason == reason for reason in DIED_OF_TIME)),
        ),
    ),
)
COMPLETED: dict[str, Any] = {
    "status": int(TaskStatus.COMPLETED),
    "progress": 100,
    "error_message": null(),
    "failure_reason": null(),
    **FINISH,
}
COMPLETE = Prepared(
    update(tasks)
    .where(tasks.c.id == bindparam("task_id"), tasks.c.lease_token == bindparam("token"), *MAY_COMPLETE)
    .values(result=bindparam("outcome", type_=tasks.c.result.type), **COMPLETED)
)
_MAX_TRIES = 5


def complete_task(tx: Transaction, task_id: int, *, worker_id: str, lease_token: str | None, result: Any) -> None:
    """Apply the worker's result, exactly once; saying the same again with the same token changes nothing.

    Raises TaskNotFound, TaskNotClaimed, ClaimedByAnother, InvalidResult, or LeaseLost when the task has been taken
    over: the result is then kept with the lost attempt.
    """
    token = lease_token
    for _try in range(_MAX_TRIES):
        # With a token the update alone decides; without one, or when it hits nothing, the row is read to say why.
        lease = read_token(token)
        # A token that was made up may name a type that does not exist.
        task_type = get_type(tx, lease.type_id) if lease is not None else None
        if lease is not None and task_type is not None:
            check_result(task_type.result_schema, result)
            parameters = {
                "task_id": task_id,
                "token": token,
                "worker": worker_id,
                "outcome": result,
                **finish_parameters(task_type, tx.now),
            }
            if tx.changes(COMPLETE, parameters):
                if lease.has_followers:
                    follow_up(tx, [task_id])
                return
        task = read_task(tx, task_id)
        if was_completed_so(tx, task, worker_id, lease_token):
            return
        if not was_not_taken_over(task, worker_id, lease_token):
            refuse_late_report(tx, task, worker_id, lease_token, {"success": True, "result": result})
        token = task["lease_token"]
    raise TryAgain(retry_after_seconds=1)


def was_completed_so(tx: Transaction, task: Row, worker_id: str, token: str | None) -> bool:
    """Tell whether the worker has completed the task already: with the same token, or by the first run of this work."""
    if task["status"] != TaskStatus.COMPLETED or task["claimed_by"] != worker_id:
        return False
    return bool(task["lease_token"] == token or (tx.is_rerun and task["completed_at"] == tx.now))
