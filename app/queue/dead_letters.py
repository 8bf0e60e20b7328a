"""Dead letters: listed, counted by what killed them, purged."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy import bindparam, func, select, update

from app.errors import NotADeadLetter, TaskNotFound, TryAgain
from app.lifecycle import TaskStatus
from app.queue.audit import PROGRAM, Actor, write_audit
from app.queue.filters import TaskFilter
from app.queue.follow import follow_up
from app.queue.remove import remove_tasks
from app.queue.task_types import name_types
from app.queue.tasks import LIGHT
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.hints import BY_CLAIM_INDEX
from app.storage.models import task_types, tasks

# Where a page begins: below this rank and, within it, below this id.
Below = tuple[int, int]
_NEWEST: Below = (2**63 - 1, 2**63 - 1)
# How many one page looks at, where a filter lets few pass: it may be short, and the next goes on behind them.
_MAX_EXAMINED = 5_000
_CHUNK = 250
# How many of each type, and of all, are counted.
_COUNTED, _COUNTED_IN_ALL = 10_000, 100_000
_MAX_GROUPS = 1_000
_SHOWN_CHARACTERS = 200
_FAILED = int(TaskStatus.FAILED)

_of_type = (tasks.c.type_id == bindparam("type_id"), tasks.c.status == _FAILED)
_LATEST = (
    select(tasks.c.claim_rank, tasks.c.id)
    .with_hint(tasks, BY_CLAIM_INDEX, "mysql")
    .where(*_of_type)
    .order_by(tasks.c.claim_rank.desc(), tasks.c.id.desc())
    .limit(_CHUNK)
)
_SAME_RANK = _LATEST.where(tasks.c.claim_rank == bindparam("rank"), tasks.c.id < bindparam("below_id"))
_EARLIER_RANKS = _LATEST.where(tasks.c.claim_rank < bindparam("rank"))
# One look into the index for each type. As EXISTS, MariaDB might put all dead letters together first.
_any = (
    select(tasks.c.id)
    .with_hint(tasks, BY_CLAIM_INDEX, "mysql")
    .where(tasks.c.type_id == task_types.c.id, tasks.c.status == _FAILED)
    .order_by(tasks.c.claim_rank)
    .limit(1)
    .scalar_subquery()
)
_TYPES = select(task_types.c.id).where(
    task_types.c.id.in_(bindparam("type_ids", expanding=True)), _any.correlate(task_types).is_not(None)
)
_latest_ids = (
    select(tasks.c.id)
    .with_hint(tasks, BY_CLAIM_INDEX, "mysql")
    .where(*_of_type)
    .order_by(tasks.c.claim_rank.desc(), tasks.c.id.desc())
    .limit(_COUNTED)
)
_BEYOND = _latest_ids.offset(_COUNTED).limit(1)
_latest = _latest_ids.subquery("latest")
_beginning: Any = func.substr(tasks.c.error_message, 1, _SHOWN_CHARACTERS)
_GROUPS = (
    select(
        tasks.c.failure_reason,
        _beginning.label("error"),
        func.count().label("count"),
        func.max(tasks.c.id).label("example_id"),
        func.max(tasks.c.completed_at).label("latest_at"),
    )
    .select_from(_latest.join(tasks, tasks.c.id == _latest.c.id))
    .group_by(tasks.c.failure_reason, _beginning)
)
_LOCK = select(tasks.c.status, tasks.c.has_followers).where(tasks.c.id == bindparam("task_id")).with_for_update()
_RING_NOW = update(tasks).where(tasks.c.id == bindparam("task_id")).values(due_at=bindparam("at", type_=Instant))
_IS_THERE = select(tasks.c.id).where(tasks.c.id == bindparam("task_id"))


def list_dead_letters(
    tx: Transaction, which: TaskFilter, *, limit: int, below: Below | None
) -> tuple[list[Row], Below | None]:
    """Return a page of dead letters without `params` and `result`, the latest end first, and where the next begins.

    Where the filter lets few pass, a page may have fewer than `limit` although more come behind it.
    """
    found = tx.all(_TYPES, {"type_ids": which.find_type_ids(tx)})
    latest = merge(*(_walk_back(tx, row["id"], below or _NEWEST) for row in found), reverse=True)
    statement = select(*LIGHT).where(
        tasks.c.id.in_(bindparam("task_ids", expanding=True)), tasks.c.status == _FAILED, *which.conditions(tx)
    )
    names = name_types(tx)
    at_once = limit + 1 if which == TaskFilter(type=which.type) else _CHUNK
    page: list[tuple[Below, Row]] = []
    examined = 0
    next_below: Below | None = None
    while len(page) <= limit and examined < _MAX_EXAMINED:
        places = list(islice(latest, at_once))
        rows = {row["id"]: row for row in tx.all(statement, {"task_ids": [task_id for _, task_id in places]})}
        page += [(place, rows[place[1]]) for place in places if place[1] in rows]
        examined += len(places)
        next_below = places[-1] if len(places) == at_once else None
        if next_below is None:
            break
    if len(page) > limit:
        page = page[:limit]
        next_below = page[-1][0]
    return [{**row, "type": names.get(row["type_id"], "")} for _, row in page], next_below


def _walk_back(tx: Transaction, type_id: int, below: Below) -> Iterator[Below]:
    """Yield the places of the dead letters of a type, the latest first, read chunk by chunk."""
    while True:
        rank, below_id = below
        where = {"type_id": type_id, "rank": rank}
        rows = tx.all(_SAME_RANK, {**where, "below_id": below_id})
        # Two questions and not one with OR, which not every database answers through the index.
        if len(rows) < _CHUNK:
            rows += tx.all(_EARLIER_RANKS, where)
        if not rows:
            return
        for row in rows:
            below = (row["claim_rank"], row["id"])
            yield below


@dataclass(frozen=True, slots=True)
class Cause:
    """What has killed some dead letters of a type."""

    type: str
    failure_reason: str
    error: str | None
    count: int
    example_id: int
    latest_at: datetime


def count_dead_letters(tx: Transaction, which: TaskFilter) -> tuple[list[Cause], bool]:
    """Return how many dead letters died of what, the most frequent first, and whether these were all of them.

    Errors count as equal when their first lines are, as far as 200 characters go. Of each type the latest 10,000 are
    looked at.
    """
    causes: dict[tuple[str, str, str | None], Cause] = {}
    names = name_types(tx)
    is_complete = True
    looked_at = 0
    for found in tx.all(_TYPES, {"type_ids": which.find_type_ids(tx)}):
        if looked_at >= _COUNTED_IN_ALL:
            is_complete = False
            break
        of_type = 0
        for row in tx.all(_GROUPS, {"type_id": found["id"]}):
            of_type += row["count"]
            error = None if row["error"] is None else row["error"].split("\n", 1)[0]
            key = (names.get(found["id"], ""), row["failure_reason"], error)
            same = causes.get(key)
            causes[key] = Cause(
                *key,
                count=row["count"] + (same.count if same else 0),
                example_id=max(row["example_id"], same.example_id if same else 0),
                latest_at=max(row["latest_at"], same.latest_at) if same else row["latest_at"],
            )
        looked_at += of_type
        if of_type == _COUNTED and tx.one(_BEYOND, {"type_id": found["id"]}) is not None:
            is_complete = False
    ordered = sorted(causes.values(), key=lambda cause: (-cause.count, cause.type, cause.example_id))
    return ordered[:_MAX_GROUPS], is_complete and len(ordered) <= _MAX_GROUPS


def purge_dead_letter(tx: Transaction, task_id: int, actor: Actor = PROGRAM) -> bool:
    """Remove a dead letter and return whether it is gone already: a new one goes within a minute.

    Raises TaskNotFound, NotADeadLetter, or TryAgain while too many waited for its end to be told at once.
    """
    # Those that waited for its end learn of it first.
    follow_up(tx, [task_id])
    with tx.atomic():
        row = tx.one(_LOCK, {"task_id": task_id})
        if row is None and not tx.is_rerun:
            raise TaskNotFound
        if row is not None:
            if row["status"] != TaskStatus.FAILED:
                raise NotADeadLetter
            if row["has_followers"]:
                raise TryAgain(retry_after_seconds=1)
            tx.execute(_RING_NOW, {"task_id": task_id, "at": tx.now})
            remove_tasks(tx, [task_id])
            write_audit(tx, actor, "purge_dead_letter", f"tasks/{task_id}", {})
        return tx.one(_IS_THERE, {"task_id": task_id}) is None
