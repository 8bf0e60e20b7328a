"""Take a batch: make many pending tasks of one type the worker's, by one guarded update."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, case, select, update

from app.lifecycle import TaskStatus
from app.queue.limits import Allowance, LimitReached, count_claims, lock_limits
from app.queue.line import note_claims
from app.queue.take import TAKEN, ClaimOrder, claim_values
from app.queue.task_types import TaskType
from app.storage.database import Row, Transaction
from app.storage.hints import BY_PRIMARY_KEY
from app.storage.models import tasks
from app.storage.prepared import Prepared

_PENDING = (
    tasks.c.id.in_(bindparam("task_ids", expanding=True)),
    tasks.c.status == int(TaskStatus.PENDING),
)
_TAKE = Prepared(
    update(tasks)
    .with_hint(BY_PRIMARY_KEY, dialect_name="mysql")
    .where(*_PENDING)
    .values(**{**TAKEN, "lease_token": case((tasks.c.has_followers, bindparam("followed")), else_=bindparam("token"))})
)
_waiting = select(tasks.c.id).with_hint(tasks, BY_PRIMARY_KEY, "mysql").where(*_PENDING)
_WAITING, _FREE = Prepared(_waiting), Prepared(_waiting.with_for_update(skip_locked=True))
# Where an update cannot but wait for a held row, it waits a second.
_MAX_WAITS = 3


class Taken(NamedTuple):
    """How many of some tasks were taken, which of them somebody else may hold, and whether the type may have more."""

    number: int
    held: Sequence[int]
    has_more: bool


def take_batch(
    tx: Transaction, task_type: TaskType, order: ClaimOrder, task_ids: Sequence[int], *, is_first_try: bool
) -> Taken | None:
    """Take those of these tasks that are still claimable, are held by nobody and fit the limits, first ones first.

    All that were taken have the tokens of this claim. At the first try, where an update can be told not to wait, None
    is returned if somebody holds one of them: most often that is another claim, and another look a moment later does
    not see them any more.
    """
    if not task_type.needs_transaction and (tx.misses_locked_rows or not tx.skips_locked_rows):
        taken = tx.changes_without_waiting(_TAKE, {**_claim_values(tx, task_type, order), "task_ids": task_ids})
        if taken is not None:
            # The others are gone.
            return Taken(taken, [], True)
        if is_first_try and tx.misses_locked_rows and tx.dialect.without_waiting:
            return None
        if tx.skips_locked_rows and not tx.all(_FREE, {"task_ids": task_ids}):
            # Another claim has them all: a transaction would find no more.
            return Taken(0, task_ids, True)
    try:
        return _take_in_transaction(tx, task_type, order, task_ids)
    except LimitReached:
        return Taken(0, [], False)


def _claim_values(tx: Transaction, task_type: TaskType, order: ClaimOrder) -> Row:
    followed = claim_values(tx, task_type, order, has_followers=True)["token"]
    return {**claim_values(tx, task_type, order, has_followers=False), "followed": followed}


def _take_in_transaction(tx: Transaction, task_type: TaskType, order: ClaimOrder, task_ids: Sequence[int]) -> Taken:
    wanted = len(task_ids)
    with tx.atomic():
        allowed = lock_limits(tx, task_type, wanted) if task_type.is_limited else Allowance(wanted, [])
        taken = _take_free(tx, _claim_values(tx, task_type, order), task_ids, allowed.number)
        if taken:
            count_claims(tx, task_type, allowed.recent, len(taken))
            if task_type.counts_claims_per_key:
                note_claims(tx, taken)
    has_more = len(taken) < allowed.number or allowed.number == wanted
    return Taken(len(taken), list({*task_ids} - {*taken}) if has_more else [], has_more)


def _take_free(tx: Transaction, claim: Row, task_ids: Sequence[int], number: int) -> list[int]:
    """Take the first `number` of those that nobody holds, and return which these were."""
    if tx.skips_locked_rows:
        free = {row["id"] for row in tx.all(_FREE, {"task_ids": task_ids})}
        first = [task_id for task_id in task_ids if task_id in free][:number]
        if first:
            tx.changes(_TAKE, {**claim, "task_ids": first})
        return first
    # One held row fails the whole update, so the others are taken one by one.
    taken: list[int] = []
    waits = 0
    still_there = {row["id"] for row in tx.all(_WAITING, {"task_ids": task_ids})}
    for task_id in task_ids:
        if len(taken) == number or waits == _MAX_WAITS:
            break
        if task_id in still_there:
            if tx.changes_without_waiting(_TAKE, {**claim, "task_ids": [task_id]}):
                taken.append(task_id)
            elif not tx.misses_locked_rows:
                waits += 1
    return taken
