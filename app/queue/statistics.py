"""Statistics of a task type: how much waits, how fast it goes, how often it fails, who is there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam

from app.lifecycle import TaskStatus
from app.queue.activity import SAMPLE, Activity, Count, Ends, of_status, read_activity, read_depth, read_ends
from app.queue.obstacles import QUIET, find_obstacle, has_no_worker, nobody_asked
from app.queue.ranks import end_rank
from app.queue.task_types import TaskType, find_type
from app.queue.wording import at, count_of, in_words, verb
from app.storage.database import Transaction
from app.storage.models import tasks

WINDOW_SECONDS = 3600

_LATEST = (
    of_status(TaskStatus.COMPLETED, tasks.c.available_at, tasks.c.claimed_at, tasks.c.completed_at)
    .where(tasks.c.claim_rank >= bindparam("since"))
    .order_by(tasks.c.claim_rank.desc(), tasks.c.id.desc())
    .limit(SAMPLE)
)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """So many percent took so many seconds or less."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """A task type at this moment and in the last `window_seconds`."""

    task_type: TaskType
    window_seconds: int
    depth: dict[TaskStatus, Count]
    ends: dict[TaskStatus, Ends]
    per_minute: dict[TaskStatus, float]
    failure_rate: float | None
    sampled: int
    waiting: Percentiles | None
    running: Percentiles | None
    activity: Activity
    oldest_pending_seconds: float | None
    stalled_reason: str | None


def read_statistics(tx: Transaction, task_type: str, window_seconds: int = WINDOW_SECONDS) -> Statistics:
    """Return the statistics of the type of this name; raises TaskTypeNotFound."""
    found = find_type(tx, task_type)
    since = tx.now - timedelta(seconds=window_seconds)
    ends = read_ends(tx, found.id, since)
    rates = {status: end.per_second(tx.now, window_seconds) for status, end in ends.items()}
    all_ends = sum(rates.values())
    sample = tx.all(_LATEST, {"type_id": found.id, "since": end_rank(since)})
    depth = read_depth(tx, found.id)
    activity = read_activity(tx, found.id)
    oldest_at = activity.oldest_pending_at
    return Statistics(
        task_type=found,
        window_seconds=window_seconds,
        depth=depth,
        ends=ends,
        per_minute={status: round(rate * 60, 3) for status, rate in rates.items()},
        failure_rate=round(rates[TaskStatus.FAILED] / all_ends, 4) if all_ends else None,
        sampled=len(sample),
        waiting=percentiles([_seconds(row["available_at"], row["claimed_at"]) for row in sample]),
        running=percentiles([_seconds(row["claimed_at"], row["completed_at"]) for row in sample]),
        activity=activity,
        oldest_pending_seconds=None if oldest_at is None else _seconds(oldest_at, tx.now),
        stalled_reason=_stalled_reason(tx, found, depth[TaskStatus.PENDING], activity),
    )


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """Return the percentiles by the nearest rank, each one of the values; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return Percentiles(*(ordered[math.ceil(share * len(ordered) / 100) - 1] for share in (50, 90, 99)))


def _seconds(start: datetime, end: datetime) -> float:
    # Two processes may differ by a moment in what they take for now.
    return max(0.0, round((end - start).total_seconds(), 3))


def _stalled_reason(tx: Transaction, task_type: TaskType, pending: Count, activity: Activity) -> str | None:
    """Say why the type stands still although it should not, or return None.

    It stands still when a task has been claimable for five minutes in which nobody asked for the type, or none was
    claimed, while none is being worked on and neither a pause nor a limit is the reason.
    """
    oldest_at, last_claimed_at = activity.oldest_pending_at, activity.last_claimed_at
    quiet_since = tx.now - QUIET
    if activity.claimed or oldest_at is None or oldest_at > quiet_since:
        return None
    if last_claimed_at is not None and last_claimed_at > quiet_since:
        return None
    if find_obstacle(tx, task_type) is not None:
        return None
    wait = f"{count_of(pending.count, 'task', is_exact=pending.is_exact)} {verb(pending.count, 'waits', 'wait')}"
    if has_no_worker(activity, tx.now):
        return f"{nobody_asked(activity, task_type, tx.now)}, and {wait}."
    since = f"the last at {at(last_claimed_at, tx.now)}" if last_claimed_at is not None else "none ever was"
    return (
        f"Workers ask for tasks of type `{task_type.name}` and {wait}, but none has been claimed for "
        f"{in_words(QUIET.total_seconds())} ({since})."
    )
