"""What producers call: create, list, read, cancel."""

import hashlib
import re
from typing import Any

from flask import Blueprint, request

from app.errors import (
    DependencyNotFound,
    DuplicateTask,
    IdempotencyKeyReused,
    InstantPassed,
    Invalid,
    InvalidCursor,
    InvalidParameters,
    TaskFinished,
    TaskNotFound,
    TaskTypeInactive,
    TaskTypeNotFound,
    TryAgain,
)
from app.lifecycle import TaskStatus
from app.queue.attempts import list_attempts
from app.queue.cancel import cancel_task
from app.queue.create import create_task
from app.queue.idempotency import RepeatableRequest, answer_once
from app.queue.keys import Scope
from app.queue.new_task import NewTask
from app.queue.tasks import read_page, read_task
from app.rest.contract import Answer, contract
from app.rest.paging import make_cursor, read_cursor
from app.rest.representations import show_attempt, show_created, show_task
from app.rest.schemas import tasks as schemas
from app.storage.database import Transaction
from app.web.auth import current_key
from app.web.current import database
from app.web.errors import InvalidHeader

blueprint = Blueprint("tasks", __name__, url_prefix="/tasks")
TAG = "Tasks"
CREATE_ERRORS = (
    TaskTypeNotFound,
    TaskTypeInactive,
    InvalidParameters,
    InstantPassed,
    DependencyNotFound,
    DuplicateTask,
)
CREATED = {201: "Task created successfully", 200: "Task already exists (deduplicated)"}
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@blueprint.post("")
@contract(
    "create_task",
    tag=TAG,
    scope=Scope.PRODUCER,
    body=schemas.NewTask,
    answer=schemas.CreatedTask,
    messages=CREATED,
    errors=(*CREATE_ERRORS, IdempotencyKeyReused, TryAgain),
    headers={
        "Idempotency-Key": "1 to 255 printable ASCII characters of your own, without spaces: a repeated request "
        "with them gets the first answer again."
    },
)
def create(body: dict[str, Any]) -> Answer:
    """Create a task.

    An equal task that is not finished is returned instead of a new one (see the type's `dedupe` policy). To repeat a
    request safely after a lost connection, send the same `Idempotency-Key` again.
    """
    new = NewTask(type_name=body.pop("type"), **body)

    def work(tx: Transaction) -> tuple[int, Any]:
        created = create_task(tx, new)
        return 200 if created.is_duplicate else 201, show_created(created)

    key = _idempotency_key()
    if key is None:
        status, data = database().write(work, atomic=False)
    else:
        # Without the key's own name, so that the same key with another body is noticed.
        content = hashlib.sha256(request.path.encode() + b"\n" + request.get_data(cache=True)).hexdigest()
        status, data = answer_once(database(), RepeatableRequest(current_key().id, key, content), work)
    return Answer(data, CREATED[status], status)


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidHeader("`Idempotency-Key` must be 1 to 255 printable ASCII characters without spaces.")
    return key


@blueprint.get("")
@contract(
    "list_tasks",
    tag=TAG,
    scope=Scope.READ,
    query=schemas.TaskQuery,
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
            below_id=read_cursor(query["cursor"]) if query.get("cursor") else None,
            statuses=statuses,
            type_name=query.get("type"),
            worker_id=query.get("worker_id"),
            created_from=query.get("created_from"),
            created_before=query.get("created_before"),
            include=_included(query.get("include", "")),
        )
    )
    data = {
        "tasks": [show_task(row) for row in page],
        "count": len(page),
        "limit": limit,
        "offset": offset,
        "next_cursor": make_cursor(next_below_id) if next_below_id is not None else None,
    }
    return Answer(data, "Tasks retrieved successfully")


def _statuses(words: str) -> list[TaskStatus]:
    """Return the statuses that exist; an unknown one matches nothing, as older clients expect."""
    found = [TaskStatus.from_word(word.strip()) for word in words.split(",")]
    return [status for status in found if status is not None]


def _included(words: str) -> list[str]:
    names = [name.strip() for name in words.split(",") if name.strip()]
    unknown = [name for name in names if name not in ("params", "result")]
    if unknown:
        problem = "Must be `params`, `result` or both, separated by a comma."
        raise Invalid(sentence=f"include: {problem}", details=[{"field": "include", "problem": problem}])
    return names


@blueprint.get("/<id:task_id>")
@contract(
    "get_task",
    tag=TAG,
    scope=Scope.READ,
    answer=schemas.Task,
    messages={200: "Task retrieved successfully"},
    errors=(TaskNotFound,),
)
def get_task(task_id: int) -> Answer:
    """Read a task."""
    return Answer(show_task(database().read(lambda tx: read_task(tx, task_id))), "Task retrieved successfully")


@blueprint.post("/<id:task_id>/cancel")
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


@blueprint.get("/<id:task_id>/attempts")
@contract(
    "list_task_attempts",
    tag=TAG,
    scope=Scope.READ,
    answer=schemas.AttemptList,
    messages={200: "Attempts retrieved successfully"},
    errors=(TaskNotFound,),
)
def get_task_attempts(task_id: int) -> Answer:
    """List the attempts that did not complete the task, oldest first."""
    rows = database().read(lambda tx: list_attempts(tx, task_id))
    return Answer(
        {"attempts": [show_attempt(row) for row in rows], "count": len(rows)}, "Attempts retrieved successfully"
    )
