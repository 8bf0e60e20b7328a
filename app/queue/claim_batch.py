"""Claim a batch: which tasks a worker gets that asks for many; how they are taken is in take_batch.py."""

from collections.abc import Sequence
from itertools import accumulate

from sqlalchemy import bindparam, func, select

from app.lifecycle import TaskStatus
from app.queue.claim import (
    FROM_PLACE,
    IN_ORDER,
    OVERDUE_SLICE,
    claim_task,
    claimable,
    columns_of,
    heads_in_order,
    look_at_type,
    look_from,
    place_in_order,
    those_open,
)
from app.queue.expire import expire_waiting
from app.queue.floor import find_floor
from app.queue.take import SAME_FOR_ALL, TOLD, ClaimOrder, claim_tokens, is_overdue, recover_claims
from app.queue.take_batch import take_batch
from app.queue.task_types import TaskType, find_types
from app.storage.database import Row, Transaction
from app.storage.hints import BY_PRIMARY_KEY
from app.storage.models import tasks
from app.storage.prepared import Prepared

MAX_TASKS = 100
# The parameters of all tasks of one answer, which are held in memory whole.
MAX_CHARACTERS = 8 * 1024 * 1024
_ROUNDS = 20

_SEEN = claimable(
    tasks.c.id, tasks.c.type_id, tasks.c.claim_rank, tasks.c.due_at, func.length(tasks.c.params).label("size")
).limit(bindparam("number"))
_in_order = _SEEN.where(tasks.c.type_id == bindparam("type_id")).order_by(*IN_ORDER)
_OTHERS = tasks.c.id.not_in(bindparam("passed_by", expanding=True))
_next = _in_order.where(_OTHERS)
_FIRST, _NEXT = Prepared(_in_order), Prepared(_next)
_FROM_PLACE = {_FIRST: Prepared(_in_order.where(FROM_PLACE)), _NEXT: Prepared(_next.where(FROM_PLACE))}
_OF_TYPES = _SEEN.where(tasks.c.type_id.in_(bindparam("type_ids", expanding=True)))
# What the claim has set to the same for every task needs no reading.
_TAKEN = Prepared(
    select(*(column for column in TOLD if column.name not in SAME_FOR_ALL))
    .with_hint(tasks, BY_PRIMARY_KEY, "mysql")
    .where(
        tasks.c.id.in_(bindparam("task_ids", expanding=True)),
        tasks.c.status == int(TaskStatus.CLAIMED),
        tasks.c.lease_token.in_(bindparam("tokens", expanding=True)),
    )
)


def claim_tasks(tx: Transaction, type_ids: Sequence[int], order: ClaimOrder, max_tasks: int) -> list[Row]:
    """Claim the first `max_tasks` tasks of these types, or as many as there are, and return their rows.

    As `claim_task`, it waits for no other open transaction and misses no claimable task. Candidates are looked at
    without locks and without what is heavy, taken by one guarded update for each type, and then read whole. Where
    the parameters come to more than MAX_CHARACTERS, fewer tasks are claimed, but at least one.
    """
    if max_tasks == 1:
        task = claim_task(tx, type_ids, order)
        return [] if task is None else [task]
    types = find_types(tx, type_ids)
    if own := recover_claims(tx, types, order):
        return own
    open_types = those_open(tx, types, order)
    tried_for = _take_first(tx, open_types, order, max_tasks) if open_types else []
    if not tried_for:
        return []
    rows = tx.all(_TAKEN, {"task_ids": tried_for, "tokens": claim_tokens(tx, types, order)})
    place = {task_id: number for number, task_id in enumerate(tried_for)}
    rows.sort(key=lambda row: place[row["id"]])
    same = {**SAME_FOR_ALL, "claimed_by": order.worker_id}
    return [{**row, **same, "type": types[row["type_id"]].name, "updated_at": row["claimed_at"]} for row in rows]


def _take_first(tx: Transaction, open_types: dict[int, TaskType], order: ClaimOrder, max_tasks: int) -> list[int]:
    """Take up to so many tasks and return, in order, the ids among which they are: most often just theirs."""
    # The places of those that were tried, as they were first seen.
    places: dict[int, int] = {}
    tried_for: list[int] = []
    passed_by: list[int] = []
    wanted, looked_at, room = max_tasks, max_tasks, MAX_CHARACTERS
    for number in range(_ROUNDS):
        seen = _look(tx, open_types, order, looked_at, passed_by)
        overdue = [task["id"] for task in seen if is_overdue(tx, task)]
        if overdue and expire_waiting(tx, overdue) < len(overdue):
            passed_by += overdue
        good = [task for task in seen if not is_overdue(tx, task)][:wanted]
        fitting = _fitting(good, room, at_least=1 if wanted == max_tasks else 0)
        for task in fitting:
            places.setdefault(task["id"], len(places))
        is_all = len(seen) < looked_at and len(overdue) + len(fitting) == len(seen)
        is_full = len(fitting) < len(good)
        for type_id in {task["type_id"]: None for task in fitting}:
            tried = {task["id"]: task["size"] for task in fitting if task["type_id"] == type_id}
            taken = take_batch(tx, open_types[type_id], order, list(tried), is_first_try=number == 0)
            if taken is None:
                is_all = is_full = False
                continue
            if taken.number:
                wanted -= taken.number
                tried_for += tried
                room -= sum(tried.values())
            passed_by += taken.held
            if not taken.has_more:
                del open_types[type_id]
        if wanted == 0 or not open_types or is_all or (is_full and wanted < max_tasks):
            break
        # What others hold, and what is overdue, may be many. What they have taken is not seen again.
        looked_at = min(2 * looked_at, OVERDUE_SLICE) if overdue or passed_by else wanted
    return sorted(tried_for, key=places.__getitem__)


def _fitting(good: list[Row], room: int, *, at_least: int) -> list[Row]:
    """Return the first of these, as many as fit into so many characters of parameters."""
    fits = sum(total <= room for total in accumulate(task["size"] for task in good))
    return good[: max(fits, at_least)]


def _look(
    tx: Transaction, types: dict[int, TaskType], order: ClaimOrder, number: int, passed_by: list[int]
) -> list[Row]:
    """Return the first claimable tasks of these types that were not passed by, without locks."""
    if order.sort_by is not None:
        statement = _OF_TYPES.where(_OTHERS).order_by(*columns_of(order))
        return tx.all(statement, {"type_ids": list(types), "passed_by": passed_by, "number": number})
    if len(types) == 1:
        return _look_at_type(tx, next(iter(types)), number, passed_by)
    first: list[Row] = []
    for heads in heads_in_order(tx, list(types)):
        first = []
        for head in heads:
            # All that this type and those behind it have comes later.
            if len(first) == number and place_in_order(first[-1]) < place_in_order(head):
                break
            first += _look_at_type(tx, head["type_id"], number, passed_by)
            first = sorted(first, key=place_in_order)[:number]
        if len(first) == number:
            break
    return first


def _look_at_type(tx: Transaction, type_id: int, number: int, passed_by: list[int]) -> list[Row]:
    statement = _NEXT if passed_by else _FIRST
    parameters: Row = {"type_id": type_id, "number": number, **({"passed_by": passed_by} if passed_by else {})}

    def look(place: Row | None) -> list[Row]:
        if place is None:
            return tx.all(statement, parameters)
        return look_from(tx, _FROM_PLACE[statement], parameters | place)

    floor = find_floor(tx, type_id)
    if floor is not None and len(found := look(floor)) == number:
        return found
    return look_at_type(tx, type_id, look)
