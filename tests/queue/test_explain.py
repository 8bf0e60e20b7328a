"""Every question of the hot paths goes through the index that was made for it, and nothing is sorted for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.claim import claim_task
from app.queue.due import do_what_is_due
from app.queue.register import register_type
from app.queue.take import ClaimOrder
from app.queue.tasks import list_tasks, read_task
from app.storage.database import Database, Transaction
from app.storage.models import tasks

TYPES = 3
ROWS = 20_000
_CHUNK = 500
ORDER = ClaimOrder(worker_id="worker-1")
Statement = tuple[str, Any]


@pytest.fixture
def full_database(database: Database) -> Database:
    """Some 20,000 tasks of three types and all common statuses, known to the planner."""

    def fill(tx: Transaction) -> None:
        for number in range(1, TYPES + 1):
            row, _ = register_type(
                tx,
                name=f"type-{number}",
                version="1",
                param_schema={"type": "object"},
                policies={},
                defaults=Policies(),
            )
            type_ids.append(row["id"])
        tx.execute(tasks.insert(), [_row(tx, type_ids, number) for number in range(_CHUNK)])

    type_ids: list[int] = []
    database.write(fill)
    columns = ", ".join(column.name for column in tasks.c if column.name != "id")
    for _ in range(ROWS // _CHUNK - 1):
        copy = text(f"INSERT INTO tasks ({columns}) SELECT {columns} FROM tasks ORDER BY id LIMIT {_CHUNK}")
        database.write(lambda tx, copy=copy: tx.execute(copy))
    with database.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE TABLE tasks" if _is_mysql(database) else "ANALYZE").close()
    return database


def _row(tx: Transaction, type_ids: list[int], number: int) -> dict[str, Any]:
    # A tenth of each: waiting for its time, claimed, with a deadline; three tenths pending, the others finished.
    status = (
        TaskStatus.SCHEDULED,
        TaskStatus.CLAIMED,
        TaskStatus.PENDING,
        TaskStatus.PENDING,
        TaskStatus.PENDING,
        *[TaskStatus.COMPLETED] * 5,
    )[number % 10]
    alarm = None if status == TaskStatus.PENDING else tx.now + timedelta(days=1 + number % 7)
    row = {column.name: None for column in tasks.c if column.name != "id"}
    return {
        **row,
        "type_id": type_ids[number % TYPES],
        "status": int(status),
        "priority": number % 5,
        "claim_rank": -(number % 5),
        "has_followers": False,
        "due_at": alarm,
        "params": {"path": f"chapter-{number}.txt"},
        "progress": 0,
        "attempts": 0,
        "max_attempts": 3,
        "claimed_by": "worker-0" if status == TaskStatus.CLAIMED else None,
        "available_at": tx.now,
        "created_at": tx.now,
        "updated_at": tx.now,
        "dedupe_forever": 0,
    }


def _is_mysql(database: Database) -> bool:
    return database.engine.dialect.name == "mysql"


@contextmanager
def recorded(database: Database) -> Iterator[list[Statement]]:
    """Collect the statements that are really sent, as they are sent."""
    statements: list[Statement] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if statement.startswith("SELECT") and ("FROM tasks" in statement or "JOIN tasks" in statement):
            statements.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", keep)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", keep)


def plan(database: Database, statement: Statement) -> list[dict[str, Any]]:
    verb = "EXPLAIN" if _is_mysql(database) else "EXPLAIN QUERY PLAN"
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{verb} {statement[0]}", statement[1]).mappings()
        return [dict(row) for row in rows]


def check(database: Database, steps: list[dict[str, Any]], index: str, *, may_sort: bool = False) -> None:
    """Assert that `tasks` is only ever looked at through `index`, and, unless it `may_sort`, that nothing is sorted."""
    assert steps
    if _is_mysql(database):
        of_tasks = [step for step in steps if step["table"] in ("tasks", "head")]
        assert of_tasks, steps
        for step in of_tasks:
            is_read = step["type"] in ("const", "eq_ref", "ref", "range", "index_subquery", "unique_subquery")
            assert is_read and step["key"] in (index, "PRIMARY"), step
        assert any(step["key"] == index for step in of_tasks), steps
        extra = "; ".join(step["Extra"] or "" for step in steps)
        assert may_sort or ("filesort" not in extra and "temporary" not in extra), steps
        return
    details = [step["detail"] for step in steps]
    looks = [detail for detail in details if " tasks" in detail or " head" in detail]
    assert looks and all(look.startswith("SEARCH") for look in looks), details
    name = "INTEGER PRIMARY KEY" if index == "PRIMARY" else f" {index} "
    assert any(name in look for look in looks), details
    assert may_sort or not any("TEMP B-TREE" in detail for detail in details), details


def _type_ids(database: Database) -> list[int]:
    return sorted({row["type_id"] for row in database.read(lambda tx: list_tasks(tx, limit=10))})


def _statements(database: Database, work: Callable[[Transaction], Any]) -> list[Statement]:
    with recorded(database) as statements:
        database.write(work, atomic=False)
    return statements


def test_a_claim_of_one_type_finds_its_task_at_the_head_of_the_index(full_database: Database) -> None:
    type_id = _type_ids(full_database)[0]
    (head,) = _statements(full_database, lambda tx: claim_task(tx, [type_id], ORDER))[:1]
    check(full_database, plan(full_database, head), "ix_tasks_claim")


def test_a_claim_that_skips_what_others_hold_uses_the_same_index(full_database: Database) -> None:
    type_id = _type_ids(full_database)[0]
    full_database.write(
        lambda tx: tx.execute(text("UPDATE task_types SET max_concurrency = 1000000, revision = revision + 1"))
    )
    full_database.cache.clear()
    statements = _statements(full_database, lambda tx: claim_task(tx, [type_id], ORDER))
    heads = [statement for statement in statements if "ORDER BY tasks.claim_rank" in statement[0]]
    assert len(heads) == 2
    for head in heads:
        check(full_database, plan(full_database, head), "ix_tasks_claim")
    (count,) = [statement for statement in statements if "count(" in statement[0]]
    check(full_database, plan(full_database, count), "ix_tasks_claim")


def test_a_claim_of_several_types_looks_at_one_entry_for_each(full_database: Database) -> None:
    type_ids = _type_ids(full_database)
    assert len(type_ids) == TYPES
    (types, head) = _statements(full_database, lambda tx: claim_task(tx, type_ids, ORDER))[:2]
    # Three types are put in order: that is the one sort, and it is as long as the list of types.
    steps = plan(full_database, types)
    check(full_database, steps, "ix_tasks_claim", may_sort=True)
    check(full_database, plan(full_database, head), "ix_tasks_claim")


def test_what_time_must_do_is_found_through_the_alarm(full_database: Database) -> None:
    (due,) = _statements(full_database, do_what_is_due)
    check(full_database, plan(full_database, due), "ix_tasks_due_at")


def test_a_task_is_read_by_its_primary_key(full_database: Database) -> None:
    task_id = full_database.read(lambda tx: list_tasks(tx, limit=1))[0]["id"]
    (read,) = _statements(full_database, lambda tx: read_task(tx, task_id))
    check(full_database, plan(full_database, read), "PRIMARY")


def test_a_list_walks_down_the_primary_key_from_its_cursor(full_database: Database) -> None:
    newest = full_database.read(lambda tx: list_tasks(tx, limit=1))[0]["id"]
    (page,) = _statements(full_database, lambda tx: list_tasks(tx, limit=50, below_id=newest - 1000))
    check(full_database, plan(full_database, page), "PRIMARY")
