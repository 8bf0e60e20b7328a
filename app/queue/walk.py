"""Walk: from slice to slice over the tasks that an operation may mean, each slice found through an index."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, bindparam, func, select

from app.queue.filters import TaskFilter
from app.queue.labels import tag_label
from app.queue.ranks import end_rank
from app.storage.database import Row, Transaction
from app.storage.hints import BY_CLAIM_INDEX
from app.storage.models import task_labels, tasks, workflow_tasks

# A slice is one short transaction. Older SQLite takes at most 999 parameters, of which a task may need three.
SLICE = 300
# How many types and statuses without a task one slice may pass by.
_MAX_EMPTY = 100
_MAX_COUNTED = 100_000
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1

_OF_STATUS = (
    select(tasks.c.claim_rank, tasks.c.id)
    .with_hint(tasks, BY_CLAIM_INDEX, "mysql")
    .where(
        tasks.c.type_id == bindparam("type_id"),
        tasks.c.status == bindparam("status"),
        tasks.c.id <= bindparam("up_to"),
    )
    .order_by(tasks.c.claim_rank, tasks.c.id)
    .limit(bindparam("limit"))
)
# Two questions and not one with OR: a million tasks may share a rank, and each must begin where the last slice ended.
_SAME_RANK = _OF_STATUS.where(tasks.c.claim_rank == bindparam("rank"), tasks.c.id > bindparam("above_id"))
_LATER_RANKS = _OF_STATUS.where(tasks.c.claim_rank > bindparam("rank"), tasks.c.claim_rank <= bindparam("last_rank"))
_OF_LABEL = (
    select(task_labels.c.task_id)
    .where(task_labels.c.label == bindparam("of"), task_labels.c.task_id < bindparam("below"))
    .order_by(task_labels.c.task_id.desc())
    .limit(bindparam("limit"))
)
_OF_WORKFLOW = (
    select(workflow_tasks.c.task_id)
    .where(workflow_tasks.c.workflow_id == bindparam("of"), workflow_tasks.c.task_id < bindparam("below"))
    .order_by(workflow_tasks.c.task_id.desc())
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What is walked over: what the filter means, as it was when the operation began."""

    filter: TaskFilter
    # In the order in which they are walked; one may come twice.
    statuses: tuple[int, ...]
    up_to_id: int
    # For what has ended: the latest end.
    last_end: datetime | None = None
    # A task that is passed by unseen does no harm.
    is_walked_once: bool = False

    @property
    def is_direct(self) -> bool:
        """Whether what few tasks have leads to them, whatever their type and status."""
        which = self.filter
        return not (which.ids is None and which.workflow_id is None and which.tag is None)

    @property
    def may_miss(self) -> bool:
        """Whether a task may be passed by unseen, because it moves to another status or rank meanwhile."""
        return not (self.is_direct or self.is_walked_once) and self.last_end is None

    @property
    def last_rank(self) -> int:
        """The rank of the last task in each status."""
        return _HIGHEST if self.last_end is None else end_rank(self.last_end)

    def conditions(self, tx: Transaction) -> list[ColumnElement[bool]]:
        """Return what a row of `tasks` must fulfil to be meant."""
        # As a plain column the status would lead SQLite to its index, and to look at all that have it.
        is_meant = (tasks.c.status + 0).in_(self.statuses)
        meant = [*self.filter.conditions(tx), is_meant, tasks.c.id <= self.up_to_id]
        return meant if self.last_end is None else [*meant, tasks.c.completed_at <= self.last_end]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a walk is: the last task that was seen, of the type, the status and the rank that it had then."""

    type_id: int = 0
    step: int = 0
    rank: int = _LOWEST
    task_id: int = 0


def walk_on(tx: Transaction, ground: Ground, place: Place) -> tuple[list[int], Place | None]:
    """Return the ids of the next slice and the place behind it; None is the end of the walk.

    What few tasks have leads to them directly, the latest first, so that those that wait for others come before them.
    """
    which = ground.filter
    below = place.task_id or ground.up_to_id + 1
    if which.ids is not None:
        ids = [task_id for task_id in sorted(set(which.ids), reverse=True) if task_id < below][:SLICE]
    elif which.workflow_id is not None:
        ids = _ids_of(tx, _OF_WORKFLOW, which.workflow_id, below)
    elif which.tag is not None:
        ids = _ids_of(tx, _OF_LABEL, tag_label(which.tag), below)
    else:
        return _walk_index(tx, ground, place)
    return ids, Place(task_id=ids[-1]) if len(ids) == SLICE else None


def count_ground(tx: Transaction, ground: Ground) -> int | None:
    """Return how many tasks the walk will look at, or None for more than 100,000: counting those takes too long."""
    which = ground.filter
    statement = (
        select(tasks.c.id)
        .with_hint(tasks, BY_CLAIM_INDEX, "mysql")
        .where(
            tasks.c.type_id.in_(which.find_type_ids(tx)),
            tasks.c.status.in_(ground.statuses),
            tasks.c.claim_rank <= ground.last_rank,
            tasks.c.id <= ground.up_to_id,
        )
    )
    if which.ids is not None:
        return len(set(which.ids))
    if which.workflow_id is not None:
        statement = select(workflow_tasks.c.task_id).where(workflow_tasks.c.workflow_id == which.workflow_id)
    elif which.tag is not None:
        statement = select(task_labels.c.task_id).where(task_labels.c.label == tag_label(which.tag))
    counted = tx.one(select(func.count().label("number")).select_from(statement.limit(_MAX_COUNTED + 1).subquery()))
    number = 0 if counted is None else int(counted["number"])
    return number if number <= _MAX_COUNTED else None


def _ids_of(tx: Transaction, statement: Select[tuple[int]], of: int | str, below: int) -> list[int]:
    return [row["task_id"] for row in tx.all(statement, {"of": of, "below": below, "limit": SLICE})]


def _walk_index(tx: Transaction, ground: Ground, place: Place) -> tuple[list[int], Place | None]:
    ids: list[int] = []
    steps = [
        (type_id, step)
        for type_id in ground.filter.find_type_ids(tx)
        for step in range(len(ground.statuses))
        if (type_id, step) >= (place.type_id, place.step)
    ]
    for number, (type_id, step) in enumerate(steps):
        begin = Place(type_id=type_id, step=step)
        if number == _MAX_EMPTY:
            return ids, begin
        if (type_id, step) == (place.type_id, place.step):
            begin = place
        rows = _read_index(tx, ground, begin, SLICE - len(ids))
        ids += [row["id"] for row in rows]
        if len(ids) == SLICE:
            return ids, Place(type_id=type_id, step=step, rank=rows[-1]["claim_rank"], task_id=rows[-1]["id"])
    return ids, None


def _read_index(tx: Transaction, ground: Ground, place: Place, limit: int) -> list[Row]:
    where = {
        "type_id": place.type_id,
        "status": ground.statuses[place.step],
        "up_to": ground.up_to_id,
        "rank": place.rank,
    }
    rows = []
    if place.task_id:
        rows = tx.all(_SAME_RANK, {**where, "above_id": place.task_id, "limit": limit})
    if len(rows) < limit:
        rows += tx.all(_LATER_RANKS, {**where, "last_rank": ground.last_rank, "limit": limit - len(rows)})
    return rows
