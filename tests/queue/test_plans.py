"""Every question of the hot paths goes through the index that was made for it, and nothing is sorted for it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.claim import claim_task
from app.queue.claim_batch import claim_tasks
from app.queue.dead_letters import count_dead_letters, list_dead_letters
from app.queue.due import do_what_is_due
from app.queue.explain import explain_task
from app.queue.filters import TaskFilter
from app.queue.labels import add_labels
from app.queue.operate import run_operation
from app.queue.operations import KINDS, NewOperation, start_operation
from app.queue.ranks import end_rank
from app.queue.register import register_type
from app.queue.report_batch import Report, apply_reports
from app.queue.statistics import read_statistics
from app.queue.take import ClaimOrder
from app.queue.tasks import list_tasks, read_task
from app.storage.database import Database, Transaction
from app.storage.models import (
    concurrency_keys,
    dependencies,
    line_places,
    tasks,
    worker_types,
    workflow_tasks,
    workflows,
)
from tests.support.plans import all_statements_of, check, check_bounded, is_mysql, plan, recorded, statements_of

TYPES = 3
ROWS = 20_000
_CHUNK = 500
ORDER = ClaimOrder(worker_id="worker-1")


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
        connection.exec_driver_sql("ANALYZE TABLE tasks" if is_mysql(database) else "ANALYZE").close()
    return database


def _row(tx: Transaction, type_ids: list[int], number: int) -> dict[str, Any]:
    # A tenth of each: waiting for its time, claimed, failed; three tenths pending, the others completed.
    status = (
        TaskStatus.SCHEDULED,
        TaskStatus.CLAIMED,
        TaskStatus.PENDING,
        TaskStatus.PENDING,
        TaskStatus.PENDING,
        *[TaskStatus.COMPLETED] * 4,
        TaskStatus.FAILED,
    )[number % 10]
    alarm = None if status == TaskStatus.PENDING else tx.now + timedelta(days=1 + number % 7)
    row = {column.name: None for column in tasks.c if column.name != "id"}
    return {
        **row,
        "type_id": type_ids[number % TYPES],
        "status": int(status),
        "priority": number % 5,
        "claim_rank": end_rank(tx.now) - number if status == TaskStatus.COMPLETED else -(number % 5),
        "has_followers": False,
        "due_at": alarm,
        "params": {"path": f"chapter-{number}.txt"},
        "progress": 0,
        "attempts": 0,
        "max_attempts": 3,
        "claimed_by": "worker-0" if status == TaskStatus.CLAIMED else None,
        "claimed_at": tx.now if status in (TaskStatus.CLAIMED, TaskStatus.COMPLETED) else None,
        "completed_at": tx.now if status == TaskStatus.COMPLETED else None,
        "available_at": tx.now,
        "created_at": tx.now,
        "updated_at": tx.now,
        "dedupe_forever": 0,
    }


def _type_ids(database: Database) -> list[int]:
    return sorted({row["type_id"] for row in database.read(lambda tx: list_tasks(tx, limit=10))})


def test_a_claim_of_one_type_finds_its_task_at_the_head_of_the_index(full_database: Database) -> None:
    type_id = _type_ids(full_database)[0]
    (head,) = statements_of(full_database, lambda tx: claim_task(tx, [type_id], ORDER))[:1]
    check(full_database, plan(full_database, head), "ix_tasks_claim")


def test_a_claim_that_skips_what_others_hold_uses_the_same_index(full_database: Database) -> None:
    type_id = _type_ids(full_database)[0]
    full_database.write(
        lambda tx: tx.execute(text("UPDATE task_types SET max_concurrency = 1000000, revision = revision + 1"))
    )
    full_database.cache.clear()
    statements = statements_of(full_database, lambda tx: claim_task(tx, [type_id], ORDER))
    heads = [statement for statement in statements if "ORDER BY tasks.claim_rank" in statement[0]]
    assert len(heads) == 2
    for head in heads:
        check(full_database, plan(full_database, head), "ix_tasks_claim")
    (count,) = [statement for statement in statements if "count(" in statement[0]]
    check(full_database, plan(full_database, count), "ix_tasks_claim")


def test_a_claim_of_several_types_looks_at_one_entry_for_each(full_database: Database) -> None:
    type_ids = _type_ids(full_database)
    assert len(type_ids) == TYPES
    (types, head) = statements_of(full_database, lambda tx: claim_task(tx, type_ids, ORDER))[:2]
    # Three types are put in order: that is the one sort, and it is as long as the list of types.
    steps = plan(full_database, types)
    check(full_database, steps, "ix_tasks_claim", may_sort=True)
    check(full_database, plan(full_database, head), "ix_tasks_claim")


def test_a_batch_is_found_through_the_index_and_taken_and_read_by_primary_key(full_database: Database) -> None:
    type_ids = _type_ids(full_database)
    for wanted in ([type_ids[0]], type_ids):
        with recorded(full_database, with_updates=True) as statements:
            full_database.write(lambda tx, wanted=wanted: claim_tasks(tx, wanted, ORDER, 50), atomic=False)
        looks = [statement for statement in statements if "length(" in statement[0]]
        assert looks
        for look in looks:
            check(full_database, plan(full_database, look), "ix_tasks_claim")
        takes = [statement for statement in statements if "UPDATE" in statement[0]]
        for statement in (*takes, statements[-1]):
            check(full_database, plan(full_database, statement), "PRIMARY")


def test_reports_in_a_batch_are_written_by_primary_key(full_database: Database) -> None:
    type_id = _type_ids(full_database)[0]
    claimed = full_database.write(lambda tx: claim_tasks(tx, [type_id], ORDER, 50), atomic=False)
    reports = [
        Report(task_id=task["id"], lease_token=task["lease_token"], is_success=number % 2 == 0)
        for number, task in enumerate(claimed)
    ]
    with recorded(full_database, with_updates=True) as statements:
        full_database.write(lambda tx: apply_reports(tx, ORDER.worker_id, reports), atomic=False)
    assert len(statements) == 3
    for statement in statements:
        check(full_database, plan(full_database, statement), "PRIMARY", may_sort=True)


def test_what_time_must_do_is_found_through_the_alarm(full_database: Database) -> None:
    (due,) = statements_of(full_database, do_what_is_due)
    check(full_database, plan(full_database, due), "ix_tasks_due_at")


def test_a_task_is_read_by_its_primary_key(full_database: Database) -> None:
    task_id = full_database.read(lambda tx: list_tasks(tx, limit=1))[0]["id"]
    (read,) = statements_of(full_database, lambda tx: read_task(tx, task_id))
    check(full_database, plan(full_database, read), "PRIMARY")


def test_a_list_walks_down_the_primary_key_from_its_cursor(full_database: Database) -> None:
    newest = full_database.read(lambda tx: list_tasks(tx, limit=1))[0]["id"]
    (page,) = statements_of(full_database, lambda tx: list_tasks(tx, limit=50, below_id=newest - 1000))
    check(full_database, plan(full_database, page), "PRIMARY")


def _task_of(database: Database, status: TaskStatus) -> int:
    found = database.read(lambda tx: list_tasks(tx, limit=1, statuses=[status]))
    return int(found[0]["id"])


def test_the_statistics_of_a_type_are_bounded_looks_through_an_index(full_database: Database) -> None:
    name = full_database.read(lambda tx: list_tasks(tx, limit=1))[0]["type"]
    statements = all_statements_of(full_database, lambda tx: read_statistics(tx, name))
    assert len(statements) >= 6
    for statement in statements:
        check_bounded(full_database, statement)
    for statement in statements:
        if "FROM tasks" in statement[0]:
            check(full_database, plan(full_database, statement), "ix_tasks_claim")


def test_an_explanation_of_a_pending_task_is_bounded_looks_through_an_index(full_database: Database) -> None:
    limits = "UPDATE task_types SET max_concurrency = 1, rate_limit = '1/60', revision = revision + 1"
    for step in ("SELECT 1", limits):
        full_database.write(lambda tx, step=step: tx.execute(text(step)))
        full_database.cache.clear()
        task_id = _task_of(full_database, TaskStatus.PENDING)
        statements = all_statements_of(full_database, lambda tx, task_id=task_id: explain_task(tx, task_id))
        assert any(" < " in statement[0] for statement in statements)
        for statement in statements:
            check_bounded(full_database, statement)


def test_an_explanation_of_a_blocked_task_is_bounded_looks_through_an_index(full_database: Database) -> None:
    blocked, key_id = _task_of(full_database, TaskStatus.SCHEDULED), 1
    others = full_database.read(lambda tx: list_tasks(tx, limit=1000, below_id=blocked))

    def block(tx: Transaction) -> None:
        tx.execute(text("UPDATE tasks SET status = 1, due_at = NULL WHERE id = :id"), {"id": blocked})
        waits = [
            {"task_id": blocked, "depends_on_id": other["id"], "on_failure": "fail", "is_met": False}
            for other in others
        ]
        # Others wait too, for one task each.
        waits += [{**wait, "task_id": wait["depends_on_id"], "depends_on_id": blocked} for wait in waits]
        tx.execute(dependencies.insert(), waits)
        keys = [
            {"id": number, "type_id": 1, "concurrency_key": str(number), "recent_claims": []}
            for number in range(key_id, key_id + 100)
        ]
        tx.execute(concurrency_keys.insert(), keys)
        places = [
            {"task_id": row["id"], "key_id": key_id, "is_admitted": number > 500, "claim_rank": 0}
            for number, row in enumerate([*others, {"id": blocked}])
        ]
        places[-1]["is_admitted"] = False
        tx.execute(line_places.insert(), places)
        asking = [{"type_id": 1, "worker_id": f"w{number}", "last_asked_at": tx.now} for number in range(100)]
        tx.execute(worker_types.insert(), asking)

    def analyze() -> None:
        names = "tasks, dependencies, concurrency_keys, line_places, worker_types"
        with full_database.engine.connect() as connection:
            connection.exec_driver_sql(f"ANALYZE TABLE {names}" if is_mysql(full_database) else "ANALYZE").close()

    full_database.write(block)
    analyze()
    waiting = all_statements_of(full_database, lambda tx: explain_task(tx, blocked))
    full_database.write(lambda tx: tx.execute(dependencies.delete()))
    in_line = all_statements_of(full_database, lambda tx: explain_task(tx, blocked))
    assert any("dependencies" in statement[0] for statement in waiting)
    assert any("line_places" in statement[0] for statement in in_line)
    for statement in [*waiting, *in_line]:
        check_bounded(full_database, statement)


@pytest.mark.parametrize("kind", KINDS)
def test_the_slices_of_an_operation_come_from_the_index_of_claims_alone(full_database: Database, kind: str) -> None:
    new = NewOperation(kind=kind, filter=TaskFilter(error_contains="nothing has this"))
    operation_id = full_database.write(lambda tx: start_operation(tx, new))["id"]
    # The second slice begins within a rank.
    statements = [
        statement
        for _ in range(2)
        for statement in statements_of(full_database, lambda tx: run_operation(tx, operation_id))
        if "ORDER BY tasks.claim_rank" in statement[0]
    ]
    assert any("tasks.claim_rank =" in statement[0] for statement in statements)
    for statement in statements:
        steps = plan(full_database, statement)
        check(full_database, steps, "ix_tasks_claim")
        shown = " ".join(str(step) for step in steps)
        assert "Using index" in shown or "USING COVERING INDEX" in shown, steps


def test_what_a_slice_means_is_found_by_primary_key(full_database: Database) -> None:
    new = NewOperation(kind=KINDS[0], filter=TaskFilter(worker_id="w", tag="x"))
    full_database.write(lambda tx: start_operation(tx, new))
    which = TaskFilter(type="type-1", worker_id="w", failure_reason="lease_expired", error_contains="x")
    operation_id = full_database.write(lambda tx: start_operation(tx, replace(new, filter=which)))["id"]
    statements = statements_of(full_database, lambda tx: run_operation(tx, operation_id))
    (meant,) = [statement for statement in statements if "failure_reason" in statement[0]]
    check(full_database, plan(full_database, meant), "PRIMARY")


def test_dead_letters_are_listed_through_the_index_of_claims(full_database: Database) -> None:
    def walk(tx: Transaction) -> None:
        below = list_dead_letters(tx, TaskFilter(), limit=50, below=None)[1]
        list_dead_letters(tx, TaskFilter(), limit=50, below=below)

    statements = statements_of(full_database, walk)
    walks = [statement for statement in statements if "ORDER BY tasks.claim_rank DESC" in statement[0]]
    assert len(walks) > 2 * TYPES
    for statement in walks:
        check(full_database, plan(full_database, statement), "ix_tasks_claim")
    for types in [statement for statement in statements if "IS NOT NULL" in statement[0]]:
        check(full_database, plan(full_database, types), "ix_tasks_claim")


def test_dead_letters_are_counted_without_a_look_at_all_tasks(full_database: Database) -> None:
    statements = statements_of(full_database, lambda tx: count_dead_letters(tx, TaskFilter()))
    (groups, *_) = [statement for statement in statements if "GROUP BY" in statement[0]]
    check(full_database, plan(full_database, groups), "ix_tasks_claim", may_sort=True)


@pytest.fixture
def labelled_database(full_database: Database) -> Database:
    """The same with labels: `tag:all` on each task, `tag:some` on every tenth, and a workflow of a hundred."""

    def label(tx: Transaction) -> int:
        ids = [row["id"] for row in tx.all(select(tasks.c.id).order_by(tasks.c.id))]
        for start in range(0, len(ids), 1000):
            of_slice = ids[start : start + 1000]
            add_labels(tx, {task_id: ["tag:all", *(["tag:some"] if task_id % 10 == 0 else [])] for task_id in of_slice})
        number = tx.insert(workflows.insert(), {"name": None, "created_at": tx.now})
        rows = [{"workflow_id": number, "task_id": task_id, "name": str(task_id)} for task_id in ids[:100]]
        tx.execute(workflow_tasks.insert(), rows)
        return number

    full_database.write(label)
    with full_database.engine.connect() as connection:
        tables = "tasks, task_labels, workflow_tasks"
        connection.exec_driver_sql(f"ANALYZE TABLE {tables}" if is_mysql(full_database) else "ANALYZE").close()
    return full_database


_FILTERS: list[dict[str, Any]] = [
    {"labels": ["tag:all"]},
    {"labels": ["tag:some"]},
    {"labels": ["tag:all", "tag:some"]},
    {"labels": ["tag:some", "tag:all"], "below_id": 10**9},
    {"labels": ["tag:all"], "statuses": [TaskStatus.PENDING]},
    {"labels": ["tag:all"], "type_name": "type-1", "statuses": [TaskStatus.PENDING]},
    {"labels": ["tag:some"], "worker_id": "worker-0", "offset": 5},
    {"workflow_id": 0},
    {"workflow_id": 0, "labels": ["tag:all", "tag:some"], "type_name": "type-%"},
]


def test_labels_are_walked_down_from_the_newest_task_and_nothing_is_sorted(labelled_database: Database) -> None:
    number = labelled_database.read(lambda tx: tx.one(select(workflows)))["id"]
    for given in _FILTERS:
        filters = {**given, **({"workflow_id": number} if "workflow_id" in given else {})}
        # The names of the types are read first, as another request would have done.
        labelled_database.read(lambda tx: list_tasks(tx, limit=1, type_name="type-1"))
        (page,) = statements_of(labelled_database, lambda tx, filters=filters: list_tasks(tx, limit=50, **filters))
        steps = plan(labelled_database, page)
        check(labelled_database, steps, "PRIMARY")
        if is_mysql(labelled_database):
            first = steps[0]
            assert first["table"] == ("workflow_tasks" if "workflow_id" in given else "label_0"), (given, steps)
            assert first["key"] == "PRIMARY", (given, steps)
        else:
            details = [step["detail"] for step in steps]
            assert " tasks " not in details[0], details
            assert any("tasks USING INTEGER PRIMARY KEY" in detail for detail in details), details
