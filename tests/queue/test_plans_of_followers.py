"""How the databases find dependents and places in line: through their indexes, however many there are."""

from collections.abc import Callable
from typing import Any

import pytest

from app.lifecycle import TaskStatus
from app.queue.follow import follow_up
from app.queue.line import admit
from app.storage.database import Database, Transaction
from app.storage.models import concurrency_keys, dependencies, line_places, tasks
from tests.support.factories import Queue
from tests.support.plans import plan, recorded

MANY = 2000


@pytest.fixture
def full_queue(queue: Queue) -> Queue:
    """Two thousand tasks, each in the line of one of twenty keys and dependent on one of four tasks."""
    kind = queue.register(key_max_concurrency=1)
    first = [queue.create() for _ in range(4)]

    def fill(tx: Transaction) -> None:
        ids = [
            tx.insert(concurrency_keys.insert(), {"type_id": kind, "concurrency_key": f"key {n}", "recent_claims": []})
            for n in range(20)
        ]
        numbers = range(10**6, 10**6 + MANY)
        # Neither is checked for the tasks to exist before the transaction ends, and it never does.
        tx.execute(
            line_places.insert(),
            [{"task_id": n, "key_id": ids[n % 20], "is_admitted": False, "claim_rank": n % 7} for n in numbers],
        )
        tx.execute(
            dependencies.insert(),
            [
                {"task_id": n, "depends_on_id": first[n % 4]["id"], "on_failure": "fail", "is_met": n % 3 == 0}
                for n in numbers
            ],
        )

    with queue.database.engine.connect() as connection:
        off, on = ("PRAGMA foreign_keys=OFF", "ANALYZE")
        if queue.database.engine.dialect.name == "mysql":
            off, on = "SET SESSION foreign_key_checks=0", "ANALYZE TABLE line_places, dependencies, concurrency_keys"
        connection.exec_driver_sql(off)
        fill(_On(connection))  # type: ignore[arg-type]
        connection.exec_driver_sql(on).close()
        connection.invalidate()
    return queue


class _On:
    """As much of a transaction as filling takes, on a connection that checks no foreign keys."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: Any, rows: Any) -> None:
        self._connection.execute(statement, rows)

    def insert(self, statement: Any, values: Any) -> int:
        return int(self._connection.execute(statement, values).inserted_primary_key[0])


def steps_of(database: Database, work: Callable[[Transaction], Any], table: str) -> list[list[dict[str, Any]]]:
    with recorded(database) as statements:
        database.write(work)
    return [plan(database, statement) for statement in statements if f"FROM {table}" in statement[0]]


def is_through(step: dict[str, Any], table: str) -> bool:
    if "detail" in step:
        return f"SCAN {table}" not in step["detail"] and "TEMP B-TREE" not in step["detail"]
    extra = step["Extra"] or ""
    return step["type"] not in ("ALL", "index") and "filesort" not in extra and "temporary" not in extra


@pytest.mark.parametrize("number", [1, 3])
def test_places_in_line_are_found_in_their_order(full_queue: Queue, number: int) -> None:
    keys = full_queue.do(lambda tx: tx.all(concurrency_keys.select()))
    plans = steps_of(full_queue.database, lambda tx: admit(tx, [key["id"] for key in keys[:number]]), "line_places")
    assert len(plans) >= 2
    for steps in plans:
        assert all(is_through(step, "line_places") for step in steps), steps


def test_dependents_are_found_by_what_they_wait_for(full_queue: Queue) -> None:
    first = min(row["depends_on_id"] for row in full_queue.do(lambda tx: tx.all(dependencies.select())))
    ended = {"status": int(TaskStatus.COMPLETED), "completed_at": tasks.c.created_at, "has_followers": True}
    full_queue.do(lambda tx: tx.execute(tasks.update().where(tasks.c.id == first).values(**ended)))
    plans = steps_of(full_queue.database, lambda tx: follow_up(tx, [first]), "dependencies")
    assert plans
    for steps in plans:
        assert all(is_through(step, "dependencies") for step in steps), steps
