"""Take: make one pending task the worker's, by a guarded update or in a transaction that skips what others hold."""

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, null, select, update

from app.lifecycle import TaskStatus
from app.queue.expire import expire_waiting
from app.queue.leases import make_token
from app.queue.limits import count_claims, lock_limits
from app.queue.line import note_claims
from app.queue.task_types import TaskType
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks
from app.storage.prepared import Prepared

_SET_BY_WHAT_IT_WAS = {"attempts", "due_at", "first_claimed_at", "updated_at"}
_PENDING = int(TaskStatus.PENDING)
_CLAIMED = int(TaskStatus.CLAIMED)
# How many overdue tasks one transaction gives up on its way to the first good one.
_MAX_OVERDUE = 50

# What a claim sets; `claim_values` fills the bound ones.
TAKEN: dict[str, Any] = {
    "status": _CLAIMED,
    "claimed_by": bindparam("worker"),
    "claimed_at": bindparam("at", type_=Instant),
    "lease_token": bindparam("token"),
    "due_at": bindparam("lease_ends", type_=Instant),
    "attempt_ends_at": bindparam("attempt_ends", type_=Instant),
    "attempts": tasks.c.attempts + 1,
    "first_claimed_at": func.coalesce(tasks.c.first_claimed_at, bindparam("at", type_=Instant)),
    "progress": 0,
    "progress_message": null(),
    "result": null(),
    "updated_at": bindparam("at", type_=Instant),
}
# What is told of a claimed task, and what of that must be read beforehand: the rest the claim sets, or has no value
# while the task waits. The description of a column costs PyMySQL as much as its value.
TOLD = tuple(column for column in tasks.c if column.name != "dedupe_hash")
TO_CLAIM = tuple(column for column in TOLD if column.name not in {*TAKEN, "completed_at"} - _SET_BY_WHAT_IT_WAS)
# What every claimed task has, beside the worker and the present instant.
SAME_FOR_ALL: Row = {
    "status": _CLAIMED,
    "claimed_by": None,
    "result": None,
    "progress": 0,
    "progress_message": None,
    "completed_at": None,
    "updated_at": None,
}
_BY_ID = select(*TO_CLAIM).where(tasks.c.id == bindparam("task_id"), tasks.c.status == _PENDING)
_TAKE = Prepared(
    update(tasks)
    # Claimed and failed, or replaced, by somebody else meanwhile, it would be pending again, but not as it was seen.
    .where(
        tasks.c.id == bindparam("task_id"),
        tasks.c.status == _PENDING,
        tasks.c.attempts == bindparam("seen_attempts"),
        tasks.c.updated_at == bindparam("seen_update", type_=Instant),
    )
    .values(**TAKEN)
)
_ALREADY_CLAIMED = (
    select(*TOLD)
    .where(
        tasks.c.type_id.in_(bindparam("type_ids", expanding=True)),
        tasks.c.status == _CLAIMED,
        tasks.c.lease_token.in_(bindparam("tokens", expanding=True)),
    )
    .order_by(tasks.c.claim_rank, tasks.c.id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOrder:
    """What a worker asks for; without `sort_by` tasks come as their types' `claim_order` says."""

    worker_id: str
    lease_seconds: int | None = None
    sort_by: str | None = None
    descending: bool = False


def take_seen(tx: Transaction, task_type: TaskType, order: ClaimOrder, task: Row) -> Row | None:
    """Take the task as it was read, without waiting, or return None if somebody else was faster or holds it."""
    claim = claim_values(tx, task_type, order, has_followers=task["has_followers"])
    is_taken = tx.changes_without_waiting(_TAKE, _take_parameters(task, claim))
    return _claimed(task, task_type, claim) if is_taken else None


def take_by_id(tx: Transaction, task_type: TaskType, order: ClaimOrder, task_id: int) -> Row | None:
    """Take this task if it is still claimable and nobody holds it; raises LimitReached."""
    parameters = {"task_id": task_id}
    if tx.skips_locked_rows or task_type.needs_transaction:
        return take_in_transaction(tx, task_type, order, _BY_ID, parameters)
    task = tx.one(_BY_ID, parameters)
    if task is None or is_overdue(tx, task):
        return None
    return take_seen(tx, task_type, order, task)


def take_in_transaction(
    tx: Transaction, task_type: TaskType, order: ClaimOrder, which: Select[Any], parameters: Row
) -> Row | None:
    """Take the first task that `which` finds and nobody holds, within the type's limits; raises LimitReached."""
    locking = _locking(which, tx.skips_locked_rows)
    with tx.atomic():
        recent = lock_limits(tx, task_type).recent if task_type.is_limited else []
        for _ in range(_MAX_OVERDUE):
            task = tx.one(locking, parameters)
            if task is None:
                return None
            if is_overdue(tx, task):
                expire_waiting(tx, [task["id"]])
                continue
            claim = claim_values(tx, task_type, order, has_followers=task["has_followers"])
            tx.changes(_TAKE, _take_parameters(task, claim))
            count_claims(tx, task_type, recent)
            if task_type.counts_claims_per_key:
                note_claims(tx, [task["id"]])
            return _claimed(task, task_type, claim)
    return None


@cache
def _locking(which: Select[Any], skips_locked_rows: bool) -> Prepared:
    return Prepared(which.with_for_update(skip_locked=skips_locked_rows))


def _take_parameters(task: Row, claim: Row) -> Row:
    seen = {"task_id": task["id"], "seen_attempts": task["attempts"], "seen_update": task["updated_at"]}
    return {**seen, **claim}


def is_overdue(tx: Transaction, task: Row) -> bool:
    """Tell whether the pending task should have been started by now, and must be given up instead."""
    return task["due_at"] is not None and task["due_at"] <= tx.now


def claim_values(tx: Transaction, task_type: TaskType, order: ClaimOrder, *, has_followers: bool) -> Row:
    """Return the values for `TAKEN`; all that one run claims of a type has the same token, but for `has_followers`."""
    seconds = _seconds_of_lease(task_type, order)
    lease_ends = tx.now + timedelta(seconds=seconds)
    attempt_ends = None
    if task_type.policies.attempt_timeout_seconds is not None:
        attempt_ends = tx.now + timedelta(seconds=task_type.policies.attempt_timeout_seconds)
        lease_ends = min(lease_ends, attempt_ends)
    return {
        "worker": order.worker_id,
        "at": tx.now,
        "token": make_token(task_type.id, seconds, tx.nonces[-1], has_followers=has_followers),
        "lease_ends": lease_ends,
        "attempt_ends": attempt_ends,
    }


def claim_tokens(tx: Transaction, types: dict[int, TaskType], order: ClaimOrder) -> list[str]:
    """Return the tokens that tasks of these types get from this claim, in any of its runs up to this one."""
    return [
        make_token(task_type.id, _seconds_of_lease(task_type, order), nonce, has_followers=has_followers)
        for task_type in types.values()
        for has_followers in (False, True)
        for nonce in tx.nonces
    ]


def _seconds_of_lease(task_type: TaskType, order: ClaimOrder) -> int:
    return order.lease_seconds or task_type.policies.lease_seconds


def _claimed(task: Row, task_type: TaskType, claim: Row) -> Row:
    """Return the row as it is after the claim, without reading it again."""
    return {
        **task,
        **SAME_FOR_ALL,
        "type": task_type.name,
        "claimed_by": claim["worker"],
        "claimed_at": claim["at"],
        "lease_token": claim["token"],
        "due_at": claim["lease_ends"],
        "attempt_ends_at": claim["attempt_ends"],
        "attempts": task["attempts"] + 1,
        "first_claimed_at": task["first_claimed_at"] or claim["at"],
        "updated_at": claim["at"],
    }


def recover_claims(tx: Transaction, types: dict[int, TaskType], order: ClaimOrder) -> list[Row]:
    """Return the tasks that earlier runs of this very claim took and still hold, if only their answers were lost.

    Where there are none, the claim begins anew, from the present on: a lease may have ended before the answer could
    be given, and one that counts from the first run's instant would be over from the start.
    """
    if not tx.is_rerun:
        return []
    found = tx.all(_ALREADY_CLAIMED, {"type_ids": list(types), "tokens": claim_tokens(tx, types, order)})
    if not found:
        tx.catch_up(tx.now)
    return [{**task, "type": types[task["type_id"]].name} for task in found]
