"""Activity: what has lately become of the tasks of a type, and who asks for them.

All of it is read through the index of claims, a bounded part each: nothing is scanned and nothing is sorted, however
many tasks there are. What is finished stands in that index in the order of its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, bindparam, case, func, literal_column, select, union_all

from app.lifecycle import FINISHED, UNFINISHED, TaskStatus
from app.queue.ranks import end_rank, ended_at
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.hints import BY_CLAIM_INDEX
from app.storage.models import tasks, worker_types

#: No more are counted: who reads the number wants to know how many, not to have them all looked at.
MOST = 10_000
#: Of so many the times are looked at.
SAMPLE = 1_000
#: Workers that asked within this time count as being there.
SEEN_WITHIN = timedelta(minutes=15)

_FORWARDS = (tasks.c.claim_rank, tasks.c.id)
_BACKWARDS = (tasks.c.claim_rank.desc(), tasks.c.id.desc())


@dataclass(frozen=True, slots=True)
class Count:
    """A number, or, where it is not exact, one than which there are more."""

    count: int = 0
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class Ends:
    """How many tasks of a status ended since an instant, and when the first of those that were counted did."""

    number: Count
    since: datetime | None

    def per_second(self, now: datetime, seconds: float) -> float:
        """Return the rate over the last `seconds`, or over the time in which those ended that were counted."""
        if not self.number.is_exact and self.since is not None:
            seconds = max((now - self.since).total_seconds(), 0.001)
        return self.number.count / seconds


@dataclass(frozen=True, slots=True)
class Activity:
    """When the tasks of a type last moved, and who was there."""

    claimed: int
    #: Exact where fewer than `SAMPLE` tasks are pending.
    oldest_pending_at: datetime | None
    is_oldest_exact: bool
    last_claimed_at: datetime | None
    workers: Count
    last_asked_at: datetime | None


def of_status(status: TaskStatus, *columns: Any) -> Select[Any]:
    """Select from the tasks of one type (`type_id`) and status, through the index of claims."""
    return (
        select(*columns)
        .where(tasks.c.type_id == bindparam("type_id"), tasks.c.status == int(status))
        .with_hint(tasks, BY_CLAIM_INDEX, "mysql")
    )


def count_up_to(limit: Any, statement: Select[Any]) -> Select[Any]:
    """Count what the statement finds, and stop at the limit."""
    return select(func.count().label("number")).select_from(statement.limit(limit).subquery())


def bounded(number: int) -> Count:
    """Return the count of a statement that stops one above `MOST`."""
    return Count(min(number, MOST), number <= MOST)


def _named(status: TaskStatus) -> Any:
    return literal_column(str(int(status))).label("status")


_DEPTH = union_all(
    *(count_up_to(MOST + 1, of_status(status, tasks.c.id)).add_columns(_named(status)) for status in UNFINISHED)
)


def _ended_since(status: TaskStatus) -> Select[Any]:
    latest = of_status(status, tasks.c.claim_rank).where(tasks.c.claim_rank >= bindparam("since"))
    ends = latest.order_by(*_BACKWARDS).limit(MOST + 1).subquery()
    return select(_named(status), func.count().label("number"), func.min(ends.c.claim_rank).label("since"))


_ENDS = union_all(_ended_since(TaskStatus.COMPLETED), _ended_since(TaskStatus.FAILED))


def _times(status: TaskStatus) -> Select[Any]:
    """Look at the first that wait or are worked on, or at the last that ended."""
    some = of_status(status, tasks.c.available_at, tasks.c.claimed_at)
    some = some.order_by(*_BACKWARDS).limit(1) if status in FINISHED else some.order_by(*_FORWARDS).limit(SAMPLE)
    found = some.subquery()
    return select(
        _named(status),
        func.count().label("number"),
        func.min(found.c.available_at).label("oldest"),
        func.max(found.c.claimed_at).label("last_claim"),
    )


# A failed or expired attempt leaves its `claimed_at` in a task that waits again.
_TIMES = union_all(*(_times(status) for status in TaskStatus if status != TaskStatus.BLOCKED))
_last = tasks.alias("last")
# The first of those that come last: behind others of a higher priority it may have waited longest of all.
_LAST_IN_ORDER = (
    of_status(TaskStatus.PENDING, tasks.c.available_at)
    .where(
        tasks.c.claim_rank
        == select(func.max(_last.c.claim_rank))
        .where(_last.c.type_id == bindparam("type_id"), _last.c.status == int(TaskStatus.PENDING))
        .scalar_subquery()
    )
    .order_by(tasks.c.id)
    .limit(1)
)
_asking = (
    select(worker_types.c.last_asked_at)
    .where(worker_types.c.type_id == bindparam("type_id"))
    .limit(MOST + 1)
    .subquery()
)
_ASKING = select(
    func.count().label("number"),
    func.sum(case((_asking.c.last_asked_at >= bindparam("since", type_=Instant), 1), else_=0)).label("seen"),
    func.max(_asking.c.last_asked_at).label("last_asked_at"),
)


def read_depth(tx: Transaction, type_id: int) -> dict[TaskStatus, Count]:
    """Return how many unfinished tasks of the type there are, by status."""
    found = tx.all(_DEPTH, {"type_id": type_id})
    return {TaskStatus(row["status"]): bounded(row["number"]) for row in found}


def read_ends(tx: Transaction, type_id: int, since: datetime) -> dict[TaskStatus, Ends]:
    """Return how many tasks of the type were completed, and how many failed, since then."""
    return {
        TaskStatus(row["status"]): _ends(row) for row in tx.all(_ENDS, {"type_id": type_id, "since": end_rank(since)})
    }


def _ends(row: Row) -> Ends:
    since = None if row["since"] is None else ended_at(row["since"])
    return Ends(bounded(row["number"]), since)


def read_activity(tx: Transaction, type_id: int) -> Activity:
    """Return when the tasks of the type last moved, and who asks for them, in two or three statements."""
    times = {row["status"]: row for row in tx.all(_TIMES, {"type_id": type_id})}
    pending = times[TaskStatus.PENDING]
    oldest = [pending["oldest"]]
    if pending["number"] == SAMPLE and (last := tx.one(_LAST_IN_ORDER, {"type_id": type_id})) is not None:
        oldest.append(last["available_at"])
    asking = tx.one(_ASKING, {"type_id": type_id, "since": tx.now - SEEN_WITHIN}) or {}
    last_claimed_at = latest([row["last_claim"] for row in times.values()])
    return Activity(
        claimed=times[TaskStatus.CLAIMED]["number"],
        oldest_pending_at=min((instant for instant in oldest if instant is not None), default=None),
        is_oldest_exact=pending["number"] < SAMPLE,
        last_claimed_at=last_claimed_at,
        workers=Count(min(int(asking["seen"] or 0), MOST), asking["number"] <= MOST),
        # A claim is a question too.
        last_asked_at=latest([asking["last_asked_at"], last_claimed_at]),
    )


def latest(instants: Sequence[datetime | None]) -> datetime | None:
    """Return the latest of these instants, or None where there is none."""
    return max((instant for instant in instants if instant is not None), default=None)
