"""Insight: why does this task wait, and how does this task type do?"""

from typing import Any

from app.errors import TaskNotFound, TaskTypeNotFound
from app.lifecycle import UNFINISHED, TaskStatus
from app.queue.activity import Count
from app.queue.explain import explain_task
from app.queue.explanation import Explanation
from app.queue.keys import Scope
from app.queue.statistics import Percentiles, Statistics, read_statistics
from app.rest import task_types, tasks
from app.rest.contract import Answer, contract
from app.rest.fields import show_instant
from app.rest.schemas import explain as explain_schemas
from app.rest.schemas import statistics as statistics_schemas
from app.storage.database import Row
from app.web.current import database


@contract(
    "explain_task",
    tag=tasks.TAG,
    scope=Scope.READ,
    answer=explain_schemas.Explanation,
    messages={200: "Task explained successfully"},
    errors=(TaskNotFound,),
)
def explain(task_id: int) -> Answer:
    """Say why a task is not being worked on, and what would change that.

    `sentence` is for people, `reason` for programs. What is told is what holds at this moment.
    """
    task, explanation = database().read(lambda tx: explain_task(tx, task_id))
    return Answer(_show_explanation(task, explanation), "Task explained successfully")


# With the slash, so that the path with one is not taken for that of a type whose name ends so.
@contract(
    "get_task_type_statistics",
    tag=task_types.TAG,
    scope=Scope.READ,
    query=statistics_schemas.StatisticsQuery,
    answer=statistics_schemas.TaskTypeStatistics,
    messages={200: "Statistics retrieved successfully"},
    errors=(TaskTypeNotFound,),
)
def get_statistics(name: str, query: dict[str, Any]) -> Answer:
    """Read the statistics of a task type.

    They tell how much waits and since when, how fast it goes, how often it fails, who asks for it, and whether it is
    stalled. The cost does not grow with the number of tasks: what would be long is bounded, and `is_exact` says so.
    """
    found = database().read(lambda tx: read_statistics(tx, name, query["window_seconds"]))
    return Answer(_show_statistics(found), "Statistics retrieved successfully")


def _show_explanation(task: Row, explanation: Explanation) -> dict[str, Any]:
    waits_for = explanation.waits_for
    waited_for = [{"id": row["id"], "status": _word(row["status"])} for row in waits_for.tasks]
    return {
        "id": task["id"],
        "type": task["type"],
        "status": _word(task["status"]),
        "reason": explanation.reason,
        "sentence": explanation.sentence,
        "what_would_change_it": explanation.what_would_change_it,
        "until": show_instant(explanation.until),
        "waits_for": {**_show_count(waits_for.number), "tasks": waited_for},
        "ahead": None if explanation.ahead is None else _show_count(explanation.ahead),
        "estimated_seconds": explanation.estimated_seconds,
        "held_by": [_show_holder(row) for row in explanation.held_by],
        "last_asked_at": show_instant(explanation.last_asked_at),
    }


def _show_holder(row: Row) -> dict[str, Any]:
    is_claimed = row["status"] == TaskStatus.CLAIMED
    return {
        "id": row["id"],
        "status": _word(row["status"]),
        "claimed_by": row["claimed_by"],
        "claimed_at": show_instant(row["claimed_at"]),
        "lease_expires_at": show_instant(row["due_at"]) if is_claimed else None,
    }


def _show_statistics(found: Statistics) -> dict[str, Any]:
    activity = found.activity
    oldest = {
        "available_at": show_instant(activity.oldest_pending_at),
        "age_seconds": found.oldest_pending_seconds,
        "is_exact": activity.is_oldest_exact,
    }
    ended = {
        status.word: {**_show_count(found.ends[status].number), "per_minute": found.per_minute[status]}
        for status in (TaskStatus.COMPLETED, TaskStatus.FAILED)
    }
    return {
        "type": found.task_type.name,
        "type_id": found.task_type.id,
        "is_paused": found.task_type.is_paused,
        "window_seconds": found.window_seconds,
        "depth": {status.word: _show_count(found.depth[status]) for status in UNFINISHED},
        "oldest_pending": None if activity.oldest_pending_at is None else oldest,
        **ended,
        "failure_rate": found.failure_rate,
        "sampled": found.sampled,
        "waiting_seconds": _show_percentiles(found.waiting),
        "running_seconds": _show_percentiles(found.running),
        "workers": {**_show_count(activity.workers), "last_asked_at": show_instant(activity.last_asked_at)},
        "last_claimed_at": show_instant(activity.last_claimed_at),
        "is_stalled": found.stalled_reason is not None,
        "stalled_reason": found.stalled_reason,
    }


def _show_count(number: Count) -> dict[str, Any]:
    return {"count": number.count, "is_exact": number.is_exact}


def _show_percentiles(found: Percentiles | None) -> dict[str, float] | None:
    return None if found is None else {"p50": found.p50, "p90": found.p90, "p99": found.p99}


def _word(status: int | None) -> str | None:
    return None if status is None else TaskStatus(status).word
