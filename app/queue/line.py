"""Lines: tasks with the same concurrency key wait behind each other until they are admitted.

Only admitted tasks are pending or claimed, and only so many of each key are admitted that no limit can be exceeded
by claiming them. So a claim has nothing to check, and what may not be claimed never stands in its way. Whoever admits
holds the key's row, as does whoever adds, changes or removes a place, until the end of the transaction: that makes the
limits strict across processes. So the places themselves are read without locks; to lock them as well, in a table that
the database would rather scan, ended in deadlocks.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, false, insert, select, update

from app.errors import TryAgain
from app.lifecycle import TaskStatus
from app.policies import Policies, parse_rate
from app.queue.ranks import end_rank
from app.queue.task_types import TaskType, find_type_by_id, read_type_by_id
from app.storage.columns import EPOCH, Instant
from app.storage.database import Row, Transaction
from app.storage.models import concurrency_keys, line_places, tasks

SLICE = 500
# As many as one batch may bring.
_SLICE_OF_MANY = 1000
_MAX_TRIES = 10
_MICROSECOND = timedelta(microseconds=1)

_of_keys = line_places.c.key_id.in_(bindparam("key_ids", expanding=True))
_of_tasks = line_places.c.task_id.in_(bindparam("task_ids", expanding=True))
_KEYS = select(concurrency_keys.c.id, concurrency_keys.c.concurrency_key).where(
    concurrency_keys.c.type_id == bindparam("type_id"),
    concurrency_keys.c.concurrency_key.in_(bindparam("names", expanding=True)),
)
_ADD_KEYS = insert(concurrency_keys).prefix_with("IGNORE", dialect="mysql").prefix_with("OR IGNORE", dialect="sqlite")
_LOCK_KEYS = (
    select(concurrency_keys)
    .where(concurrency_keys.c.id.in_(bindparam("key_ids", expanding=True)))
    .order_by(concurrency_keys.c.id)
    .with_for_update()
)
_REMEMBER = (
    update(concurrency_keys)
    .where(concurrency_keys.c.id == bindparam("key_id"))
    .values(recent_claims=bindparam("recent", type_=concurrency_keys.c.recent_claims.type))
)
_SET_ALARM = (
    update(concurrency_keys)
    .where(concurrency_keys.c.id.in_(bindparam("key_ids", expanding=True)))
    .values(due_at=bindparam("alarm", type_=Instant))
)
_WITHOUT_PLACES = select(concurrency_keys).where(
    concurrency_keys.c.id.in_(bindparam("key_ids", expanding=True)),
    ~select(line_places.c.task_id).where(line_places.c.key_id == concurrency_keys.c.id).exists(),
)
_FORGET = delete(concurrency_keys).where(concurrency_keys.c.id.in_(bindparam("key_ids", expanding=True)))
_RECHECK = (
    update(concurrency_keys)
    .where(concurrency_keys.c.type_id == bindparam("of_type"))
    .values(due_at=bindparam("now", type_=Instant))
)
_DUE_KEYS = (
    select(concurrency_keys.c.id)
    .where(concurrency_keys.c.due_at <= bindparam("now", type_=Instant))
    .order_by(concurrency_keys.c.due_at)
    .limit(20)
)
# Before the key is held: the transaction holds the tasks, and nobody else gives them places or takes them away.
_PLACES = select(line_places.c.task_id, line_places.c.key_id).where(_of_tasks)
_LEAVE = delete(line_places).where(_of_tasks)
_JOIN = insert(line_places)
_MOVE_PLACE = (
    update(line_places).where(line_places.c.task_id == bindparam("of_task")).values(claim_rank=bindparam("rank"))
)
_ADMITTED = select(line_places.c.key_id, line_places.c.is_claimed).where(_of_keys, line_places.c.is_admitted)
_IN_LINE = (
    select(line_places.c.key_id, line_places.c.task_id)
    .where(_of_keys, line_places.c.is_admitted == false())
    # As the index has them, so that a slice is all that is read, however long the lines are.
    .order_by(line_places.c.key_id, line_places.c.is_admitted, line_places.c.claim_rank, line_places.c.task_id)
    .limit(bindparam("number"))
)
_BLOCKED = (
    select(tasks.c.id)
    # In a small table the database would rather scan, and wait for all that others hold.
    .with_hint(tasks, "FORCE INDEX (PRIMARY)", "mysql")
    .where(tasks.c.id.in_(bindparam("task_ids", expanding=True)), tasks.c.status == int(TaskStatus.BLOCKED))
    .with_for_update()
)
_PENDING_OF_KEY = (
    select(tasks.c.id)
    .select_from(line_places.join(tasks, tasks.c.id == line_places.c.task_id))
    .where(
        line_places.c.key_id == bindparam("key_id"),
        line_places.c.is_admitted,
        tasks.c.status == int(TaskStatus.PENDING),
    )
    .order_by(line_places.c.claim_rank.desc(), line_places.c.task_id.desc())
    .limit(bindparam("number"))
    .with_for_update()
)
# The alarm stays: a task in line could have been started, as far as its type's `expires_after_seconds` is concerned.
_ADMIT = (
    update(tasks)
    .where(tasks.c.id.in_(bindparam("task_ids", expanding=True)))
    .values(status=int(TaskStatus.PENDING), updated_at=bindparam("at", type_=Instant))
)
# Each key joins the end of the claims when its turn is over.
_ADMIT_IN_TURN = _ADMIT.values(claim_rank=bindparam("turn"))
_CALL_BACK = (
    update(tasks)
    .where(tasks.c.id.in_(bindparam("task_ids", expanding=True)))
    .values(status=int(TaskStatus.BLOCKED), updated_at=bindparam("at", type_=Instant))
)
_RANK_AS_IN_LINE = (
    update(tasks)
    .where(tasks.c.id.in_(bindparam("task_ids", expanding=True)), tasks.c.status == int(TaskStatus.BLOCKED))
    .values(
        claim_rank=select(line_places.c.claim_rank).where(line_places.c.task_id == tasks.c.id).scalar_subquery(),
    )
)
_SET_ADMITTED = update(line_places).where(_of_tasks).values(is_admitted=bindparam("is_in"))
_SET_CLAIMED = update(line_places).where(_of_tasks).values(is_claimed=True)


def line_key(task_type: TaskType, extras: dict[str, Any] | None) -> str | None:
    """Return the key in whose line such a task waits, or None if it waits in none.

    Where keys take turns, the tasks without a key take theirs together.
    """
    key: str | None = (extras or {}).get("concurrency_key")
    return "" if key is None and task_type.policies.key_order == "round_robin" else key


def join_line(tx: Transaction, blocked: Iterable[Row]) -> None:
    """Put these tasks, which the transaction has made blocked, into the lines of their keys, and admit whom it can."""
    by_type: dict[int, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for task in blocked:
        # The caller may know a later state of the type than the cache, in which the tasks without a key take turns too.
        key = line_key(find_type_by_id(tx, task["type_id"]), task["extras"]) or ""
        by_type[task["type_id"]][key].append(task)
    places = []
    for type_id, by_key in sorted(by_type.items()):
        ids = _hold_keys(tx, type_id, list(by_key))
        places += [
            {"task_id": task["id"], "key_id": ids[key], "is_admitted": False, "claim_rank": task["claim_rank"]}
            for key, of_key in by_key.items()
            for task in of_key
        ]
    key_ids = sorted({place["key_id"] for place in places})
    tx.execute(_LEAVE, {"task_ids": [place["task_id"] for place in places]})
    tx.execute(_JOIN, places)
    admit(tx, key_ids)


def rank_as_in_line(tx: Transaction, task_ids: list[int]) -> None:
    """Let those of these tasks that are in a line have their rank there, and not that of a turn which is over."""
    tx.execute(_RANK_AS_IN_LINE, {"task_ids": task_ids})


def _hold_keys(tx: Transaction, type_id: int, names: list[str]) -> dict[str, int]:
    """Hold the rows of these keys, which are made if they are missing, and return their ids."""
    for _try in range(_MAX_TRIES):
        ids = _find_keys(tx, type_id, names)
        # One that has just become idle may be gone.
        if len(tx.all(_LOCK_KEYS, {"key_ids": sorted(ids.values())})) == len(names):
            return ids
    raise TryAgain(retry_after_seconds=1)


def _find_keys(tx: Transaction, type_id: int, names: list[str]) -> dict[str, int]:
    parameters = {"type_id": type_id, "names": names}
    found = {row["concurrency_key"]: row["id"] for row in tx.all(_KEYS, parameters)}
    # In order, so that of two who add the same ones neither waits for the other.
    missing = sorted(name for name in names if name not in found)
    if missing:
        tx.execute(_ADD_KEYS, [{"type_id": type_id, "concurrency_key": name, "recent_claims": []} for name in missing])
        # With a lock, which also sees what somebody else has added in this moment.
        locked = tx.all(_KEYS.with_for_update(), parameters)
        found = {row["concurrency_key"]: row["id"] for row in locked}
    return found


def leave_line(tx: Transaction, task_ids: list[int]) -> None:
    """Take these tasks, finished or waiting for another time, out of the lines of their keys, and admit the next."""
    places = tx.all(_PLACES, {"task_ids": task_ids})
    if places:
        key_ids = sorted({place["key_id"] for place in places})
        tx.all(_LOCK_KEYS, {"key_ids": key_ids})
        tx.execute(_LEAVE, {"task_ids": task_ids})
        admit(tx, key_ids)
        _forget_idle(tx, key_ids)


def move_place(tx: Transaction, task_id: int, rank: int) -> None:
    """Give the task another place in the line of its key, if it has one there."""
    tx.execute(_MOVE_PLACE, {"of_task": task_id, "rank": rank})


def note_claims(tx: Transaction, task_ids: list[int]) -> None:
    """Count the claims of these tasks against the rates of their keys, and give the next of each key its turn.

    Belongs into the transaction of the claim: between a claim and its count the key would seem to have room.
    """
    places = tx.all(_PLACES, {"task_ids": task_ids})
    if not places:
        return
    numbers: dict[int, int] = defaultdict(int)
    for place in places:
        numbers[place["key_id"]] += 1
    keys = tx.all(_LOCK_KEYS, {"key_ids": sorted(numbers)})
    tx.execute(_SET_CLAIMED, {"task_ids": task_ids})
    for key in keys:
        policies = find_type_by_id(tx, key["type_id"]).policies
        if policies.key_rate_limit is not None:
            # However long this work has slept since its instant was taken: what is forgotten too early makes room for
            # one too many.
            tx.catch_up(EPOCH + timedelta(microseconds=max(key["recent_claims"], default=0)))
            recent = _recent_claims(tx, policies, key)
            claims = [_microseconds(tx.now)] * numbers[key["id"]]
            tx.execute(_REMEMBER, {"key_id": key["id"], "recent": [*recent, *claims]})
    admit(tx, sorted(numbers))


def recheck_lines(tx: Transaction, type_id: int) -> None:
    """Have housekeeping look at all lines of a type, because its limits per key have changed."""
    tx.execute(_RECHECK, {"of_type": type_id, "now": tx.now})


def admit_due(tx: Transaction) -> int:
    """Admit from the lines whose rate allows that again; return how many lines were looked at."""
    key_ids = [row["id"] for row in tx.all(_DUE_KEYS, {"now": tx.now})]
    if key_ids:
        # Their limits may have been changed by another process.
        tx.cache.clear()
    for key_id in key_ids:
        with tx.atomic():
            admit(tx, [key_id], is_due=True)
            _forget_idle(tx, [key_id])
    return len(key_ids)


def admit(tx: Transaction, key_ids: list[int], *, is_due: bool = False) -> None:
    """Admit as many tasks from the lines of these keys as their limits allow; call back where there are too many.

    An alarm that rings goes on ringing until housekeeping has looked (`is_due`): the limits may have been changed, and
    others know them only as they were.
    """
    keys = {key["id"]: key for key in tx.all(_LOCK_KEYS, {"key_ids": key_ids})}
    # As they are stored: a limit that was lowered by another process holds from now on.
    stored = {type_id: read_type_by_id(tx, type_id) for type_id in {key["type_id"] for key in keys.values()}}
    types = {key_id: stored[key["type_id"]] for key_id, key in keys.items()}
    rooms = _rooms(tx, keys, types)
    unfinished = {key_id for key_id, room in rooms.items() if room < 0 and _call_back(tx, key_id, types[key_id], -room)}
    number = min(sum(max(room, 0) for room in rooms.values()), SLICE) if len(keys) == 1 else _SLICE_OF_MANY
    # One more than may be admitted tells whether anybody is left in line.
    in_line = tx.all(_IN_LINE, {"key_ids": list(keys), "number": number + 1})
    is_cut = len(in_line) > number
    chosen: dict[int, list[int]] = defaultdict(list)
    left = set(keys) if is_cut else set()
    for place in in_line[:number]:
        if len(chosen[place["key_id"]]) < rooms[place["key_id"]]:
            chosen[place["key_id"]].append(place["task_id"])
        else:
            left.add(place["key_id"])
    _make_pending(tx, types, chosen)
    alarms: dict[datetime | None, list[int]] = defaultdict(list)
    for key_id, key in keys.items():
        due_at = None
        if key_id in unfinished or (is_cut and len(chosen[key_id]) < rooms[key_id]):
            # Housekeeping goes on where the slice ended.
            due_at = tx.now
        elif key_id in left:
            due_at = _frees_at(types[key_id].policies, _recent_claims(tx, types[key_id].policies, key))
        rings = key["due_at"] is not None and key["due_at"] <= tx.now and not is_due
        if due_at != key["due_at"] and not rings:
            alarms[due_at].append(key_id)
    for alarm, of_alarm in alarms.items():
        tx.execute(_SET_ALARM, {"key_ids": of_alarm, "alarm": alarm})


def _forget_idle(tx: Transaction, key_ids: list[int]) -> None:
    """Remove those of these keys, which the transaction holds, of which there is nothing left to know."""
    idle = []
    for key in tx.all(_WITHOUT_PLACES, {"key_ids": key_ids}):
        policies = find_type_by_id(tx, key["type_id"]).policies
        counted_until = _frees_at(policies, _recent_claims(tx, policies, key))
        if counted_until is None:
            idle.append(key["id"])
        else:
            tx.execute(_SET_ALARM, {"key_ids": [key["id"]], "alarm": counted_until})
    if idle:
        tx.execute(_FORGET, {"key_ids": idle})


def _rooms(tx: Transaction, keys: dict[int, Row], types: dict[int, TaskType]) -> dict[int, int]:
    """Return how many more tasks of each key may be admitted."""
    limited = [key_id for key_id in keys if types[key_id].has_limited_keys]
    admitted: dict[int, int] = defaultdict(int)
    claimed: dict[int, int] = defaultdict(int)
    if limited:
        for place in tx.all(_ADMITTED, {"key_ids": limited}):
            admitted[place["key_id"]] += 1
            claimed[place["key_id"]] += place["is_claimed"]
    rooms = {key_id: sys.maxsize for key_id in keys}
    for key_id in limited:
        policies = types[key_id].policies
        pending = admitted[key_id] - claimed[key_id]
        if policies.key_max_concurrency is not None:
            rooms[key_id] = policies.key_max_concurrency - admitted[key_id]
        if policies.key_rate_limit is not None:
            # What is pending may be claimed at any moment, so it counts as if it were.
            allowed, _seconds = parse_rate(policies.key_rate_limit)
            room = allowed - len(_recent_claims(tx, policies, keys[key_id])) - pending
            rooms[key_id] = min(rooms[key_id], room)
        if policies.key_order == "round_robin":
            rooms[key_id] = min(rooms[key_id], 1 - pending)
    return rooms


def _make_pending(tx: Transaction, types: dict[int, TaskType], chosen: dict[int, list[int]]) -> None:
    by_turn: dict[bool, list[int]] = defaultdict(list)
    for key_id, of_key in chosen.items():
        by_turn[types[key_id].policies.key_order == "round_robin"] += of_key
    for takes_turns, of_turn in by_turn.items():
        ids = [task["id"] for task in tx.all(_BLOCKED, {"task_ids": of_turn})]
        if ids:
            turn = {"turn": end_rank(tx.now)} if takes_turns else {}
            tx.execute(_ADMIT_IN_TURN if takes_turns else _ADMIT, {"task_ids": ids, "at": tx.now, **turn})
            tx.execute(_SET_ADMITTED, {"task_ids": ids, "is_in": True})


def _call_back(tx: Transaction, key_id: int, task_type: TaskType, surplus: int) -> bool:
    """Put pending tasks back into the line, the last first: a limit was lowered. Tell whether there may be more."""
    surplus_tasks = tx.all(_PENDING_OF_KEY, {"key_id": key_id, "number": min(surplus, SLICE)})
    ids = [task["id"] for task in surplus_tasks]
    if ids:
        tx.execute(_CALL_BACK, {"task_ids": ids, "at": tx.now})
        tx.execute(_SET_ADMITTED, {"task_ids": ids, "is_in": False})
        if task_type.policies.key_order == "round_robin":
            rank_as_in_line(tx, ids)
    return len(ids) == SLICE < surplus


def _recent_claims(tx: Transaction, policies: Policies, key: Row) -> list[int]:
    if policies.key_rate_limit is None:
        return []
    _claims, seconds = parse_rate(policies.key_rate_limit)
    since = _microseconds(tx.now - timedelta(seconds=seconds))
    return [claimed_at for claimed_at in key["recent_claims"] if claimed_at > since]


def _frees_at(policies: Policies, recent: list[int]) -> datetime | None:
    """Return when the oldest of the recent claims ceases to count, if there is one."""
    if policies.key_rate_limit is None or not recent:
        return None
    _claims, seconds = parse_rate(policies.key_rate_limit)
    return EPOCH + timedelta(microseconds=recent[0]) + timedelta(seconds=seconds)


def _microseconds(instant: datetime) -> int:
    return (instant - EPOCH) // _MICROSECOND
