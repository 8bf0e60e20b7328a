"""Rows as the API shows them; the schemas document the same, and the tests hold each answer against them."""

from datetime import datetime
from typing import Any

from app.lifecycle import TaskStatus
from app.policies import POLICIES
from app.queue.dead_letters import Cause
from app.queue.duplicates import Created
from app.queue.filters import INSTANTS, TaskFilter
from app.queue.operations import COMPLETED
from app.rest.fields import show_instant
from app.storage.database import Row

# What most tasks do not have.
_NO_EXTRAS: dict[str, Any] = {
    "depends_on": [],
    "tags": [],
    "metadata": {},
    "concurrency_key": None,
    "workflow_id": None,
    "schedule_id": None,
    "scheduled_for": None,
}
_WORDS = {int(status): status.word for status in TaskStatus}
_CLAIMED = int(TaskStatus.CLAIMED)


def _pick(row: Row, *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _pick_instants(row: Row, *names: str) -> dict[str, Any]:
    return {name: show_instant(row[name]) for name in names}


def show_task(row: Row) -> dict[str, Any]:
    """Show a task; `params` and `result` only if they were read."""
    status, has, show = row["status"], row.get, show_instant
    shown: dict[str, Any] = {
        "id": row["id"],
        "type": row["type"],
        "type_id": row["type_id"],
        "status": _WORDS[status],
        "error_message": has("error_message"),
        "failure_reason": has("failure_reason"),
        "priority": row["priority"],
        "progress": row["progress"],
        "progress_message": has("progress_message"),
        "attempts": row["attempts"],
        "max_attempts": row["max_attempts"],
        "claimed_by": has("claimed_by"),
        "claimed_at": show(has("claimed_at")),
        "first_claimed_at": show(has("first_claimed_at")),
        "lease_expires_at": show(row["due_at"]) if status == _CLAIMED else None,
        "available_at": show(row["available_at"]),
        "deadline_at": show(row["deadline_at"]),
        "completed_at": show(has("completed_at")),
        "created_at": show(row["created_at"]),
        "updated_at": show(row["updated_at"]),
        "dedupe_key": row["dedupe_key"],
        "parent_task_id": row["parent_task_id"],
        **_NO_EXTRAS,
        **(row["extras"] or {}),
    }
    if "params" in row:
        shown["params"] = row["params"]
    if "result" in row or "params" in row:
        shown["result"] = has("result")
    return shown


def show_claimed(row: Row) -> dict[str, Any]:
    """Show a task to the worker that has claimed it."""
    handed_on = [
        {"status": _WORDS[each["status"]], **_pick(each, "id", "name", "result", "is_omitted")}
        for each in row["dependencies"]
    ]
    return {**show_task(row), "lease_token": row["lease_token"], "dependencies": handed_on}


def show_workflow(row: Row) -> dict[str, Any]:
    """Show a workflow without its tasks."""
    return {**_pick(row, "id", "name"), **_pick_instants(row, "created_at")}


def show_member(row: Row) -> dict[str, Any]:
    """Show a task within its workflow."""
    return {
        "status": _WORDS[row["status"]],
        **_pick(row, "name", "id", "type", "depends_on", "progress", "attempts"),
        **_pick(row, "claimed_by", "error_message", "failure_reason"),
        **_pick_instants(row, "available_at", "completed_at"),
    }


def show_created(created: Created) -> dict[str, Any]:
    """Show what came of a request to create a task."""
    return {
        **show_task(created.task),
        "deduplicated": created.is_duplicate,
        "replaced": created.is_replaced,
    }


def show_task_type(row: Row, usage: Row | None) -> dict[str, Any]:
    """Show a task type with its policies and its usage."""
    return {
        **_pick(row, "id", "name", "version", "param_schema", "result_schema", "is_active", "is_paused", *POLICIES),
        **_pick_instants(row, "created_at", "updated_at"),
        "usage_count": usage["usage_count"] if usage else 0,
        "last_used_at": show_instant(usage["last_used_at"]) if usage else None,
    }


def show_attempt(row: Row) -> dict[str, Any]:
    """Show an unsuccessful attempt."""
    return {
        **_pick(row, "number", "worker_id", "outcome", "error_message", "error_details", "late_report"),
        **_pick_instants(row, "claimed_at", "ended_at", "late_report_at"),
    }


def show_audit_entry(row: Row) -> dict[str, Any]:
    """Show what somebody changed."""
    return {
        **_pick(row, "id", "api_key_id", "actor", "action", "subject", "details"),
        **_pick_instants(row, "created_at"),
    }


def show_duty(row: Row, now: datetime) -> dict[str, Any]:
    """Show how a duty is done."""
    return {
        "is_running": row["held_until"] is not None and row["held_until"] > now,
        **_pick(row, "last_seconds", "last_changed", "last_error"),
        **_pick_instants(row, "held_until", "last_began_at", "last_ended_at", "last_error_at"),
    }


def show_schedule(row: Row) -> dict[str, Any]:
    """Show a schedule."""
    extras = row["extras"]
    return {
        **_pick(row, "id", "name", "type", "type_id", "params", "priority", "cron", "interval_seconds", "timezone"),
        **_pick(row, "jitter_seconds", "overlap", "catch_up", "catch_up_limit", "is_paused"),
        **_pick(row, "last_task_id", "created_count", "skipped_count", "error_message"),
        **_pick_instants(row, "starts_at", "ends_at", "next_at", "due_at", "last_at", "created_at", "updated_at"),
        "tags": extras.get("tags", []),
        "metadata": extras.get("metadata", {}),
        "concurrency_key": extras.get("concurrency_key"),
    }


def show_operation(row: Row) -> dict[str, Any]:
    """Show an operation, with about how much of it is done."""
    total = row["position"]["total"]
    percent = None if total is None else min(99, 100 * row["examined"] // max(total, 1))
    which = TaskFilter.from_json(row["filter"])
    return {
        **_pick(row, "id", "kind", "options", "status", "examined", "changed", "error_message", "created_by"),
        "filter": {
            name: show_instant(getattr(which, name)) if name in INSTANTS else value
            for name, value in row["filter"].items()
        },
        "percent": 100 if row["status"] == COMPLETED else percent,
        **_pick_instants(row, "created_at", "updated_at", "ended_at"),
    }


def show_cause(cause: Cause) -> dict[str, Any]:
    """Show what some dead letters died of."""
    return {
        "type": cause.type,
        "failure_reason": cause.failure_reason,
        "error": cause.error,
        "count": cause.count,
        "example_task_id": cause.example_id,
        "latest_at": show_instant(cause.latest_at),
    }


def show_log_line(row: Row) -> dict[str, Any]:
    """Show a line of a task's log."""
    return {**_pick(row, "id", "attempt", "level", "message"), **_pick_instants(row, "logged_at")}


def show_key(row: Row) -> dict[str, Any]:
    """Show a key without its hash."""
    return {
        **_pick(row, "id", "name", "prefix"),
        "scopes": row["scopes"].split(","),
        **_pick_instants(row, "expires_at", "revoked_at", "created_at"),
    }


def show_worker(row: Row) -> dict[str, Any]:
    """Show a worker with what it does."""
    return {
        **_pick(row, "worker_id", "version", "is_alive", "types", "running_tasks", "running_task_ids", "command"),
        **_pick_instants(row, "first_seen_at", "last_seen_at", "commanded_at"),
    }
