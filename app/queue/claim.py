"""Claim: give a pending task to a worker, under a lease."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, bindparam, null, select, update

from app.lifecycle import TaskStatus
from app.queue.expire import expire_waiting
from app.queue.leases import make_token
from app.queue.limits import count_claim, lock_limits
from app.queue.task_types import TaskType, find_types
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.dialects.base import WITHOUT_WAITING
from app.storage.models import task_types, tasks

SORTABLE = ("created_at", "priority", "id", "attempts")

_PENDING = int(TaskStatus.PENDING)
_CLAIMED = int(TaskStatus.CLAIMED)
_IN_ORDER = (tasks.c.claim_rank, tasks.c.id)
# Without the hint MariaDB now and then scans the primary key of a freshly filled table.
_INDEX = "FORCE INDEX (ix_tasks_claim)"
# How many candidates of a caller's own order are looked at, and how often, before the claim gives up.
_CANDIDATES = 50
_OVERDUE_SLICE = 200
_ROUNDS = 20


def _claimable(*columns: Any) -> Select[Any]:
    """What may be claimed: every pending task, and nothing else."""
    return select(*columns).where(tasks.c.status == _PENDING).with_hint(tasks, _INDEX, "mysql")


_HEAD = _claimable(tasks).where(tasks.c.type_id == bindparam("type_id")).order_by(*_IN_ORDER).limit(1)
# Those that come first, to see which of them are overdue.
_HEADS = (
    _claimable(tasks.c.id, tasks.c.due_at)
    .where(tasks.c.type_id == bindparam("type_id"))
    .order_by(*_IN_ORDER)
    .limit(_OVERDUE_SLICE)
)
_BY_ID = select(tasks).where(tasks.c.id == bindparam("task_id"), tasks.c.status == _PENDING)
# For each type its first task, through the index; then the types in the order of these.
_first = (
    _claimable(tasks.c.id).where(tasks.c.type_id == task_types.c.id).order_by(*_IN_ORDER).limit(1).scalar_subquery()
)
_head = tasks.alias("head")
_TYPES_IN_ORDER = (
    select(_head.c.type_id)
    .select_from(task_types.join(_head, _head.c.id == _first.correlate(task_types)))
    .where(task_types.c.id.in_(bindparam("type_ids", expanding=True)))
    .order_by(_head.c.claim_rank, _head.c.id)
)
_TAKE = (
    update(tasks)
    # Claimed and failed by somebody else meanwhile, it would be pending again, but not as it was seen.
    .where(
        tasks.c.id == bindparam("task_id"),
        tasks.c.status == _PENDING,
        tasks.c.attempts == bindparam("seen_attempts"),
    )
    .values(
        status=_CLAIMED,
        claimed_by=bindparam("worker"),
        claimed_at=bindparam("at", type_=Instant),
        lease_token=bindparam("token"),
        due_at=bindparam("lease_ends", type_=Instant),
        attempt_ends_at=bindparam("attempt_ends", type_=Instant),
        attempts=tasks.c.attempts + 1,
        progress=0,
        progress_message=null(),
        updated_at=bindparam("at", type_=Instant),
    )
)
_TAKE_WITHOUT_WAITING = _TAKE.execution_options(**{WITHOUT_WAITING: True})
_ALREADY_CLAIMED = select(tasks).where(
    tasks.c.type_id == bindparam("type_id"), tasks.c.status == _CLAIMED, tasks.c.lease_token == bindparam("token")
)


class _LimitReached(Exception):
    """The type may not be claimed from now, whatever its tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOrder:
    """What a worker asks for; without `sort_by`: highest priority first, within it the oldest."""

    worker_id: str
    lease_seconds: int | None = None
    sort_by: str | None = None
    descending: bool = False


def claim_task(tx: Transaction, type_ids: Sequence[int], order: ClaimOrder) -> Row | None:
    """Claim the first task of these types and return its row, with `lease_token`, or None if there is none.

    Never waits for another open transaction, and never misses a claimable task because another claim is open.
    """
    types = find_types(tx, type_ids)
    open_types = {type_id: task_type for type_id, task_type in types.items() if not task_type.is_paused}
    if not open_types:
        return None
    if tx.is_rerun and (own := _find_own_claim(tx, open_types, order)) is not None:
        return own
    if order.sort_by is not None:
        return _claim_candidate(tx, open_types, order)
    if len(open_types) == 1:
        return _claim_of_type(tx, next(iter(open_types.values())), order)
    for row in tx.all(_TYPES_IN_ORDER, {"type_ids": list(open_types)}):
        claimed = _claim_of_type(tx, open_types[row["type_id"]], order)
        if claimed is not None:
            return claimed
    return None


def _claim_of_type(tx: Transaction, task_type: TaskType, order: ClaimOrder) -> Row | None:
    """Claim the first task of one type.

    The head is read without locks and taken by a guarded update that does not wait: two statements. Whoever comes
    second, or has a limit to obey, takes the next one in a transaction that skips what others hold.
    """
    for _ in range(_ROUNDS):
        task = tx.one(_HEAD, {"type_id": task_type.id})
        if task is None:
            return None
        if not _is_overdue(tx, task):
            return _take_head(tx, task_type, order, task)
        heads = tx.all(_HEADS, {"type_id": task_type.id})
        expire_waiting(tx, [head["id"] for head in heads if _is_overdue(tx, head)])
    return None


def _take_head(tx: Transaction, task_type: TaskType, order: ClaimOrder, task: Row) -> Row | None:
    if not task_type.is_limited and tx.misses_locked_rows:
        claim = _claim_values(tx, task_type, order)
        if tx.changes(_TAKE_WITHOUT_WAITING, _take_parameters(task, claim)):
            return _claimed(task, task_type, claim)
    if tx.skips_locked_rows or task_type.is_limited:
        try:
            return _take_in_transaction(tx, task_type, order, _HEAD, {"type_id": task_type.id})
        except _LimitReached:
            return None
    return _claim_candidate(tx, {task_type.id: task_type}, order)


def _claim_candidate(tx: Transaction, types: dict[int, TaskType], order: ClaimOrder) -> Row | None:
    """Claim the first task in an order that the index does not serve, or on a database that cannot skip locked rows.

    Candidates are read without locks and taken one by one by primary key: one locking read with ORDER BY and LIMIT
    also locks the rows that it scans and rejects, and every other worker would skip those too.
    """
    statement = _claimable(tasks.c.id, tasks.c.type_id).order_by(*_columns_of(order)).limit(_CANDIDATES)
    tried: list[int] = []
    open_types = dict(types)
    while open_types and len(tried) < _ROUNDS * _CANDIDATES:
        candidates = tx.all(statement.where(tasks.c.type_id.in_(list(open_types)), tasks.c.id.not_in(tried)))
        if not candidates:
            return None
        for candidate in candidates:
            tried.append(candidate["id"])
            try:
                claimed = _take_candidate(tx, types[candidate["type_id"]], order, {"task_id": candidate["id"]})
            except _LimitReached:
                # Ask again without this type, which may fill the whole page.
                del open_types[candidate["type_id"]]
                break
            if claimed is not None:
                return claimed
    return None


def _columns_of(order: ClaimOrder) -> tuple[Any, ...]:
    if order.sort_by is None:
        return _IN_ORDER
    column: Any = tasks.c.claim_rank if order.sort_by == "priority" else tasks.c[order.sort_by]
    # The rank is the negated priority, so its direction is turned round; ties go by id in the caller's direction.
    is_column_descending = order.descending != (order.sort_by == "priority")
    return (
        column.desc() if is_column_descending else column,
        tasks.c.id.desc() if order.descending else tasks.c.id,
    )


def _take_candidate(tx: Transaction, task_type: TaskType, order: ClaimOrder, parameters: Row) -> Row | None:
    if tx.skips_locked_rows or task_type.is_limited:
        return _take_in_transaction(tx, task_type, order, _BY_ID, parameters)
    task = tx.one(_BY_ID, parameters)
    if task is None or _is_overdue(tx, task):
        return None
    claim = _claim_values(tx, task_type, order)
    is_taken = tx.changes(_TAKE_WITHOUT_WAITING, _take_parameters(task, claim))
    return _claimed(task, task_type, claim) if is_taken else None


def _take_in_transaction(
    tx: Transaction, task_type: TaskType, order: ClaimOrder, which: Select[Any], parameters: Row
) -> Row | None:
    locking = which.with_for_update(skip_locked=tx.skips_locked_rows)
    with tx.atomic():
        recent: list[int] | None = []
        if task_type.is_limited and (recent := lock_limits(tx, task_type)) is None:
            raise _LimitReached
        for _ in range(_CANDIDATES):
            task = tx.one(locking, parameters)
            if task is None:
                return None
            if _is_overdue(tx, task):
                expire_waiting(tx, [task["id"]])
                continue
            claim = _claim_values(tx, task_type, order)
            tx.execute(_TAKE, _take_parameters(task, claim))
            count_claim(tx, task_type, recent or [])
            return _claimed(task, task_type, claim)
    return None


def _take_parameters(task: Row, claim: Row) -> Row:
    return {"task_id": task["id"], "seen_attempts": task["attempts"], **claim}


def _is_overdue(tx: Transaction, task: Row) -> bool:
    return task["due_at"] is not None and task["due_at"] <= tx.now


def _claim_values(tx: Transaction, task_type: TaskType, order: ClaimOrder) -> Row:
    seconds = order.lease_seconds or task_type.policies.lease_seconds
    lease_ends = tx.now + timedelta(seconds=seconds)
    attempt_ends = None
    if task_type.policies.attempt_timeout_seconds is not None:
        attempt_ends = tx.now + timedelta(seconds=task_type.policies.attempt_timeout_seconds)
        lease_ends = min(lease_ends, attempt_ends)
    return {
        "worker": order.worker_id,
        "at": tx.now,
        "token": make_token(task_type.id, seconds, tx.nonce),
        "lease_ends": lease_ends,
        "attempt_ends": attempt_ends,
    }


def _claimed(task: Row, task_type: TaskType, claim: Row) -> Row:
    """Return the row as it is after the claim, without reading it again."""
    return {
        **task,
        "type": task_type.name,
        "status": _CLAIMED,
        "claimed_by": claim["worker"],
        "claimed_at": claim["at"],
        "lease_token": claim["token"],
        "due_at": claim["lease_ends"],
        "attempt_ends_at": claim["attempt_ends"],
        "attempts": task["attempts"] + 1,
        "progress": 0,
        "progress_message": None,
        "updated_at": claim["at"],
    }


def _find_own_claim(tx: Transaction, types: dict[int, TaskType], order: ClaimOrder) -> Row | None:
    """Return the task that this very claim took before its answer was lost."""
    for task_type in types.values():
        token = _claim_values(tx, task_type, order)["token"]
        task = tx.one(_ALREADY_CLAIMED, {"type_id": task_type.id, "token": token})
        if task is not None:
            return {**task, "type": task_type.name}
    return None
