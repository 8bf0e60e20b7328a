"""Obstacles: what keeps the pending tasks of a type from being claimed, whatever worker asks, if any does."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select

from app.lifecycle import TaskStatus
from app.policies import parse_rate
from app.queue.activity import Activity, count_up_to, of_status
from app.queue.signals import read_signals
from app.queue.task_types import TaskType
from app.queue.wording import at, count_of, in_a_row, in_words, rate_of, verb, when
from app.storage.columns import EPOCH
from app.storage.database import Row, Transaction
from app.storage.models import task_type_limits, tasks

QUEUE_PAUSED, TYPE_PAUSED, LIMIT_REACHED = "queue_paused", "type_paused", "limit_reached"
#: A type for which nobody asked so long is taken to have no worker.
QUIET = timedelta(minutes=5)
#: So many tasks are told one by one.
SHOWN = 20
#: So many of them are named in a sentence.
NAMED = 3

_MICROSECOND = timedelta(microseconds=1)
_RECENT = select(task_type_limits.c.recent_claims).where(task_type_limits.c.type_id == bindparam("type_id"))
_CLAIMED = count_up_to(bindparam("limit"), of_status(TaskStatus.CLAIMED, tasks.c.id))
_HOLDERS = (
    of_status(TaskStatus.CLAIMED, tasks.c.id, tasks.c.status, tasks.c.claimed_by, tasks.c.claimed_at, tasks.c.due_at)
    .order_by(tasks.c.claim_rank, tasks.c.id)
    .limit(SHOWN)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why no task of a type is given out, and what would change that."""

    reason: str
    sentence: str
    what_would_change_it: str
    until: datetime | None = None
    held_by: tuple[Row, ...] = ()


def find_obstacle(tx: Transaction, task_type: TaskType) -> Obstacle | None:
    """Return what keeps every pending task of the type from being claimed now, or None."""
    if read_signals(tx).is_paused:
        return Obstacle(
            reason=QUEUE_PAUSED,
            sentence="The whole queue is paused: no worker is given a task.",
            what_would_change_it="An admin resumes the queue.",
        )
    if task_type.is_paused:
        return Obstacle(
            reason=TYPE_PAUSED,
            sentence=f"The task type `{task_type.name}` is paused: no worker is given a task of it.",
            what_would_change_it="An admin resumes the task type.",
        )
    return _concurrency_reached(tx, task_type) or _rate_reached(tx, task_type)


def has_no_worker(activity: Activity, now: datetime) -> bool:
    """Tell whether nobody works on a task of the type, and nobody asked for one lately."""
    asked_at = activity.last_asked_at
    return activity.claimed == 0 and (asked_at is None or asked_at <= now - QUIET)


def nobody_asked(activity: Activity, task_type: TaskType, now: datetime) -> str:
    """Say since when nobody has asked for tasks of the type."""
    asked_at = activity.last_asked_at
    if asked_at is None:
        return f"No worker has asked for tasks of type `{task_type.name}` yet"
    ago = in_words((now - asked_at).total_seconds())
    return f"No worker has asked for tasks of type `{task_type.name}` since {at(asked_at, now)}, {ago} ago"


def _concurrency_reached(tx: Transaction, task_type: TaskType) -> Obstacle | None:
    most = task_type.policies.max_concurrency
    if most is None:
        return None
    claimed = tx.execute(_CLAIMED, {"type_id": task_type.id, "limit": most}).scalar_one()
    if claimed < most:
        return None
    holders = tx.all(_HOLDERS, {"type_id": task_type.id})
    return Obstacle(
        reason=LIMIT_REACHED,
        sentence=f"The limit of {count_of(most, 'task')} of type `{task_type.name}` at the same time is reached: "
        f"{name_holders(holders, claimed)}.",
        what_would_change_it="One of these tasks ends, or an admin raises `max_concurrency` of the type.",
        held_by=tuple(holders),
    )


def _rate_reached(tx: Transaction, task_type: TaskType) -> Obstacle | None:
    if task_type.policies.rate_limit is None:
        return None
    claims, seconds = parse_rate(task_type.policies.rate_limit)
    row = tx.one(_RECENT, {"type_id": task_type.id})
    recent: list[int] = row["recent_claims"] if row is not None else []
    if len(recent) < claims:
        return None
    # Claims are possible again when the last but so many has left the time that is counted.
    until = EPOCH + recent[-claims] * _MICROSECOND + timedelta(seconds=seconds)
    if until <= tx.now:
        return None
    return Obstacle(
        reason=LIMIT_REACHED,
        sentence=f"The limit of {rate_of(task_type.policies.rate_limit)} of type `{task_type.name}` is reached; the "
        f"next is possible at {when(until, tx.now)}.",
        what_would_change_it="Time alone, or an admin raises `rate_limit` of the type.",
        until=until,
    )


def name_holders(holders: list[Row], count: int) -> str:
    """Say who works on what: `` `w1` works on task 12 and 3 more tasks are taken ``."""
    named = [_name_holder(holder) for holder in holders[:NAMED]]
    more = count - len(named)
    return in_a_row([*named, *([f"{count_of(more, 'more task')} {verb(more, 'is', 'are')} taken"] if more > 0 else [])])


def _name_holder(holder: Row) -> str:
    if holder["status"] == TaskStatus.CLAIMED:
        return f"`{holder['claimed_by']}` works on task {holder['id']}"
    return f"task {holder['id']} waits for a worker"
