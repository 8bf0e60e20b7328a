"""Operations: changes of many tasks, in slices that are each done once, whatever happens between them."""

import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, select, update
from sqlalchemy.exc import OperationalError

from app.errors import DatabaseUnavailable, OperationEnded, OperationNotFound, TaskTypeNotFound
from app.lifecycle import TaskStatus
from app.queue import operate
from app.queue.cancel import cancel_task
from app.queue.create import create_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.filters import TaskFilter
from app.queue.heartbeat import beat
from app.queue.new_task import NewTask
from app.queue.operate import run_operation, run_operations
from app.queue.operations import (
    CANCEL,
    PURGE,
    REQUEUE,
    NewOperation,
    cancel_operation,
    list_operations,
    read_operation,
    remove_old_operations,
    start_operation,
)
from app.queue.requeue import requeue_task
from app.queue.tasks import read_task
from app.queue.walk import SLICE
from app.storage.models import attempts, dependencies, operations, tasks, workflow_tasks, workflows
from tests.support.factories import Queue
from tests.support.faults import full_disk
from tests.support.rows import add_rows, label_rows
from tests.support.statements import counted_statements

FAILED, PENDING, CANCELLED = TaskStatus.FAILED, TaskStatus.PENDING, TaskStatus.CANCELLED
UNFINISHED = (TaskStatus.BLOCKED, TaskStatus.SCHEDULED, TaskStatus.PENDING, TaskStatus.CLAIMED)


@pytest.fixture
def kind(queue) -> int:
    """A task type, whose tasks were counted into its usage as they were made."""
    return queue.register()


def start(queue, kind=REQUEUE, *, extra_attempts=None, **which):
    new = NewOperation(kind=kind, filter=TaskFilter(**which), extra_attempts=extra_attempts)
    return queue.database.write(lambda tx: start_operation(tx, new))["id"]


def finish(queue, operation_id):
    """Do slice after slice until the operation has ended, and return it."""
    for _ in range(1000):
        if not queue.do(run_operations):
            break
    operation = queue.do(read_operation, operation_id)
    assert operation["status"] != "running", operation
    return operation


def statuses(queue, task_ids=None):
    """Return how many tasks there are of each status."""
    statement = select(tasks.c.id, tasks.c.status)
    rows = queue.database.read(lambda tx: tx.all(statement))
    return Counter(TaskStatus(row["status"]) for row in rows if task_ids is None or row["id"] in task_ids)


def ids_of(queue, status):
    statement = select(tasks.c.id).where(tasks.c.status == int(status)).order_by(tasks.c.id)
    return [row["id"] for row in queue.database.read(lambda tx: tx.all(statement))]


def change_row(queue, task_id, **values):
    queue.database.write(lambda tx: tx.execute(update(tasks).where(tasks.c.id == task_id).values(**values)))


def test_all_dead_letters_are_requeued_slice_by_slice(queue, database, kind):
    other = queue.register("other")
    dead = add_rows(database, kind, FAILED, 2 * SLICE) + add_rows(database, other, FAILED, 50)
    done = add_rows(database, kind, TaskStatus.COMPLETED, 10)
    operation_id = start(queue)
    examined = []
    while number := queue.do(run_operations):
        examined.append(number)
    # The last one only sees that there is nothing more, and each counts what it looked at and what it changed.
    assert sum(examined[:-1]) == 2 * len(dead) or sum(examined) == 2 * len(dead)
    operation = queue.do(read_operation, operation_id)
    assert (operation["status"], operation["examined"], operation["changed"]) == ("completed", len(dead), len(dead))
    assert operation["ended_at"] is not None
    assert statuses(queue) == {PENDING: len(dead), TaskStatus.COMPLETED: len(done)}
    assert queue.do(run_operations) == 0


def test_extra_attempts_are_given_to_each(queue, database, kind):
    dead = add_rows(database, kind, FAILED, 3)
    finish(queue, start(queue, extra_attempts=2))
    assert {queue.do(read_task, task_id)["max_attempts"] for task_id in dead} == {5}


def test_dead_letters_are_purged_with_all_that_hangs_on_them(queue, database, kind, clock):
    dead = add_rows(database, kind, FAILED, SLICE + 5)
    label_rows(database, dead, "tag:x")
    kept = add_rows(database, kind, PENDING, 3)
    # What was created within the last minute may not have been counted yet.
    clock.advance(seconds=61)
    queue.database.write(lambda tx: tx.execute(update(tasks).values(created_at=tx.now - timedelta(seconds=61))))
    assert finish(queue, start(queue, PURGE))["changed"] == len(dead)
    assert statuses(queue) == {PENDING: len(kept)}


def test_a_dead_letter_that_was_never_counted_is_purged_a_minute_later(queue, database, kind, clock):
    add_rows(database, kind, FAILED, 5, created_at=clock.instant)
    operation = finish(queue, start(queue, PURGE))
    assert (operation["status"], operation["changed"]) == ("completed", 5)
    due = {row["due_at"] for row in database.read(lambda tx: tx.all(select(tasks.c.due_at)))}
    assert due == {clock.instant + timedelta(seconds=60)}


def test_a_dead_letter_is_not_purged_before_its_followers_are_seen_to(queue, database, kind, clock):
    clock.advance(seconds=61)
    dead = add_rows(database, kind, FAILED, 3)
    change_row(queue, dead[1], has_followers=True)
    operation_id = start(queue, PURGE)
    while queue.do(run_operations):
        pass
    assert queue.do(read_operation, operation_id)["status"] == "running"
    assert ids_of(queue, FAILED) == [dead[1]]
    # Housekeeping was called for that task, whose alarm was a month away.
    assert queue.do(do_what_is_due)
    finish(queue, operation_id)
    assert ids_of(queue, FAILED) == []


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({"type": "work"}, {0, 1, 2, 3, 4}),
        ({"type": "WORK"}, {0, 1, 2, 3, 4}),
        ({"type": "o_her"}, set()),
        ({"type": "o%"}, {5}),
        ({"type": "nothing"}, set()),
        ({"failure_reason": "not_retryable"}, {1}),
        ({"error_contains": "100%"}, {2}),
        ({"error_contains": "DISK"}, set()),
        ({"failed_from": 50}, {3}),
        ({"failed_before": 50}, {0, 1, 2, 4, 5}),
        ({"failed_from": 50, "failed_before": 51}, {3}),
        ({"worker_id": "w7"}, {4}),
        ({"worker_id": "W7"}, set()),
        ({"tag": "x"}, {0, 5}),
        ({"tag": "x", "type": "work"}, {0}),
        ({"tag": "y"}, set()),
        ({"ids": (0, 3, 99)}, {0, 3}),
        ({"ids": (0, 3), "tag": "x"}, {0}),
        ({}, {0, 1, 2, 3, 4, 5}),
    ],
)
def test_each_filter_means_what_it_says(queue, database, clock, kind, which, expected):
    dead = add_rows(database, kind, FAILED, 5) + add_rows(database, queue.register("other"), FAILED, 1)
    label_rows(database, [dead[0], dead[5]], "tag:x")
    label_rows(database, [dead[1]], "x=tag:x")
    change_row(queue, dead[1], failure_reason="not_retryable")
    change_row(queue, dead[2], error_message="the disk is 100% full")
    later = clock.instant + timedelta(seconds=50)
    clock.advance(seconds=100)
    change_row(queue, dead[3], completed_at=later, claim_rank=int(later.timestamp() * 1000))
    database.write(
        lambda tx: tx.execute(
            insert(attempts).values(
                task_id=dead[4], number=1, worker_id="w7", lease_token="x", claimed_at=tx.now, ended_at=tx.now,
                outcome="failed",
            )
        )
    )  # fmt: skip
    for name in ("failed_from", "failed_before"):
        if name in which:
            which = {**which, name: clock.instant + timedelta(seconds=which[name] - 100)}
    if "ids" in which:
        which = {**which, "ids": tuple(dead[number] if number < 6 else 10**12 for number in which["ids"])}
    operation = finish(queue, start(queue, **which))
    assert {dead.index(task_id) for task_id in ids_of(queue, PENDING)} == expected
    assert operation["changed"] == len(expected)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({}, set(UNFINISHED)),
        ({"statuses": ("pending",)}, {TaskStatus.PENDING}),
        ({"statuses": ("blocked", "claimed")}, {TaskStatus.BLOCKED, TaskStatus.CLAIMED}),
        ({"tag": "x", "statuses": ("scheduled",)}, {TaskStatus.SCHEDULED}),
    ],
)
def test_a_cancel_by_filter_ends_what_is_not_finished(queue, database, kind, which, expected):
    for status in TaskStatus:
        label_rows(database, add_rows(database, kind, status, 4), "tag:x")
    operation = finish(queue, start(queue, CANCEL, **which))
    assert operation["changed"] == 4 * len(expected)
    untouched = {status: 4 for status in TaskStatus if status not in expected}
    assert statuses(queue) == {**untouched, CANCELLED: 4 + 4 * len(expected)}


def test_tasks_are_cancelled_by_the_time_of_their_creation(queue, clock, kind):
    made = []
    for _ in range(4):
        made.append(queue.create()["id"])
        clock.advance(seconds=10)
    first = clock.instant - timedelta(seconds=30)
    finish(queue, start(queue, CANCEL, created_from=first, created_before=first + timedelta(seconds=20)))
    assert ids_of(queue, CANCELLED) == made[1:3]


def test_the_worker_of_a_cancelled_task_is_told_at_its_next_heartbeat(queue, kind, clock):
    queue.create()
    claimed = queue.must_claim(kind)
    clock.advance(seconds=5)
    finish(queue, start(queue, CANCEL))
    told = queue.do(beat, claimed["id"], worker_id="w1", lease_token=claimed["lease_token"], lease_seconds=None)
    assert told.is_cancelled
    task = queue.do(read_task, claimed["id"])
    assert (task["completed_at"], task["due_at"]) == (clock.instant, clock.instant + timedelta(days=30))


def test_a_cancelled_task_with_followers_rings_at_once(queue, database, kind, clock):
    (task,) = add_rows(database, kind, PENDING, 1, has_followers=True)
    finish(queue, start(queue, CANCEL))
    assert queue.do(read_task, task)["due_at"] == clock.instant


def test_a_whole_workflow_is_cancelled_from_its_end(queue, database, kind):
    mine = add_rows(database, kind, TaskStatus.BLOCKED, SLICE + 20)
    add_rows(database, kind, PENDING, 5)
    change_row(queue, mine[0], status=int(TaskStatus.COMPLETED))

    def make(tx):
        workflow_id = tx.insert(insert(workflows), {"created_at": tx.now})
        rows = [{"workflow_id": workflow_id, "task_id": task_id, "name": str(task_id)} for task_id in mine]
        tx.execute(workflow_tasks.insert(), rows)
        return workflow_id

    operation_id = start(queue, CANCEL, workflow_id=database.write(make))
    queue.do(run_operations)
    # Those that wait for others come first, so that nothing fails because of what it waited for.
    assert ids_of(queue, CANCELLED) == mine[20:]
    assert finish(queue, operation_id)["changed"] == len(mine) - 1
    assert statuses(queue) == {CANCELLED: len(mine) - 1, PENDING: 5, TaskStatus.COMPLETED: 1}


def test_what_is_requeued_and_fails_again_is_left_alone(queue, database, kind, clock):
    dead = add_rows(database, kind, FAILED, SLICE + 10)
    operation_id = start(queue)
    clock.advance(seconds=1)
    queue.do(run_operations)
    claimed = queue.must_claim(kind)
    report = {"worker_id": "w1", "lease_token": claimed["lease_token"], "error": "bad", "retryable": False}
    queue.do(fail_task, claimed["id"], **report, retry_after_seconds=None)
    assert finish(queue, operation_id)["changed"] == len(dead)
    assert ids_of(queue, FAILED) == [claimed["id"]]


def test_what_comes_later_is_not_touched(queue, database, kind, clock):
    add_rows(database, kind, FAILED, SLICE + 10)
    waiting = add_rows(database, kind, PENDING, SLICE + 10)
    requeue, cancel = start(queue), start(queue, CANCEL)
    clock.advance(seconds=1)
    new = [*add_rows(database, kind, FAILED, 7), *add_rows(database, kind, PENDING, 7, priority=5, claim_rank=-5)]
    queue.do(run_operations)
    new += [*add_rows(database, kind, FAILED, 7), *add_rows(database, kind, PENDING, 7)]
    assert finish(queue, requeue)["status"] == finish(queue, cancel)["status"] == "completed"
    assert statuses(queue, new) == {FAILED: 14, PENDING: 14}
    assert statuses(queue, waiting) == {CANCELLED: len(waiting)}


def test_what_others_changed_meanwhile_is_left_as_it_is(queue, database, kind):
    dead = add_rows(database, kind, FAILED, SLICE + 10)
    operation_id = start(queue, extra_attempts=5)
    queue.do(run_operations)
    queue.do(requeue_task, dead[-1])
    queue.do(cancel_task, dead[-1])
    assert finish(queue, operation_id)["changed"] == len(dead) - 1
    assert queue.do(read_task, dead[-1])["status"] == CANCELLED
    assert queue.do(read_task, dead[-2])["max_attempts"] == 8


def test_a_task_that_falls_back_behind_the_walk_is_cancelled_all_the_same(queue, database, kind):
    blocked = add_rows(database, kind, TaskStatus.BLOCKED, SLICE)
    pending = add_rows(database, kind, PENDING, 2 * SLICE)
    operation_id = start(queue, CANCEL, type="work")
    queue.do(run_operations)
    queue.do(run_operations)
    # The walk is among the pending ones: this one goes where it has been.
    assert queue.do(read_task, pending[-1])["status"] == PENDING
    change_row(queue, pending[-1], status=int(TaskStatus.BLOCKED))
    # And this one, claimed in time, is met where it will be.
    claimed = queue.must_claim(kind)
    assert claimed["id"] == pending[SLICE]
    assert finish(queue, operation_id)["changed"] == len(blocked) + len(pending)
    assert statuses(queue) == {CANCELLED: len(blocked) + len(pending)}


def test_an_operation_goes_on_where_a_process_died(queue, open_database, database, kind):
    dead = add_rows(database, kind, FAILED, 3 * SLICE)
    operation_id = start(queue, extra_attempts=1)
    queue.do(run_operations)

    def die(_connection, _cursor, statement, *_rest):
        if statement.startswith("UPDATE operations"):
            raise KeyboardInterrupt

    # In the middle of a slice: all of it is undone.
    event.listen(database.engine, "before_cursor_execute", die)
    with pytest.raises(KeyboardInterrupt):
        queue.do(run_operations)
    event.remove(database.engine, "before_cursor_execute", die)
    assert statuses(queue) == {PENDING: SLICE, FAILED: 2 * SLICE}
    other = Queue(open_database())
    assert finish(other, operation_id)["changed"] == len(dead)
    rows = database.read(lambda tx: tx.all(select(tasks.c.max_attempts).distinct()))
    assert rows == [{"max_attempts": 4}]


def test_a_slice_whose_answer_was_lost_is_not_counted_twice(queue, database, kind):
    add_rows(database, kind, FAILED, SLICE + 20)
    operation_id = start(queue, extra_attempts=1)
    lost = []

    def lose(_connection, cursor, statement, *_rest):
        if statement == "COMMIT" and not lost:
            lost.append(statement)
            raise OperationalError("COMMIT", {}, Exception(2013, "lost connection: database is locked"))

    event.listen(database.engine, "after_cursor_execute", lose)
    queue.do(run_operations)
    event.remove(database.engine, "after_cursor_execute", lose)
    assert lost
    operation = finish(queue, operation_id)
    assert (operation["examined"], operation["changed"]) == (SLICE + 20, SLICE + 20)
    rows = database.read(lambda tx: tx.all(select(tasks.c.max_attempts).distinct()))
    assert rows == [{"max_attempts": 4}]


def test_two_runners_at_once_do_each_task_once(queue, open_database, database, kind):
    dead = add_rows(database, kind, FAILED, 8 * SLICE)
    operation_id = start(queue, extra_attempts=1)
    errors = []

    def work():
        mine = Queue(open_database())
        end = time.monotonic() + 60
        try:
            while mine.do(read_operation, operation_id)["status"] == "running" and time.monotonic() < end:
                mine.do(run_operations)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not errors
    operation = queue.do(read_operation, operation_id)
    assert (operation["status"], operation["examined"], operation["changed"]) == ("completed", len(dead), len(dead))
    rows = database.read(lambda tx: tx.all(select(tasks.c.max_attempts).distinct()))
    assert rows == [{"max_attempts": 4}]


def test_while_one_process_is_in_a_slice_another_does_not_wait(queue, open_database, database, database_kind, kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite has no row locks: one writer at a time")
    add_rows(database, kind, FAILED, 10)
    operation_id = start(queue)
    other = Queue(open_database())

    def work(tx):
        assert run_operation(tx, operation_id) == 20
        began = time.monotonic()
        assert other.do(run_operations) == 0
        assert time.monotonic() - began < 1

    database.write(work)
    assert queue.do(read_operation, operation_id)["changed"] == 10


def test_what_somebody_else_holds_is_come_back_to(queue, open_database, database, database_kind, kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite has no row locks: one writer at a time")
    dead = add_rows(database, kind, FAILED, SLICE + 50)
    operation_id = start(queue)
    other = start(queue, ids=(dead[-1],))
    with open_database().engine.connect() as connection:
        connection.exec_driver_sql("START TRANSACTION")
        for task_id in dead[:3]:
            connection.exec_driver_sql(f"UPDATE tasks SET progress = 1 WHERE id = {task_id}")
        began = time.monotonic()
        while queue.do(run_operations):
            pass
        assert time.monotonic() - began < 5
        operation = queue.do(read_operation, operation_id)
        assert (operation["status"], operation["changed"]) == ("running", len(dead) - 3)
        assert operation["position"]["left"] == dead[:3]
        # Those behind it do not wait for that.
        assert queue.do(read_operation, other)["status"] == "completed"
        connection.exec_driver_sql("ROLLBACK")
    assert finish(queue, operation_id)["changed"] == len(dead)
    assert statuses(queue) == {PENDING: len(dead)}


def test_a_cancelled_operation_stops_before_its_next_slice(queue, database, kind, clock):
    add_rows(database, kind, FAILED, 2 * SLICE)
    operation_id = start(queue)
    queue.do(run_operations)
    assert queue.do(read_operation, operation_id)["ended_at"] is None
    clock.advance(seconds=1)
    assert queue.do(cancel_operation, operation_id)["ended_at"] == clock.instant
    assert queue.do(run_operations) == 0
    assert statuses(queue) == {PENDING: SLICE, FAILED: SLICE}
    assert queue.do(cancel_operation, operation_id)["status"] == "cancelled"
    finished = start(queue)
    finish(queue, finished)
    with pytest.raises(OperationEnded):
        queue.do(cancel_operation, finished)
    with pytest.raises(OperationNotFound):
        queue.do(cancel_operation, finished + 1)


def test_an_operation_that_fails_says_so_and_stops_nobody(queue, database, kind, caplog):
    add_rows(database, kind, FAILED, 5)
    broken, right = start(queue), start(queue)
    database.write(
        lambda tx: tx.execute(update(operations).where(operations.c.id == broken).values(filter={"nonsense": "SELECT"}))
    )
    operation = finish(queue, right)
    assert (operation["status"], operation["changed"]) == ("completed", 5)
    failed = queue.do(read_operation, broken)
    assert (failed["status"], failed["changed"]) == ("failed", 0)
    assert failed["error_message"] == "Something went wrong in the server; the operator finds it in the log."
    assert "nonsense" in caplog.text


def test_an_error_that_says_what_is_wrong_is_shown(queue, database, kind, monkeypatch):
    def refuse(_tx, _operation, _rows):
        raise TaskTypeNotFound

    monkeypatch.setitem(operate._VERBS, REQUEUE, refuse)
    add_rows(database, kind, FAILED, 1)
    operation = finish(queue, start(queue))
    assert (operation["status"], operation["error_message"]) == ("failed", TaskTypeNotFound().shown_sentence)


def test_a_full_disk_ends_no_operation(queue, database, database_kind, kind):
    if database_kind != "sqlite":
        pytest.skip("the disk of a server is not ours to fill")
    number = 5 * SLICE
    # A task that has ended needs more room.
    add_rows(database, kind, PENDING, number)
    operation_id = start(queue, CANCEL)
    with full_disk(database), pytest.raises(DatabaseUnavailable):
        while queue.do(run_operations):
            pass
    operation = finish(queue, operation_id)
    assert (operation["status"], operation["changed"]) == ("completed", number)


def test_a_slice_is_a_handful_of_statements_and_the_only_transaction(queue, database, kind):
    add_rows(database, kind, FAILED, 2 * SLICE)
    start(queue)
    with counted_statements(database) as statements:
        queue.do(run_operations)
    assert len(statements) <= 12, statements
    assert [word for word in statements if word in ("COMMIT", "START TRANSACTION", "BEGIN IMMEDIATE")] == [
        database.dialect.begin,
        "COMMIT",
    ]


def test_tens_of_thousands_are_done_in_short_transactions(queue, database, database_kind, kind):
    number = 30_000 if database_kind == "sqlite" else 4_000
    add_rows(database, kind, FAILED, number)
    operation_id = start(queue)
    changed = [0]

    def count(_connection, cursor, statement, *_rest):
        if statement.startswith("UPDATE tasks"):
            changed[0] += cursor.rowcount
        elif statement == "COMMIT":
            assert changed[0] <= SLICE
            changed[0] = 0

    event.listen(database.engine, "after_cursor_execute", count)
    assert finish(queue, operation_id)["changed"] == number
    event.remove(database.engine, "after_cursor_execute", count)
    assert statuses(queue) == {PENDING: number}


def test_types_without_such_tasks_are_passed_by(queue, database):
    kinds = [queue.register(f"type-{number}") for number in range(130)]
    dead = add_rows(database, kinds[-1], FAILED, 2)
    assert finish(queue, start(queue))["changed"] == len(dead)
    assert finish(queue, start(queue, CANCEL))["changed"] == len(dead)


def test_dependents_and_what_they_wait_for_are_requeued_together(queue, database, kind):
    first, second = add_rows(database, kind, FAILED, 2)
    edge = {"task_id": second, "depends_on_id": first, "on_failure": "fail", "is_met": True}
    database.write(lambda tx: tx.execute(dependencies.insert(), edge))
    finish(queue, start(queue))
    assert (queue.do(read_task, first)["status"], queue.do(read_task, second)["status"]) == (
        PENDING,
        TaskStatus.BLOCKED,
    )
    assert queue.do(read_task, first)["has_followers"]


@pytest.mark.parametrize("ranks", [2, SLICE])
def test_tasks_of_many_ranks_get_each_its_own(queue, database, kind, ranks):
    dead = add_rows(database, kind, FAILED, SLICE)
    for place, task_id in enumerate(dead):
        change_row(queue, task_id, priority=place % ranks)
    finish(queue, start(queue))
    rows = database.read(lambda tx: tx.all(select(tasks.c.claim_rank).order_by(tasks.c.id)))
    assert [row["claim_rank"] for row in rows] == [-(place % ranks) for place in range(SLICE)]


def test_an_operation_on_an_empty_queue_is_over_at_once(queue):
    operation = finish(queue, start(queue))
    assert (operation["status"], operation["examined"], operation["position"]["total"]) == ("completed", 0, 0)
    assert queue.do(run_operations) == 0


def test_operations_are_listed_newest_first_and_the_ended_ones_are_removed_after_a_month(queue, kind, clock):
    ids = [start(queue) for _ in range(3)]
    finish(queue, ids[2])
    running = start(queue)

    def listed(**options):
        page, _next = queue.do(list_operations, **{"limit": 10, **options})
        return [row["id"] for row in page]

    assert listed() == [running, *reversed(ids)]
    assert listed(limit=2) == [running, ids[2]]
    assert listed(below_id=ids[2]) == [ids[1], ids[0]]
    assert listed(status="running") == [running]
    clock.advance(seconds=30 * 86400)
    assert queue.do(remove_old_operations) == 0
    clock.advance(seconds=1)
    assert queue.do(remove_old_operations) == 3
    assert listed() == [running]


def test_a_task_is_created_while_a_slice_is_done(queue, open_database, database, database_kind, kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite has no row locks: one writer at a time")
    add_rows(database, kind, FAILED, 10)
    operation_id = start(queue)
    other = Queue(open_database())

    def work(tx):
        run_operation(tx, operation_id)
        began = time.monotonic()
        made = other.do(create_task, NewTask(type_name="work", params={}))[0]
        assert other.must_claim(kind)["id"] == made["id"]
        assert time.monotonic() - began < 1

    database.write(work)
