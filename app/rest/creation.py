"""What producers send: one task, or many at once."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from flask import request

from app.errors import (
    BatchRefused,
    DependencyNotFound,
    DuplicateTask,
    IdempotencyKeyReused,
    InstantPassed,
    InvalidParameters,
    QueueDraining,
    QueueError,
    TaskTypeInactive,
    TaskTypeNotFound,
    TryAgain,
)
from app.queue.create import create_task
from app.queue.create_many import Outcome, create_tasks
from app.queue.idempotency import RepeatableRequest, answer_once
from app.queue.keys import Scope
from app.queue.new_task import NewTask
from app.rest.contract import Answer, contract
from app.rest.problems import show_refusal
from app.rest.representations import show_created
from app.rest.schemas import creation as schemas
from app.storage.database import Transaction
from app.web.auth import current_key
from app.web.bodies import read_body
from app.web.current import database
from app.web.errors import InvalidHeader

TAG = "Tasks"
CREATE_ERRORS = (
    QueueDraining,
    TaskTypeNotFound,
    TaskTypeInactive,
    InvalidParameters,
    InstantPassed,
    DependencyNotFound,
    DuplicateTask,
)
CREATED = {201: "Task created successfully", 200: "Task already exists (deduplicated)"}
BATCH_DONE = {200: "Batch processed"}
IDEMPOTENCY = {
    "Idempotency-Key": "1 to 255 printable ASCII characters of your own, without spaces: a repeated request "
    "with them gets the first answer again."
}
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@contract(
    "create_task",
    tag=TAG,
    scope=Scope.PRODUCER,
    body=schemas.NewTask,
    answer=schemas.CreatedTask,
    messages=CREATED,
    errors=(*CREATE_ERRORS, IdempotencyKeyReused, TryAgain),
    headers=IDEMPOTENCY,
)
def create(body: dict[str, Any]) -> Answer:
    """Create a task.

    An equal task that is not finished is returned instead of a new one (see the type's `dedupe` policies). To repeat
    a request safely after a lost connection, send the same `Idempotency-Key` again.
    """
    new = new_task(body)

    def work(tx: Transaction) -> tuple[int, Any]:
        created = create_task(tx, new)
        return 200 if created.is_duplicate else 201, show_created(created)

    status, data = once(work)
    return Answer(data, CREATED[status], status)


@contract(
    "create_tasks",
    tag=TAG,
    scope=Scope.PRODUCER,
    body=schemas.NewBatch,
    answer=schemas.CreatedBatch,
    messages=BATCH_DONE,
    errors=(QueueDraining, BatchRefused, IdempotencyKeyReused, TryAgain),
    headers=IDEMPOTENCY,
)
def create_batch(body: dict[str, Any]) -> Answer:
    """Create up to 1,000 tasks.

    The answer has a result for each, in the same order; one that is refused does not hurt the others. With
    `atomic: true` all of them are created or none.
    """
    items = [item if isinstance(item, QueueError) else new_task(item) for item in body["tasks"]]

    def work(tx: Transaction) -> tuple[int, Any]:
        outcomes = create_tasks(tx, items, atomic=body["atomic"])
        results = [{"index": index, **_show_outcome(outcome)} for index, outcome in enumerate(outcomes)]
        statuses = Counter(result["status"] for result in results)
        created, known = statuses[201], statuses[200]
        return 200, {
            "results": results,
            "created": created,
            "deduplicated": known,
            "refused": len(results) - created - known,
        }

    status, data = once(work)
    return Answer(data, BATCH_DONE[status], status)


def new_task(body: dict[str, Any]) -> NewTask:
    """Return what the checked fields of a request ask for."""
    given = {name: value for name, value in body.items() if name != "type" and value is not None}
    return NewTask(type_name=body["type"], **given)


def once(work: Callable[[Transaction], tuple[int, Any]]) -> tuple[int, Any]:
    """Return status and answer of `work`, done at most once for the Idempotency-Key of this request if it has one."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return database().write(work, atomic=False)
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidHeader("`Idempotency-Key` must be 1 to 255 printable ASCII characters without spaces.")
    # Without the key's own name, so that the same key with another body is noticed.
    content = hashlib.sha256(request.path.encode() + b"\n" + read_body()).hexdigest()
    return answer_once(database(), RepeatableRequest(current_key().id, key, content), work)


def _show_outcome(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, QueueError):
        return {"success": False, **show_refusal(outcome)}
    return {"success": True, "status": 200 if outcome.is_duplicate else 201, "task": show_created(outcome)}
