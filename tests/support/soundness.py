"""What must be true of a queue whatever has happened to it, and of its end: nobody is forgotten."""

from collections import Counter, defaultdict
from typing import Any

from sqlalchemy import select

from app.lifecycle import FINISHED, WAITING, TaskStatus
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fire import fire_due_schedules
from app.queue.line import admit_due
from app.queue.operate import run_operations
from app.queue.schedules import delete_schedule
from app.queue.signals import change_queue
from app.queue.task_types import find_type_by_id
from app.queue.usage import LAG, count_usage, read_usage
from app.storage.database import Row, Transaction
from app.storage.models import (
    attempts,
    concurrency_keys,
    counters,
    dependencies,
    line_places,
    operations,
    schedules,
    task_types,
    tasks,
)
from tests.support.clock import ManualClock
from tests.support.factories import Queue
from tests.support.tables import filled_tables

_ADMITTED = (TaskStatus.PENDING, TaskStatus.CLAIMED)
_MOST_ROUNDS = 20
_MONTH_SECONDS = 31 * 24 * 3600
_ENDS = select(attempts.c.task_id, attempts.c.lease_token)
#: All from which the future of a queue follows.
_STATE = (tasks, attempts, dependencies, line_places, concurrency_keys, schedules, operations, counters, task_types)
#: What differs from run to run: what is random, and what names other rows in a text.
_RANDOM = {"lease_token", "dedupe_hash"}
_NAMES_OTHERS = {"extras", "position", "filter", "up_to_task_id", "value"}


def check_now(queue: Queue, limits: dict[str, int] | None = None) -> None:
    """Check each task, each line and each limit as they stand at this moment."""
    queue.database.cache.clear()
    queue.do(_check_now, limits or {})


def _check_now(tx: Transaction, limits: dict[str, int]) -> None:
    rows = {row["id"]: row for row in tx.all(select(tasks))}
    edges = tx.all(select(dependencies))
    places = {place["task_id"]: place for place in tx.all(select(line_places))}
    for row in rows.values():
        _check_task(row)
    unmet = {edge["task_id"] for edge in edges if not edge["is_met"]}
    for edge in edges:
        task, other = rows.get(edge["task_id"]), rows.get(edge["depends_on_id"])
        if task is None or task["status"] in FINISHED:
            continue
        assert task["status"] == TaskStatus.BLOCKED or edge["is_met"], ("runs too early", task, edge)
        if other is not None and other["status"] not in FINISHED:
            assert not edge["is_met"], ("met before its end", edge)
            assert other["has_followers"], ("nobody will tell the dependent", edge)
    for row in rows.values():
        if row["status"] == TaskStatus.BLOCKED and row["id"] not in unmet:
            assert row["id"] in places, ("blocked by nothing", row)
    for task_id, place in places.items():
        assert rows[task_id]["has_followers"], ("nobody will free its place", rows[task_id])
        if rows[task_id]["status"] in WAITING or rows[task_id]["status"] == TaskStatus.CLAIMED:
            assert place["is_admitted"] == (rows[task_id]["status"] in _ADMITTED), ("place", place, rows[task_id])
    _check_attempts(tx)
    _check_limits(tx, rows, places, limits)


def _check_task(row: Row) -> None:
    status = TaskStatus(row["status"])
    assert (row["completed_at"] is not None) == (status in FINISHED), row
    assert 0 <= row["attempts"] <= row["max_attempts"], row
    assert (row["failure_reason"] is not None) == (status is TaskStatus.FAILED), row
    if status is TaskStatus.CLAIMED:
        assert row["lease_token"] and row["claimed_by"] and row["claimed_at"] and row["due_at"], row
        assert row["attempts"] > 0, row
    if status is TaskStatus.SCHEDULED or status in FINISHED:
        assert row["due_at"] is not None, ("no alarm will ever ring", row)


def _check_attempts(tx: Transaction) -> None:
    ends = Counter((end["task_id"], end["lease_token"]) for end in tx.all(_ENDS))
    assert set(ends.values()) <= {1}, f"an attempt has ended twice: {ends}"


def _check_limits(tx: Transaction, rows: dict[int, Row], places: dict[int, Row], limits: dict[str, int]) -> None:
    claimed: Counter[int] = Counter()
    of_key: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows.values():
        claimed[row["type_id"]] += row["status"] == TaskStatus.CLAIMED
        if row["id"] in places and row["status"] in _ADMITTED:
            of_key[places[row["id"]]["key_id"]].append(row)
    for type_id, number in claimed.items():
        most = limits.get("max_concurrency", find_type_by_id(tx, type_id).policies.max_concurrency)
        assert most is None or number <= most, f"{number} claimed of {most}"
    for admitted in of_key.values():
        policies = find_type_by_id(tx, admitted[0]["type_id"]).policies
        most = limits.get("key_max_concurrency", policies.key_max_concurrency)
        assert most is None or len(admitted) <= most, f"{len(admitted)} admitted of {most}"
        pending = sum(row["status"] == TaskStatus.PENDING for row in admitted)
        assert policies.key_order != "round_robin" or pending <= 1, f"{pending} of one key have their turn"


def describe_state(queue: Queue) -> str:
    """Return a text that is the same for two queues that are alike: each id stands in it as its place in its column."""

    def describe(tx: Transaction) -> str:
        tables = [table for table in filled_tables(tx) if table in _STATE]
        return "\n".join(f"{table.name}: {_describe(tx.all(select(table)))}" for table in tables)

    return queue.do(describe)


def _describe(rows: list[Row]) -> list[list[Any]]:
    columns = []
    for name in rows[0] if rows else ():
        if name not in _NAMES_OTHERS:
            values = [row[name] for row in rows]
            if name in _RANDOM:
                values = [value is not None for value in values]
            if name == "id" or name.endswith("_id"):
                places = sorted({value for value in values if value is not None})
                values = [None if value is None else places.index(value) for value in values]
            columns.append([name, *values])
    return columns


def let_all_end(
    queue: Queue, clock: ManualClock, limits: dict[str, int] | None = None, *, waits_for_dead: bool = False
) -> None:
    """Let time pass and a worker do what there is to do; all that waits must end, and nothing be left over.

    That takes hours, or, where tasks that were requeued wait for dead letters, until these are removed.
    """
    _open_everything(queue)
    ahead = [4000] * 6 + ([_MONTH_SECONDS] * 3 if waits_for_dead else [])
    while True:
        housekeep(queue)
        check_now(queue, limits)
        if not _work_off(queue, limits):
            left = queue.do(lambda tx: tx.all(select(tasks).where(tasks.c.status.not_in([int(s) for s in FINISHED]))))
            if not left:
                break
            assert ahead, f"forgotten: {left}"
            clock.advance(seconds=ahead.pop(0))
    clock.advance(seconds=LAG.total_seconds() + 1)
    housekeep(queue)
    check_now(queue)
    queue.do(_check_end)


def housekeep(queue: Queue) -> None:
    """Do what is due until nothing is."""
    for _ in range(_MOST_ROUNDS):
        queue.database.cache.clear()
        if not sum(queue.do(work) for work in (do_what_is_due, fire_due_schedules, admit_due, run_operations)):
            break
    else:
        raise AssertionError("housekeeping never comes to an end")
    while queue.do(count_usage):
        pass


def _open_everything(queue: Queue) -> None:
    queue.database.cache.clear()
    queue.do(change_queue, {"is_paused": False, "is_draining": False})
    queue.do(lambda tx: tx.execute(task_types.update().values(is_paused=False, is_active=True)))
    for row in queue.do(lambda tx: tx.all(select(schedules.c.id))):
        queue.do(delete_schedule, row["id"])


def _work_off(queue: Queue, limits: dict[str, int] | None) -> int:
    """Claim and complete what is claimable, one after the other, and return how many these were."""
    queue.database.cache.clear()
    kinds = [row["id"] for row in queue.do(lambda tx: tx.all(select(task_types.c.id)))]
    done = 0
    while (task := queue.claim(*kinds, worker_id="last") if kinds else None) is not None:
        check_now(queue, limits)
        queue.do(complete_task, task["id"], worker_id="last", lease_token=task["lease_token"], result=None)
        done += 1
    return done


def _check_end(tx: Transaction) -> None:
    rows = tx.all(select(tasks))
    assert not [row for row in rows if row["has_followers"]], "followers were not told"
    assert not tx.all(select(line_places)), "places are left over"
    assert not tx.all(select(operations).where(operations.c.status == "running")), "an operation never ends"
    for key in tx.all(select(concurrency_keys)):
        assert key["due_at"] is not None, ("a line is kept for ever", key)
    usage: dict[int, Any] = read_usage(tx)
    for type_id, number in Counter(row["type_id"] for row in rows).items():
        assert usage[type_id]["usage_count"] >= number, "the usage of the type misses tasks"
