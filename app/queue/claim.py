"""Claim: which task a worker gets; how it is taken is in take.py."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, and_, bindparam, or_, select

from app.lifecycle import TaskStatus
from app.queue.expire import expire_waiting
from app.queue.floor import Look, find_floor, look_from_start
from app.queue.limits import LimitReached
from app.queue.signals import find_signals
from app.queue.take import (
    TO_CLAIM,
    ClaimOrder,
    is_overdue,
    recover_claims,
    take_by_id,
    take_in_transaction,
    take_seen,
)
from app.queue.task_types import TaskType, find_types
from app.storage.database import Row, Transaction
from app.storage.hints import BY_CLAIM_INDEX
from app.storage.models import task_types, tasks
from app.storage.prepared import Prepared

SORTABLE = ("created_at", "priority", "id", "attempts", "deadline_at")

_PENDING = int(TaskStatus.PENDING)
IN_ORDER = (tasks.c.claim_rank, tasks.c.id)
# How many candidates of a caller's own order are looked at, and how often, before the claim gives up.
_CANDIDATES = 50
OVERDUE_SLICE = 200
_ROUNDS = 20
_END_RANK = 2**63 - 1
# Where claims have just met, each looks at so many heads for so many seconds, and who comes second takes another one;
# where all of them were gone, as they are if the database is far, at twice as many.
_HEADS_WHERE_CLAIMS_MEET, _MOST_HEADS = 4, 32
_REMEMBERED_SECONDS = 1.0
# Up to so many types are looked at one by one where that is much faster.
_FEW_TYPES = 10


def claimable(*columns: Any) -> Select[Any]:
    """What may be claimed: every pending task, and nothing else."""
    return select(*columns).where(tasks.c.status == _PENDING).with_hint(tasks, BY_CLAIM_INDEX, "mysql")


_IN_ORDER = claimable(*TO_CLAIM).where(tasks.c.type_id == bindparam("type_id")).order_by(*IN_ORDER)
_N_FIRST = _IN_ORDER.limit(bindparam("number"))
_FIRST = Prepared(_N_FIRST)
# The rank by itself is what SQLite goes by; without it, it would look for each half of OR and sort.
FROM_PLACE = and_(
    tasks.c.claim_rank >= bindparam("rank"),
    or_(
        tasks.c.claim_rank > bindparam("rank"),
        and_(tasks.c.claim_rank == bindparam("rank"), tasks.c.id >= bindparam("first_id")),
    ),
)
# From the floor on, or from a task that has just been seen at the head: a locking read from the start would also lock
# every entry of the index that is marked as deleted (100,000 of them, kept for a backup, cost 300 ms).
_FIRST_FROM_PLACE = Prepared(_N_FIRST.where(FROM_PLACE))
_HEAD_FROM_PLACE = _IN_ORDER.where(FROM_PLACE).limit(1)
# Those that come first, to see which of them are overdue.
_HEADS = (
    claimable(tasks.c.id, tasks.c.due_at)
    .where(tasks.c.type_id == bindparam("type_id"), FROM_PLACE)
    .order_by(*IN_ORDER)
    .limit(OVERDUE_SLICE)
)
# For each type its first task, through the index; then the types in the order of these.
_first = claimable(tasks.c.id).where(tasks.c.type_id == task_types.c.id).order_by(*IN_ORDER).limit(1).scalar_subquery()
_head = tasks.alias("head")
_HEADS_IN_ORDER = Prepared(
    select(_head.c.type_id, _head.c.claim_rank, _head.c.id, _head.c.due_at)
    .select_from(task_types.join(_head, _head.c.id == _first.correlate(task_types)))
    .where(task_types.c.id.in_(bindparam("type_ids", expanding=True)))
    .order_by(_head.c.claim_rank, _head.c.id)
)


def claim_task(tx: Transaction, type_ids: Sequence[int], order: ClaimOrder) -> Row | None:
    """Claim the first task of these types and return its row, with `lease_token`, or None if there is none.

    There is none in a paused queue, and none for a worker that has a command. Never waits for another open
    transaction, and never misses a claimable task because another claim is open.
    """
    types = find_types(tx, type_ids)
    if own := recover_claims(tx, types, order):
        return own[0]
    open_types = those_open(tx, types, order)
    if not open_types:
        return None
    if order.sort_by is not None:
        return _claim_candidate(tx, open_types, order)
    if len(open_types) == 1:
        return _claim_of_type(tx, next(iter(open_types.values())), order)
    for head in _heads_in_time(tx, list(open_types)):
        claimed = _claim_of_type(tx, open_types[head["type_id"]], order)
        if claimed is not None:
            return claimed
    return None


def _heads_in_time(tx: Transaction, type_ids: list[int]) -> Iterator[Row]:
    """Yield what `heads_in_order` does, task by task; what is overdue is given up and holds no place for its type."""
    for heads in heads_in_order(tx, type_ids):
        in_time = heads
        for _ in range(_ROUNDS):
            overdue = [head for head in in_time if is_overdue(tx, head)]
            if not overdue:
                break
            if not sum(_give_up_overdue(tx, head) for head in overdue):
                # Somebody holds them: the claims of their types pass them by.
                break
            in_time = tx.all(_HEADS_IN_ORDER, {"type_ids": type_ids})
        yield from in_time


def those_open(tx: Transaction, types: dict[int, TaskType], order: ClaimOrder) -> dict[int, TaskType]:
    """Return those of these types of which this worker is given tasks now."""
    if find_signals(tx).refuses_claims_of(order.worker_id):
        return {}
    return {type_id: task_type for type_id, task_type in types.items() if not task_type.is_paused}


def heads_in_order(tx: Transaction, type_ids: Sequence[int]) -> Iterator[list[Row]]:
    """Yield the first task of each of these types that has one, in the order of claims.

    Where types have floors, first as they are seen from there, and then, for whoever goes on, from the start.
    """
    if len(type_ids) <= _FEW_TYPES and any(find_floor(tx, type_id) for type_id in type_ids):
        found = [head for type_id in type_ids for head in _find_first(tx, type_id, find_floor(tx, type_id), 1)]
        yield sorted(found, key=place_in_order)
    yield tx.all(_HEADS_IN_ORDER, {"type_ids": type_ids})


def place_in_order(task: Row) -> tuple[int, int]:
    """Return where the task stands among those of all types, as a key for sorting."""
    return task["claim_rank"], task["id"]


def look_at_type(tx: Transaction, type_id: int, look: Look) -> list[Row]:
    """Return what the look at the claimable tasks of a type finds from the start, and note where they begin."""

    def floor_of(found: list[Row]) -> Row:
        # Where there is none, new ones will stand above the floor that there was.
        return place_of(found[0]) if found else find_floor(tx, type_id) or end_of(type_id)

    return look_from_start(tx, type_id, look, floor_of)


def place_of(task: Row) -> Row:
    """Return where the task stands among the claimable ones of its type, for `FROM_PLACE`."""
    return {"type_id": task["type_id"], "rank": task["claim_rank"], "first_id": task["id"]}


def end_of(type_id: int) -> Row:
    """Return the place behind all claimable tasks of the type."""
    return {"type_id": type_id, "rank": _END_RANK, "first_id": 0}


def look_from(tx: Transaction, statement: Prepared, place: Row) -> list[Row]:
    """Return what the statement, made with `FROM_PLACE`, finds from there on."""
    # Behind the end there is nothing, but InnoDB would walk over the dead entries of the next status to see that.
    return [] if place["rank"] == _END_RANK else tx.all(statement, place)


def _find_first(tx: Transaction, type_id: int, floor: Row | None, number: int) -> list[Row]:
    def look(place: Row | None) -> list[Row]:
        if place is None:
            return tx.all(_FIRST, {"type_id": type_id, "number": number})
        return look_from(tx, _FIRST_FROM_PLACE, {**place, "number": number})

    return look_at_type(tx, type_id, look) if floor is None else look(floor)


def _claim_of_type(tx: Transaction, task_type: TaskType, order: ClaimOrder) -> Row | None:
    """Claim the first task of one type: from its floor on, if it has one, and if there is none, from the start."""
    try:
        floor = find_floor(tx, task_type.id)
        claimed = None if floor is None else _claim_first(tx, task_type, order, floor)
        return _claim_first(tx, task_type, order, None) if claimed is None else claimed
    except LimitReached:
        return None


def _claim_first(tx: Transaction, task_type: TaskType, order: ClaimOrder, floor: Row | None) -> Row | None:
    """Claim the first task that stands not below the floor; raises LimitReached.

    The head is read without locks and taken by a guarded update that does not wait: two statements. Whoever comes
    second takes another one that was seen, and if that fails too, or there is a limit to obey, the first free one in a
    transaction that skips what others hold.
    """
    meeting = ("claims have met", task_type.id)
    number = tx.cache.recall(meeting) or 1
    heads = _find_first(tx, task_type.id, floor, number)
    for _ in range(_ROUNDS):
        if not heads:
            return None
        head = heads[0]
        if is_overdue(tx, head):
            if not _give_up_overdue(tx, head):
                # Somebody holds it: what stands behind it is free.
                return _take_free(tx, task_type, order, head)
            heads = _find_first(tx, task_type.id, floor, number)
            continue
        if not task_type.needs_transaction and tx.misses_locked_rows:
            seen = [task for task in heads if not is_overdue(tx, task)]
            while seen:
                claimed = take_seen(tx, task_type, order, seen[0])
                if claimed is not None:
                    return claimed
                number = max(_HEADS_WHERE_CLAIMS_MEET, number if len(seen) > 1 else min(2 * number, _MOST_HEADS))
                tx.cache.keep(meeting, number, _REMEMBERED_SECONDS)
                # Whoever else has missed this one should not meet us at the next.
                del seen[: random.randint(1, max(len(seen) - 1, 1))]
        claimed = _take_free(tx, task_type, order, head)
        if claimed is not None:
            return claimed
        # Replaced, or given another priority, what was seen may stand before its place by now.
        heads = _find_first(tx, task_type.id, None, 1)
        if not heads or place_in_order(heads[0]) >= place_in_order(head):
            return None
    return None


def _give_up_overdue(tx: Transaction, first: Row) -> int:
    """Give up this overdue task, and those of its type behind it that are overdue too; return how many there were."""
    heads = tx.all(_HEADS, place_of(first))
    return expire_waiting(tx, [head["id"] for head in heads if is_overdue(tx, head)])


def _take_free(tx: Transaction, task_type: TaskType, order: ClaimOrder, task: Row) -> Row | None:
    """Take the first task from this one on that nobody holds."""
    if tx.skips_locked_rows or task_type.needs_transaction:
        return take_in_transaction(tx, task_type, order, _HEAD_FROM_PLACE, place_of(task))
    return _claim_candidate(tx, {task_type.id: task_type}, order)


def _claim_candidate(tx: Transaction, types: dict[int, TaskType], order: ClaimOrder) -> Row | None:
    """Claim the first task in an order that the index does not serve, or on a database that cannot skip locked rows.

    Candidates are read without locks and taken one by one by primary key: one locking read with ORDER BY and LIMIT
    also locks the rows that it scans and rejects, and every other worker would skip those too.
    """
    statement = claimable(tasks.c.id, tasks.c.type_id).order_by(*columns_of(order)).limit(_CANDIDATES)
    tried: list[int] = []
    open_types = dict(types)
    while open_types and len(tried) < _ROUNDS * _CANDIDATES:
        candidates = tx.all(statement.where(tasks.c.type_id.in_(list(open_types)), tasks.c.id.not_in(tried)))
        if not candidates:
            return None
        for candidate in candidates:
            tried.append(candidate["id"])
            try:
                claimed = take_by_id(tx, types[candidate["type_id"]], order, candidate["id"])
            except LimitReached:
                # Ask again without this type, which may fill the whole page.
                del open_types[candidate["type_id"]]
                break
            if claimed is not None:
                return claimed
    return None


def columns_of(order: ClaimOrder) -> tuple[Any, ...]:
    """Return the columns by which the claim's candidates are put in order."""
    if order.sort_by is None:
        return IN_ORDER
    column = tasks.c[order.sort_by]
    directed = (column.desc(), tasks.c.id.desc()) if order.descending else (column, tasks.c.id)
    # What has no deadline comes last, in either direction.
    return (tasks.c.deadline_at.is_(None), *directed) if order.sort_by == "deadline_at" else directed
