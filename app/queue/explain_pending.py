"""Explain a pending task: what keeps all of its type waiting, or how many are ahead of it."""

from datetime import timedelta

from sqlalchemy import bindparam, select

from app.lifecycle import TaskStatus
from app.queue.activity import (
    MOST,
    Activity,
    Count,
    bounded,
    count_up_to,
    of_status,
    read_activity,
    read_ends,
)
from app.queue.explanation import DUE, IN_ORDER, NEXT, NO_WORKER, Explanation
from app.queue.obstacles import LIMIT_REACHED, find_obstacle, has_no_worker, nobody_asked
from app.queue.task_types import TaskType
from app.queue.wording import at, count_of, in_words, verb
from app.storage.database import Row, Transaction
from app.storage.models import tasks

#: The present rate is that of so long.
RATE_SECONDS = 900
# What ended in a shorter time says nothing about a rate.
_SHORTEST_SECONDS = 60
# In an hour the slowest rate that is known comes to four.
_UNITS = ((1, "a second"), (60, "a minute"), (3600, "an hour"))

_pending = of_status(TaskStatus.PENDING, tasks.c.id)
# Two ranges of the index: not every database reads `rank < r OR (rank = r AND id < i)` as these.
_AHEAD = select(
    (
        count_up_to(MOST + 1, _pending.where(tasks.c.claim_rank < bindparam("rank"))).scalar_subquery()
        + count_up_to(
            MOST + 1, _pending.where(tasks.c.claim_rank == bindparam("rank"), tasks.c.id < bindparam("task_id"))
        ).scalar_subquery()
    ).label("number")
)


def explain_pending(tx: Transaction, task_type: TaskType, task: Row) -> Explanation:
    """Say why no worker has the task yet."""
    if task["due_at"] is not None and task["due_at"] <= tx.now:
        return explain_overdue(tx, task)
    parameters = {"type_id": task_type.id, "rank": task["claim_rank"], "task_id": task["id"]}
    ahead = bounded(tx.execute(_AHEAD, parameters).scalar_one())
    activity = read_activity(tx, task_type.id)
    obstacle = find_obstacle(tx, task_type)
    if obstacle is not None:
        rate = _rate(tx, task_type) if obstacle.reason == LIMIT_REACHED else 0.0
        return Explanation(
            reason=obstacle.reason,
            sentence=obstacle.sentence,
            what_would_change_it=obstacle.what_would_change_it,
            until=obstacle.until,
            held_by=obstacle.held_by,
            ahead=ahead,
            estimated_seconds=_estimate(ahead, rate),
            last_asked_at=activity.last_asked_at,
        )
    if has_no_worker(activity, tx.now):
        return Explanation(
            reason=NO_WORKER,
            sentence=f"{nobody_asked(activity, task_type, tx.now)}.",
            what_would_change_it=f"Start a worker that asks for tasks of type `{task_type.name}`.",
            ahead=ahead,
            last_asked_at=activity.last_asked_at,
        )
    return _explain_order(tx, task_type, task, ahead, activity)


def explain_overdue(tx: Transaction, task: Row) -> Explanation:
    """Say that the waiting task was not begun in time, which is about to be written down."""
    return Explanation(
        reason=DUE,
        sentence=f"Nobody began task {task['id']} before {at(task['due_at'], tx.now)}, so it is about to fail.",
        what_would_change_it="Nothing: the next request to the server fails it; after that it may be requeued.",
        until=task["due_at"],
    )


def _explain_order(tx: Transaction, task_type: TaskType, task: Row, ahead: Count, activity: Activity) -> Explanation:
    if ahead.count == 0:
        return Explanation(
            reason=NEXT,
            sentence=f"Task {task['id']} is next: the first worker that asks for type `{task_type.name}` gets it.",
            what_would_change_it="A worker asks.",
            ahead=ahead,
            last_asked_at=activity.last_asked_at,
        )
    rate = _rate(tx, task_type)
    estimate = _estimate(ahead, rate)
    are_ahead = f"{count_of(ahead.count, 'task', is_exact=ahead.is_exact)} of type `{task_type.name}` " + (
        f"{verb(ahead.count, 'is', 'are')} ahead of task {task['id']}"
    )
    if estimate is None:
        ends = f"how long that takes is not known: none has ended in the last {in_words(RATE_SECONDS)}"
    else:
        about = "about" if ahead.is_exact else "at least"
        ends = f"at the present rate of {_per_time(rate)} that takes {about} {in_words(estimate)}"
    return Explanation(
        reason=IN_ORDER,
        sentence=f"{are_ahead[0].upper()}{are_ahead[1:]}; {ends}.",
        what_would_change_it="More workers, or a higher priority for this task.",
        ahead=ahead,
        estimated_seconds=estimate,
        last_asked_at=activity.last_asked_at,
    )


def _rate(tx: Transaction, task_type: TaskType) -> float:
    """Return how many tasks of the type end in a second at present."""
    ends = list(read_ends(tx, task_type.id, tx.now - timedelta(seconds=RATE_SECONDS)).values())
    # Since the first of these ends: a queue that has just begun is not as slow as a quarter of an hour makes it seem.
    first = min((end.since for end in ends if end.since is not None), default=tx.now)
    seconds = max((tx.now - first).total_seconds(), _SHORTEST_SECONDS)
    return sum(end.per_second(tx.now, seconds) for end in ends)


def _estimate(ahead: Count, rate: float) -> float | None:
    return round(ahead.count / rate, 3) if rate > 0 else None


def _per_time(rate: float) -> str:
    """Say a rate in the unit in which it is at least one: `5 tasks a second`, `3 tasks a minute`."""
    seconds, unit = next(each for each in _UNITS if round(rate * each[0]) >= 1)
    return f"{count_of(round(rate * seconds), 'task')} {unit}"
