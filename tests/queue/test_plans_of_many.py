"""The hot paths on an analysed table of 200,000 tasks: nothing is sorted or made, nor read beyond what is returned."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from app.lifecycle import FailureReason, TaskStatus
from app.policies import Policies
from app.queue.claim import claim_task
from app.queue.claim_batch import claim_tasks
from app.queue.complete import complete_task
from app.queue.create import create_task
from app.queue.due import do_what_is_due
from app.queue.heartbeat import beat, report_progress
from app.queue.new_task import NewTask
from app.queue.ranks import end_rank
from app.queue.register import register_type
from app.queue.report_batch import Report, apply_reports
from app.queue.sightings import note_worker
from app.queue.statistics import read_statistics
from app.queue.take import ClaimOrder
from app.queue.tasks import list_tasks, read_task
from app.storage.database import Database, Row, Transaction
from app.storage.models import tasks, workers
from tests.support.plans import Statement, check, check_bounded, is_mysql, plan, recorded

TYPES = 4
ROWS = 200_000
_TEMPLATES = 1_000
ORDER = ClaimOrder(worker_id="worker-1")
Work = Callable[[Transaction], Any]


def _fill(database: Database) -> list[int]:
    """Add the tasks, half of them finished, behind them the others pending, and a few in each other state."""

    def begin(tx: Transaction) -> list[int]:
        of_type: dict[str, Any] = {"version": "1", "param_schema": {"type": "object"}, "policies": {}}
        rows = [
            register_type(tx, name=f"type-{number}", defaults=Policies(), **of_type)[0]
            for number in range(1, TYPES + 1)
        ]
        type_ids = [row["id"] for row in rows]
        for status in (TaskStatus.COMPLETED, TaskStatus.PENDING):
            tx.execute(tasks.insert(), [_row(tx, status, type_ids, number) for number in range(_TEMPLATES)])
        return type_ids

    type_ids = database.write(begin)
    columns = ", ".join(column.name for column in tasks.c if column.name != "id")
    for status in (TaskStatus.COMPLETED, TaskStatus.PENDING):
        number = _TEMPLATES
        while number < ROWS // 2:
            more = min(number, ROWS // 2 - number)
            copy = text(
                f"INSERT INTO tasks ({columns}) SELECT {columns} FROM tasks WHERE status = {int(status)} "
                f"ORDER BY id LIMIT {more}"
            )
            database.write(lambda tx, copy=copy: tx.execute(copy))
            number += more

    def end(tx: Transaction) -> None:
        rare = register_type(tx, name="rare", defaults=Policies(), version="1", param_schema={}, policies={})[0]["id"]
        tx.execute(tasks.insert(), [_row(tx, TaskStatus.COMPLETED, [rare] * TYPES, number) for number in range(20)])
        few = (TaskStatus.FAILED, TaskStatus.SCHEDULED, TaskStatus.CANCELLED, TaskStatus.CLAIMED)
        tx.execute(tasks.insert(), [_row(tx, status, type_ids, number) for status in few for number in range(20)])
        seen = {"first_seen_at": tx.now, "last_seen_at": tx.now}
        tx.execute(workers.insert(), [{"worker_id": f"worker-{number}", **seen} for number in range(10_000)])

    database.write(end)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE TABLE tasks, workers" if is_mysql(database) else "ANALYZE").close()
    database.cache.clear()
    return type_ids


def _row(tx: Transaction, status: TaskStatus, type_ids: list[int], number: int) -> Row:
    is_finished = status in (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED)
    return {
        **{column.name: None for column in tasks.c if column.name != "id"},
        "type_id": type_ids[number % TYPES],
        "status": int(status),
        "priority": number % 5,
        "claim_rank": end_rank(tx.now) - number if is_finished else -(number % 5),
        "has_followers": False,
        "due_at": None if status == TaskStatus.PENDING else tx.now + timedelta(days=1 + number % 7),
        "failure_reason": FailureReason.NOT_RETRYABLE if status == TaskStatus.FAILED else None,
        "params": {"path": f"chapter-{number}.txt"},
        "progress": 0,
        "attempts": 0,
        "max_attempts": 3,
        "claimed_at": tx.now if is_finished else None,
        "completed_at": tx.now if is_finished else None,
        "available_at": tx.now,
        "created_at": tx.now,
        "updated_at": tx.now,
        "dedupe_forever": 0,
    }


def _hot_paths(type_ids: list[int]) -> dict[str, Work]:
    """Return the work of each hot request, by its name."""
    held: dict[str, Any] = {}

    def claim(tx: Transaction) -> None:
        held["task"] = claim_task(tx, type_ids[:1], ORDER)

    def claim_batch(tx: Transaction) -> None:
        held["batch"] = claim_tasks(tx, type_ids[:1], ORDER, 50)

    def holder() -> dict[str, Any]:
        return {"worker_id": ORDER.worker_id, "lease_token": held["task"]["lease_token"]}

    def complete_batch(tx: Transaction) -> None:
        reports = [
            Report(task_id=task["id"], lease_token=task["lease_token"], is_success=True) for task in held["batch"]
        ]
        apply_reports(tx, ORDER.worker_id, reports)

    def lists(**filters: Any) -> Work:
        return lambda tx: list_tasks(tx, limit=50, **filters)

    asked = {type_id: None for type_id in type_ids}
    return {
        "claim": claim,
        "claim of several types": lambda tx: claim_task(tx, type_ids, ORDER),
        "claim of 50": claim_batch,
        "claim of 50 of several types": lambda tx: claim_tasks(tx, type_ids, ORDER, 50),
        "heartbeat": lambda tx: beat(tx, held["task"]["id"], **holder(), lease_seconds=None),
        "progress": lambda tx: report_progress(tx, held["task"]["id"], **holder(), progress=5, message=None),
        "complete": lambda tx: complete_task(tx, held["task"]["id"], **holder(), result=None),
        "complete of 50": complete_batch,
        "create": lambda tx: create_task(tx, NewTask(type_name="type-1", params={"n": 1})),
        "create of a duplicate": lambda tx: create_task(tx, NewTask(type_name="type-1", params={"n": 1})),
        "status": lambda tx: read_task(tx, held["task"]["id"]),
        "list": lists(),
        "list of completed tasks": lists(statuses=[TaskStatus.COMPLETED]),
        "list of pending tasks": lists(statuses=[TaskStatus.PENDING]),
        "list of the few failed tasks": lists(statuses=[TaskStatus.FAILED]),
        "list of unfinished tasks": lists(statuses=[TaskStatus.SCHEDULED, TaskStatus.PENDING, TaskStatus.CLAIMED]),
        "list of a type": lists(type_name="type-2"),
        "list of a type with few tasks": lists(type_name="rare"),
        "list of the pending tasks of a type": lists(type_name="type-2", statuses=[TaskStatus.PENDING]),
        "list of the few completed tasks of a type": lists(type_name="rare", statuses=[TaskStatus.COMPLETED]),
        "next page of completed tasks": lists(statuses=[TaskStatus.COMPLETED], below_id=held.get("below", 10**6)),
        "what is due": do_what_is_due,
        "sighting": lambda tx: note_worker(tx, "worker-7", version=None, asked={key: tx.now for key in asked}),
    }


def test_no_hot_request_sorts_or_reads_more_than_it_returns(database: Database) -> None:
    type_ids = _fill(database)
    for name, work in _hot_paths(type_ids).items():
        with recorded(database, with_updates=True) as statements:
            database.write(work, atomic=False)
        assert statements or name in ("create", "sighting"), name
        for statement in (each for each in statements if "tasks" in each[0]):
            if " AS head" in statement[0]:
                # The first task of each type: these few are put in order, and the list of types is short.
                check(database, plan(database, statement), "ix_tasks_claim", may_sort=True)
            elif name not in ("list", "list of unfinished tasks", "list of the few completed tasks of a type"):
                # One walks down the primary key, the other merges a page of each status, which are short.
                check_bounded(database, statement)
            if is_mysql(database) and statement[0].startswith("SELECT") and "FOR UPDATE" not in statement[0]:
                returned, read = _reads(database, statement)
                # Each is found by a step in an index; of several types, or joined, by two. The tasks of one type
                # with one status stand among those of the other types.
                returned *= TYPES if name == "list of the pending tasks of a type" else 1
                # The pages of three statuses are put together, put in order, and read.
                returned *= 6 if name == "list of unfinished tasks" else 1
                assert read <= 2 * returned + 6 * TYPES, f"{name}: {read} rows read for {returned}: {statement[0]}"
    _check_statistics(database)


def _reads(database: Database, statement: Statement) -> tuple[int, int]:
    """Return how many rows the statement returns, and how many the server reads for them."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("FLUSH STATUS")
        returned = len(connection.exec_driver_sql(statement[0], statement[1]).all())
        counters = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").all()
    return returned, sum(int(number) for _name, number in counters)


def _check_statistics(database: Database) -> None:
    """Assert that they count at most as far as they say, however many tasks there are."""
    with recorded(database) as statements:
        database.read(lambda tx: read_statistics(tx, "type-1"))
    for statement in statements:
        check_bounded(database, statement)
