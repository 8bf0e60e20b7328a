"""What workers call: claim, heartbeat, progress, complete, release."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, request

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
from app.lifecycle import TaskStatus
from app.queue.claim import claim_task
from app.queue.complete import complete_task
from app.queue.dependencies import attach_results
from app.queue.fail import fail_task
from app.queue.heartbeat import Told, beat, report_progress
from app.queue.keys import Scope
from app.queue.release import release_task
from app.queue.signals import Signals, find_signals
from app.queue.take import ClaimOrder
from app.queue.task_types import find_type, find_type_by_id, find_type_ids
from app.queue.tasks import read_task
from app.rest.contract import Answer, contract
from app.rest.fields import show_instant
from app.rest.representations import show_claimed, show_task
from app.rest.schemas import claims as schemas
from app.rest.schemas.tasks import Task
from app.storage.database import Row, Transaction
from app.web.current import database, parts

blueprint = Blueprint("claims", __name__, url_prefix="/tasks")
TAG = "Workers"
HOLDER_ERRORS = (TaskNotFound, TaskNotClaimed, TaskCancelled, ClaimedByAnother, LeaseLost, TryAgain)
PREFER = {
    "Prefer": "`return=minimal` leaves out of the answer what the worker knows already, which saves the server a look "
    "at the task and both sides the transfer of its parameters."
}


@blueprint.post("/claim")
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
    sort_by = body.get("sort_by")
    sort_order = (body.get("sort_order") or ("desc" if sort_by == "priority" else "asc")).lower()
    order = ClaimOrder(
        worker_id=body["worker_id"],
        lease_seconds=body["lease_seconds"],
        sort_by=sort_by,
        descending=sort_order == "desc",
    )
    kind = (body.get("task_type_id"), body.get("type_pattern"), tuple(body.get("types") or ()))

    def work(tx: Transaction) -> tuple[Row | None, Sequence[int], Signals]:
        type_ids = _wanted_types(tx, body)
        task = claim_task(tx, type_ids, order)
        return attach_results(tx, [task])[0] if task is not None else None, type_ids, find_signals(tx)

    task, type_ids, signals = database().write(work, atomic=False)
    if task is None and parts().housekeeping.run_if_time():
        # What has become due a moment ago may be just what this worker asks for.
        task, type_ids, signals = database().write(work, atomic=False)
    parts().sightings.note_claim(order.worker_id, body.get("worker_version"), type_ids)
    polling = parts().polling
    if task is None:
        settings = parts().settings
        wait = polling.retry_after_seconds(kind, shortest=settings.poll_min_seconds, longest=settings.poll_max_seconds)
        raise signals.empty_claim(order.worker_id, wait)
    polling.found_something(kind)
    return Answer(show_claimed(task), "Task claimed successfully")


def _wanted_types(tx: Transaction, body: dict[str, Any]) -> Sequence[int]:
    """Return the ids of the types that fit every selector given."""
    wanted: list[set[int]] = []
    if body.get("task_type_id") is not None:
        try:
            wanted.append({find_type_by_id(tx, body["task_type_id"]).id})
        except TaskTypeNotFound:
            return []
    if body.get("types") is not None:
        wanted.append({find_type(tx, name).id for name in body["types"]})
    if body.get("type_pattern") is not None:
        wanted.append(set(find_type_ids(tx, body["type_pattern"])))
    return sorted(set.intersection(*wanted))


@blueprint.post("/<id:task_id>/heartbeat")
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


@blueprint.post("/<id:task_id>/progress")
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


@blueprint.post("/<id:task_id>/complete")
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
        will_retry = task["status"] in (TaskStatus.SCHEDULED, TaskStatus.PENDING)
        return {**show_task(task), "will_retry": will_retry}

    data = database().write(succeed if body["success"] else fail, atomic=False)
    return Answer(data, "Task completed successfully", headers=_applied(minimal and body["success"]))


@blueprint.post("/<id:task_id>/release")
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
    return "return=minimal" in request.headers.get("Prefer", "").replace(" ", "").lower()


def _applied(minimal: bool) -> dict[str, str]:
    return {"Preference-Applied": "return=minimal"} if minimal else {}
