"""Tasks as producers look at them: list, read, change, cancel."""

from typing import Any

from app.errors import (
    Invalid,
    InvalidCursor,
    TaskFinished,
    TaskNotFound,
    TaskNotRequeuable,
    TaskNotWaiting,
    TryAgain,
)
from app.lifecycle import TaskStatus
from app.queue.attempts import list_attempts
from app.queue.cancel import cancel_task
from app.queue.change import change_task
from app.queue.keys import Scope
from app.queue.labels import member_label, tag_label
from app.queue.operations import CANCEL
from app.queue.requeue import requeue_task
from app.queue.tasks import read_page, read_task
from app.rest.contract import Answer, contract
from app.rest.operations import BEGUN, begin
from app.rest.paging import make_cursor, read_cursor
from app.rest.representations import show_attempt, show_task
from app.rest.schemas import tasks as schemas
from app.rest.schemas.dead_letters import Requeue
from app.rest.schemas.operations import CancelledTasks, Operation
from app.rest.schemas.task_queries import ReadQuery, TaskQuery
from app.rest.waiting import wait_for_end
from app.web.auth import actor
from app.web.current import database, settings

TAG = "Tasks"
# For those who wanted to wait and could not, in seconds.
RETRY_AFTER = "1"


@contract(
    "list_tasks",
    tag=TAG,
    scope=Scope.READ,
    query=TaskQuery,
    answer=schemas.TaskList,
    messages={200: "Tasks retrieved successfully"},
    errors=(InvalidCursor,),
)
def list_all(query: dict[str, Any]) -> Answer:
    """List tasks, newest first.

    `next_cursor` leads through long lists at a constant price.
    """
    limit, offset = query["limit"], query["offset"]
    statuses = _statuses(query["status"]) if "status" in query else None
    page, next_below_id = database().read(
        lambda tx: read_page(
            tx,
            limit=limit,
            offset=offset,
            below_id=read_cursor(query.get("cursor")),
            statuses=statuses,
            type_name=query.get("type"),
            worker_id=query.get("worker_id"),
            created_from=query.get("created_from"),
            created_before=query.get("created_before"),
            labels=_labels(query),
            workflow_id=query.get("workflow_id"),
            include=_included(query.get("include", "")),
        )
    )
    data = {
        "tasks": [show_task(row) for row in page],
        "count": len(page),
        "limit": limit,
        "offset": offset,
        "next_cursor": make_cursor(next_below_id),
    }
    return Answer(data, "Tasks retrieved successfully")


def _statuses(words: str) -> list[TaskStatus]:
    """Return the statuses that exist; an unknown one matches nothing, as older clients expect."""
    found = [TaskStatus.from_word(word.strip()) for word in words.split(",")]
    return [status for status in found if status is not None]


def _labels(query: dict[str, Any]) -> list[str]:
    tags = query["tag"].split(",") if "tag" in query else []
    labels = [tag_label(tag) for tag in tags]
    if "metadata" in query:
        name, _, value = query["metadata"].partition("=")
        labels.append(member_label(name, value))
    return labels


def _included(words: str) -> list[str]:
    names = [name.strip() for name in words.split(",") if name.strip()]
    unknown = [name for name in names if name not in ("params", "result")]
    if unknown:
        problem = "Must be `params`, `result` or both, separated by a comma."
        raise Invalid(sentence=f"include: {problem}", details=[{"field": "include", "problem": problem}])
    return names


@contract(
    "get_task",
    tag=TAG,
    scope=Scope.READ,
    query=ReadQuery,
    answer=schemas.Task,
    messages={200: "Task retrieved successfully"},
    errors=(TaskNotFound,),
)
def get_task(task_id: int, query: dict[str, Any]) -> Answer:
    """Read a task.

    With `wait` the answer comes as soon as the task is finished, or after so many seconds with the task as it is. Where
    waiting is off, or too many requests wait already, it comes at once, with `Retry-After` if the task is not finished.
    """
    has_waited = True
    if query["wait"]:
        seconds = min(query["wait"], settings().wait_max_seconds)
        has_waited = wait_for_end(database(), task_id, seconds=seconds, slots=settings().wait_max_requests)
    task = database().read(lambda tx: read_task(tx, task_id))
    return Answer(
        show_task(task), "Task retrieved successfully", headers={} if has_waited else {"Retry-After": RETRY_AFTER}
    )


@contract(
    "change_task",
    tag=TAG,
    scope=Scope.PRODUCER,
    body=schemas.ChangedTask,
    answer=schemas.Task,
    messages={200: "Task updated successfully"},
    errors=(TaskNotFound, TaskNotWaiting, TryAgain),
)
def change(task_id: int, body: dict[str, Any]) -> Answer:
    """Change the priority of a task that still waits."""
    task = database().write(lambda tx: change_task(tx, task_id, **body), atomic=False)
    return Answer(show_task(task), "Task updated successfully")


@contract(
    "cancel_task",
    tag=TAG,
    scope=Scope.PRODUCER,
    answer=schemas.Task,
    messages={200: "Task cancelled successfully"},
    errors=(TaskNotFound, TaskFinished, TryAgain),
)
def cancel(task_id: int) -> Answer:
    """Cancel a task.

    A worker that has claimed it is told at its next heartbeat, and its result is refused. Cancelling a cancelled task
    changes nothing.
    """
    task = database().write(lambda tx: cancel_task(tx, task_id), atomic=False)
    return Answer(show_task(task), "Task cancelled successfully")


@contract(
    "cancel_tasks",
    tag=TAG,
    scope=Scope.ADMIN,
    body=CancelledTasks,
    answer=Operation,
    messages=BEGUN,
)
def cancel_many(body: dict[str, Any]) -> Answer:
    """Cancel all tasks that fit a filter.

    Those that were there before the request, in slices: what can be done within half a second is done at once (200),
    the rest goes on beside other requests (202).
    """
    return begin(CANCEL, CancelledTasks.which(body))


@contract(
    "requeue_task",
    tag=TAG,
    scope=Scope.PRODUCER,
    body=Requeue,
    is_body_optional=True,
    answer=schemas.Task,
    messages={200: "Task requeued successfully"},
    errors=(TaskNotFound, TaskNotRequeuable, TryAgain),
)
def requeue(task_id: int, body: dict[str, Any]) -> Answer:
    """Requeue a task that has failed or was cancelled.

    It waits again, with all its attempts or with `extra_attempts` more; a deadline that has passed is dropped.
    """
    task = database().write(lambda tx: requeue_task(tx, task_id, actor(), **body))
    return Answer(show_task(task), "Task requeued successfully")


@contract(
    "list_task_attempts",
    tag=TAG,
    scope=Scope.READ,
    answer=schemas.AttemptList,
    messages={200: "Attempts retrieved successfully"},
    errors=(TaskNotFound,),
)
def list_of_task(task_id: int) -> Answer:
    """List the attempts that did not complete the task, oldest first."""
    rows = database().read(lambda tx: list_attempts(tx, task_id))
    return Answer(
        {"attempts": [show_attempt(row) for row in rows], "count": len(rows)}, "Attempts retrieved successfully"
    )
