"""What workers call: claim, heartbeat, progress, complete, release."""

from typing import Any

from flask import request

from app.errors import (
    ClaimedByAnother,
    CommandedQuiet,
    CommandedTerminate,
    InvalidResult,
    LeaseLost,
    NoAvailableTasks,
    TaskCancelled,
    TaskNotClaimed,
    TaskNotFound,
    TaskTypeNotFound,
    TryAgain,
)
from app.lifecycle import WAITING, TaskStatus
from app.queue.complete import complete_task
from app.queue.fail import fail_task
from app.queue.heartbeat import Told, beat, report_progress
from app.queue.keys import Scope
from app.queue.release import release_task
from app.queue.tasks import read_task
from app.rest.claiming import claim_now, note_claim, read_order
from app.rest.contract import Answer, contract
from app.rest.fields import show_instant
from app.rest.representations import show_claimed, show_task
from app.rest.schemas import claims as schemas
from app.rest.schemas.tasks import Task
from app.storage.database import Transaction
from app.web.current import database, parts

TAG = "Workers"
HOLDER_ERRORS = (TaskNotFound, TaskNotClaimed, TaskCancelled, ClaimedByAnother, LeaseLost, TryAgain)
PREFER = {
    "Prefer": "`return=minimal` leaves out of the answer what the worker knows already, which saves the server a look "
    "at the task and both sides the transfer of its parameters."
}


@contract(
    "claim_task",
    tag=TAG,
    scope=Scope.WORKER,
    body=schemas.ClaimRequest,
    answer=schemas.ClaimedTask,
    messages={200: "Task claimed successfully"},
    errors=(NoAvailableTasks, CommandedQuiet, CommandedTerminate, TaskTypeNotFound),
)
def claim(body: dict[str, Any]) -> Answer:
    """Claim a task.

    The task is yours until `lease_expires_at`; heartbeats and progress extend that. When there is none, ask again
    after `Retry-After` seconds. A worker that has a command gets none; the error's code says which.
    """
    order = read_order(body["worker_id"], body)
    claimed = claim_now(body, order, max_tasks=1)
    wait = note_claim(body, order, claimed)
    if not claimed.tasks:
        raise claimed.signals.empty_claim(order.worker_id, wait)
    return Answer(show_claimed(claimed.tasks[0]), "Task claimed successfully")


@contract(
    "send_heartbeat",
    tag=TAG,
    scope=Scope.WORKER,
    body=schemas.HeartbeatRequest,
    answer=schemas.Heartbeat,
    messages={200: "Lease extended successfully"},
    errors=HOLDER_ERRORS,
)
def heartbeat(task_id: int, body: dict[str, Any]) -> Answer:
    """Extend the lease, and hear what has changed.

    The answer says whether the task was cancelled, its type or the whole queue paused, and what the worker is told.
    """
    told = database().write(lambda tx: beat(tx, task_id, **body), atomic=False)
    parts().sightings.note_report(body["worker_id"])
    data = {
        "id": task_id,
        "lease_expires_at": show_instant(told.lease_expires_at),
        "cancelled": told.is_cancelled,
        **_signals(told),
    }
    return Answer(data, "Task was cancelled" if told.is_cancelled else "Lease extended successfully")


@contract(
    "report_progress",
    tag=TAG,
    scope=Scope.WORKER,
    body=schemas.ProgressRequest,
    answer=schemas.ReportedTask,
    messages={200: "Task progress updated successfully"},
    errors=HOLDER_ERRORS,
    headers=PREFER,
    minimal=schemas.MinimalProgress,
)
def progress(task_id: int, body: dict[str, Any]) -> Answer:
    """Report progress; extends the lease, and tells what a heartbeat tells."""
    minimal = _wants_minimal()

    def work(tx: Transaction) -> dict[str, Any]:
        told = report_progress(tx, task_id, **body)
        if not minimal:
            return {**show_task(read_task(tx, task_id)), **_signals(told)}
        return {
            "id": task_id,
            "status": TaskStatus.CLAIMED.word,
            "progress": body["progress"],
            "lease_expires_at": show_instant(told.lease_expires_at),
            **_signals(told),
        }

    data = database().write(work, atomic=False)
    parts().sightings.note_report(body["worker_id"])
    return Answer(data, "Task progress updated successfully", headers=_applied(minimal))


@contract(
    "complete_task",
    tag=TAG,
    scope=Scope.WORKER,
    body=schemas.CompletionRequest,
    answer=schemas.CompletedTask,
    messages={200: "Task completed successfully"},
    errors=(*HOLDER_ERRORS, InvalidResult),
    headers=PREFER,
    minimal=schemas.MinimalCompletion,
)
def complete(task_id: int, body: dict[str, Any]) -> Answer:
    """Report how the attempt ended.

    With `success: false` the task is tried again, as its type's retry policy says, or becomes a dead letter. Sending
    the same report again with the same `lease_token` changes nothing and gets the same answer.
    """
    minimal = _wants_minimal()
    holder = {"worker_id": body["worker_id"], "lease_token": body["lease_token"]}

    def succeed(tx: Transaction) -> dict[str, Any]:
        complete_task(tx, task_id, **holder, result=body["result"])
        if minimal:
            return {"id": task_id, "status": TaskStatus.COMPLETED.word, "will_retry": False}
        return {**show_task(read_task(tx, task_id)), "will_retry": False}

    def fail(tx: Transaction) -> dict[str, Any]:
        terms = {name: body[name] for name in ("error", "error_details", "retryable", "retry_after_seconds")}
        task = fail_task(tx, task_id, **holder, **terms)
        return {**show_task(task), "will_retry": task["status"] in WAITING}

    data = database().write(succeed if body["success"] else fail, atomic=False)
    return Answer(data, "Task completed successfully", headers=_applied(minimal and body["success"]))


@contract(
    "release_task",
    tag=TAG,
    scope=Scope.WORKER,
    body=schemas.ReleaseRequest,
    answer=Task,
    messages={200: "Task released successfully"},
    errors=HOLDER_ERRORS,
)
def release(task_id: int, body: dict[str, Any]) -> Answer:
    """Give a task back without spending the attempt: another worker may claim it."""
    task = database().write(lambda tx: release_task(tx, task_id, **body), atomic=False)
    return Answer(show_task(task), "Task released successfully")


def _signals(told: Told) -> dict[str, Any]:
    return {"type_paused": told.type_paused, "command": told.command}


def _wants_minimal() -> bool:
    """Tell whether the caller prefers a minimal answer (RFC 7240)."""
    return "return=minimal" in request.environ.get("HTTP_PREFER", "").replace(" ", "").lower()


def _applied(minimal: bool) -> dict[str, str]:
    return {"Preference-Applied": "return=minimal"} if minimal else {}
