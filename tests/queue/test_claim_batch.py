"""Claim a batch: as many as are asked for, each under the terms of a claim."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event, text

from app.lifecycle import FailureReason, TaskStatus
from app.queue.cancel import cancel_task
from app.queue.claim_batch import MAX_CHARACTERS
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.leases import read_token
from app.queue.tasks import list_tasks, read_task
from app.storage.columns import to_json
from tests.support.factories import Queue
from tests.support.faults import interrupt, lose_the_answer
from tests.support.statements import counted_statements

ORDERS = [pytest.param({}, id="default order"), pytest.param({"sort_by": "id"}, id="own order")]


def _ids(tasks):
    return [task["id"] for task in tasks]


@pytest.mark.parametrize("max_tasks", [1, 2, 3, 5, 6, 100])
def test_a_batch_is_the_first_tasks_in_the_order_of_claims(queue, max_tasks):
    kind = queue.register()
    made = [queue.create(priority=priority)["id"] for priority in (0, 5, 0, 5, -1)]
    in_order = [made[number] for number in (1, 3, 0, 2, 4)]
    assert _ids(queue.claim_batch(kind, max_tasks=max_tasks)) == in_order[:max_tasks]
    assert _ids(queue.claim_batch(kind)) == in_order[max_tasks:]
    assert queue.claim_batch(kind) == []


@pytest.mark.parametrize("max_tasks", [1, 3])
def test_what_a_batch_answers_is_what_the_table_holds(queue, clock, max_tasks):
    kind = queue.register(lease_seconds=60, attempt_timeout_seconds=30)
    for _ in range(3):
        queue.create()
    clock.advance(seconds=5)
    batch = queue.claim_batch(kind, max_tasks=max_tasks, worker_id="ann")
    assert len(batch) == max_tasks
    for task in batch:
        assert task == queue.told_of(task["id"])
        assert (task["status"], task["attempts"], task["claimed_by"]) == (TaskStatus.CLAIMED, 1, "ann")
        assert task["due_at"] == task["attempt_ends_at"] == clock.instant + timedelta(seconds=30)
        assert task["first_claimed_at"] == clock.instant
        assert read_token(task["lease_token"]).type_id == kind
    assert len({task["lease_token"] for task in batch}) == 1


def test_what_a_batch_answers_is_what_the_table_holds_while_the_claim_takes_its_time(queue, clock):
    kinds = [queue.register("free"), queue.register("limited", rate_limit="100/60")]
    for name in ("free", "limited"):
        queue.create(name)

    def pass_time(_connection, _cursor, statement, *_rest):
        if statement.startswith("SELECT"):
            clock.advance(seconds=1)

    event.listen(queue.database.engine, "after_cursor_execute", pass_time)
    batch = queue.claim_batch(*kinds)
    event.remove(queue.database.engine, "after_cursor_execute", pass_time)
    assert len({task["claimed_at"] for task in batch}) == 2, "the limit was counted later than the other type was taken"
    for task in batch:
        assert task == queue.told_of(task["id"])


def test_a_task_that_others_wait_for_is_in_the_answer_too(queue):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(3)]
    queue.create(depends_on=[made[1]])
    batch = queue.claim_batch(kind)
    assert _ids(batch) == made
    assert [read_token(task["lease_token"]).has_followers for task in batch] == [False, True, False]


def test_a_batch_of_several_types_is_the_first_tasks_of_all(queue):
    kinds = [queue.register(name) for name in ("a", "b", "c", "none")]
    made = [queue.create("abc"[number % 3], priority=number % 4)["id"] for number in range(24)]
    in_order = sorted(made, key=lambda task_id: (-(made.index(task_id) % 4), task_id))
    batch = queue.claim_batch(*kinds, max_tasks=10)
    assert _ids(batch) == in_order[:10]
    assert {task["type"] for task in batch} == {"a", "b", "c"}
    assert {task["type_id"]: read_token(task["lease_token"]).type_id for task in batch} == {k: k for k in kinds[:3]}
    assert _ids(queue.claim_batch(*kinds)) == in_order[10:]


def test_a_task_between_the_last_two_of_another_type_is_in_the_batch(queue):
    kinds = {name: queue.register(name) for name in "ab"}
    made = [queue.create(name)["id"] for name in "aaba"]
    assert _ids(queue.claim_batch(*kinds.values(), max_tasks=3)) == made[:3]


def test_types_whose_tasks_come_too_late_for_the_batch_are_not_looked_at(queue):
    kinds = [queue.register(f"type {number}") for number in range(20)]
    for number in range(20):
        for _ in range(2):
            queue.create(f"type {number}")
    queue.claim(*kinds)
    with counted_statements(queue.database) as seen:
        assert len(queue.claim_batch(*kinds, max_tasks=3)) == 3
    # The types in order, the first tasks of two of them, an update for each, and the tasks.
    assert len(seen) == 6, seen


@pytest.mark.parametrize(("sort_by", "descending"), [("id", True), ("created_at", False), ("priority", True)])
def test_a_batch_obeys_the_callers_own_order(queue, clock, sort_by, descending):
    kinds = [queue.register(name) for name in ("a", "b")]
    made = []
    for number in range(6):
        made.append(queue.create("ab"[number % 2], priority=number)["id"])
        clock.advance(seconds=1)
    expected = made[::-1] if descending else made
    assert _ids(queue.claim_batch(*kinds, max_tasks=4, sort_by=sort_by, descending=descending)) == expected[:4]
    assert _ids(queue.claim_batch(*kinds, max_tasks=4, sort_by=sort_by, descending=descending)) == expected[4:]


def test_a_paused_type_gives_nothing_and_the_others_do(queue):
    kinds = [queue.register(name) for name in ("a", "b")]
    for name in "abab":
        queue.create(name)
    queue.register("a", is_paused=True)
    assert [task["type"] for task in queue.claim_batch(*kinds)] == ["b", "b"]
    assert queue.claim_batch(kinds[0]) == []


@pytest.mark.parametrize("terms", ORDERS)
@pytest.mark.parametrize("max_tasks", [2, 50])
def test_overdue_tasks_are_given_up_on_the_way_to_the_good_ones(queue, clock, terms, max_tasks):
    kind = queue.register(expires_after_seconds=10)
    late = [queue.create() for _ in range(60)]
    clock.advance(seconds=10)
    fresh = [queue.create()["id"] for _ in range(3)]
    assert _ids(queue.claim_batch(kind, max_tasks=max_tasks, **terms)) == fresh[:max_tasks]
    dead = queue.do(read_task, late[-1]["id"])
    assert (dead["status"], dead["failure_reason"]) == (TaskStatus.FAILED, FailureReason.DEADLINE_PASSED)


@pytest.mark.parametrize("max_tasks", [1, 2])
def test_of_nothing_a_batch_is_nothing(queue, max_tasks):
    assert queue.claim_batch(queue.register(), max_tasks=max_tasks) == []


def test_nothing_but_overdue_tasks_is_nothing(queue, clock):
    kind = queue.register(expires_after_seconds=10)
    for _ in range(5):
        queue.create()
    clock.advance(seconds=10)
    assert queue.claim_batch(kind) == []
    assert {task["status"] for task in queue.do(list_tasks, limit=10)} == {TaskStatus.FAILED}


@pytest.mark.parametrize("terms", ORDERS)
def test_no_more_tasks_than_the_limit_are_claimed_at_once(queue, terms):
    kind = queue.register(max_concurrency=5)
    made = [queue.create()["id"] for _ in range(9)]
    batch = queue.claim_batch(kind, max_tasks=3, **terms)
    assert _ids(batch) == made[:3]
    assert _ids(queue.claim_batch(kind, **terms)) == made[3:5]
    assert queue.claim_batch(kind, **terms) == []
    assert queue.claim(kind) is None
    token = batch[0]["lease_token"]
    queue.do(complete_task, made[0], worker_id="w1", lease_token=token, result=None)
    assert _ids(queue.claim_batch(kind, **terms)) == made[5:6]


def test_below_its_limit_a_type_makes_up_for_what_was_overdue(queue, clock):
    kind = queue.register(max_concurrency=5, expires_after_seconds=10)
    queue.create()
    clock.advance(seconds=10)
    made = [queue.create()["id"] for _ in range(4)]
    assert _ids(queue.claim_batch(kind, max_tasks=3)) == made[:3]


def test_no_more_claims_than_the_rate_are_given_in_any_window(queue, clock):
    kind = queue.register(rate_limit="5/10")
    for _ in range(20):
        queue.create()
    got = []
    for second in range(25):
        got += [second] * len(queue.claim_batch(kind, max_tasks=3))
        clock.advance(seconds=1)
    assert got == [0, 0, 0, 1, 1, 10, 10, 10, 11, 11, 20, 20, 20, 21, 21]


def test_a_claim_of_one_counts_the_batches_before_it(queue):
    kind = queue.register(rate_limit="3/10")
    for _ in range(5):
        queue.create()
    assert len(queue.claim_batch(kind, max_tasks=2)) == 2
    assert queue.claim(kind) is not None
    assert queue.claim(kind) is None


def test_a_type_at_its_limit_leaves_its_share_to_the_others(queue):
    limited, free = queue.register("limited", max_concurrency=2), queue.register("free")
    for _ in range(10):
        queue.create("limited", priority=9)
    for _ in range(10):
        queue.create("free")
    batch = queue.claim_batch(limited, free, max_tasks=8)
    assert [task["type"] for task in batch] == ["limited"] * 2 + ["free"] * 6


def test_a_type_that_is_full_already_takes_no_share_and_no_time(queue):
    full, free = queue.register("full", max_concurrency=1), queue.register("free")
    for _ in range(2):
        queue.create("full", priority=1)
    queue.must_claim(full)
    made = [queue.create("free")["id"] for _ in range(2)]
    with counted_statements(queue.database) as seen:
        assert _ids(queue.claim_batch(full, free, max_tasks=2)) == made
    assert len(seen) <= 13, seen


def test_a_limit_that_is_reached_ends_the_batch_at_once(queue):
    kind = queue.register(max_concurrency=3, rate_limit="100/60")
    for _ in range(10):
        queue.create()
    queue.must_claim(kind)
    with counted_statements(queue.database) as seen:
        assert len(queue.claim_batch(kind, max_tasks=5)) == 2
    assert len(seen) <= 9, seen


def test_a_batch_ends_early_where_the_parameters_are_large(queue):
    kind = queue.register()
    size = MAX_CHARACTERS // 3
    made = [queue.create(params={"n": number, "text": "x" * size})["id"] for number in range(4)]
    assert _ids(queue.claim_batch(kind)) == made[:2]
    assert _ids(queue.claim_batch(kind)) == made[2:]


def test_a_second_look_takes_no_more_than_there_is_still_room_for(queue, clock, monkeypatch):
    kind = queue.register()
    queue.create(priority=1, deadline_at=clock.instant + timedelta(seconds=10))
    params = [{"n": number, "text": "x" * 100} for number in range(3)]
    made = [queue.create(params=each)["id"] for each in params]
    clock.advance(seconds=10)
    monkeypatch.setattr("app.queue.claim_batch.MAX_CHARACTERS", len(to_json(params[0])) * 2)
    # The first look finds the overdue task and the first two, which just fit.
    assert _ids(queue.claim_batch(kind, max_tasks=3)) == made[:2]
    assert _ids(queue.claim_batch(kind, max_tasks=3)) == made[2:]


def test_one_task_larger_than_a_batch_may_be_is_claimed_all_the_same(queue):
    kind = queue.register()
    queue.create(params={"text": "x" * MAX_CHARACTERS})
    queue.create(params={"text": "y" * MAX_CHARACTERS})
    assert len(queue.claim_batch(kind)) == 1
    assert len(queue.claim_batch(kind)) == 1


def test_a_claim_again_after_a_failure_counts_the_attempt_and_keeps_its_first_begin(queue, clock):
    kind = queue.register(lease_seconds=10)
    queue.create()
    queue.create()
    first = queue.claim_batch(kind)
    clock.advance(seconds=10)
    queue.do(do_what_is_due)
    second = queue.claim_batch(kind, worker_id="w2")
    assert [task["attempts"] for task in second] == [2, 2]
    assert [task["first_claimed_at"] for task in second] == [first[0]["claimed_at"]] * 2


@pytest.mark.parametrize("types", [1, 2])
@pytest.mark.parametrize("part", ["UPDATE tasks", "lease_token IN"])
@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_a_batch_whose_answer_was_lost_is_claimed_once(queue, types, part):
    kinds = [queue.register(name) for name in ("a", "b")[:types]]
    made = [queue.create("ab"[number % types])["id"] for number in range(6)]
    lost = lose_the_answer(queue.database, part)
    batch = queue.claim_batch(*kinds, max_tasks=4)
    assert lost
    # What the lost answer told of is found again; what had not been taken by then is left to others.
    assert len(batch) == (4 if types == 1 or part != "UPDATE tasks" else 2)
    assert {task["attempts"] for task in batch} == {1}
    rest = queue.claim_batch(*kinds, worker_id="w2")
    assert sorted(_ids(batch) + _ids(rest)) == made


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_a_batch_under_a_limit_whose_commit_was_not_answered_is_claimed_once(queue):
    kind = queue.register(max_concurrency=3, rate_limit="5/60")
    made = [queue.create()["id"] for _ in range(6)]
    lost = lose_the_answer(queue.database, "COMMIT")
    assert _ids(queue.claim_batch(kind)) == made[:3]
    assert lost
    assert queue.claim_batch(kind) == []


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_a_connection_that_is_lost_where_a_limit_is_reached_loses_nothing(queue, open_database):
    limited, free = queue.register("limited", max_concurrency=1), queue.register("free")
    queue.create("limited")
    queue.must_claim(limited)
    made = [queue.create(name)["id"] for name in ("limited", "free", "free")]

    own = queue.database.read(lambda tx: tx.execute(text("SELECT CONNECTION_ID()")).scalar_one())

    def kill():
        with open_database().engine.connect() as connection:
            connection.exec_driver_sql(f"KILL {own}")

    killed = interrupt(queue.database, "ROLLBACK", kill)
    assert _ids(queue.claim_batch(limited, free)) == made[1:]
    assert killed


def test_what_was_cancelled_after_it_was_taken_is_not_handed_out(queue, open_database):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(3)]
    other = Queue(open_database())
    cancelled = []

    def cancel_one(_connection, _cursor, statement, *_rest):
        if "UPDATE tasks" in statement and not cancelled:
            cancelled.append(made[1])
            other.do(cancel_task, made[1])

    event.listen(queue.database.engine, "after_cursor_execute", cancel_one)
    assert _ids(queue.claim_batch(kind)) == [made[0], made[2]]


def test_a_batch_that_others_have_half_taken_goes_on_to_the_next_tasks(queue, open_database):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(8)]
    other = Queue(open_database())
    taken = []

    def take_first(_connection, _cursor, statement, *_rest):
        if "UPDATE tasks" in statement and not taken:
            taken.append("soon")
            taken[:] = _ids(other.claim_batch(kind, max_tasks=2, worker_id="w2"))

    event.listen(queue.database.engine, "before_cursor_execute", take_first)
    assert _ids(queue.claim_batch(kind, max_tasks=4)) == made[2:6]
    assert taken == made[:2]


# On MariaDB an update is told beforehand not to wait.
UPDATE = ("UPDATE tasks", "SET STATEMENT innodb_lock_wait_timeout=0 FOR UPDATE tasks")


@contextmanager
def held(open_database, *task_ids):
    """Let a transaction hold these tasks."""
    with open_database().engine.connect() as other:
        other.exec_driver_sql("START TRANSACTION")
        for task_id in task_ids:
            other.exec_driver_sql(f"SELECT id FROM tasks WHERE id = {task_id} FOR UPDATE").all()
        yield other
        other.exec_driver_sql("ROLLBACK")


@pytest.fixture
def room_for_two(monkeypatch):
    monkeypatch.setattr("app.queue.claim_batch.MAX_CHARACTERS", 250)


def _create_large(queue, *names):
    return [queue.create(name, params={"n": n, "text": "x" * 100})["id"] for n, name in enumerate(names)]


@pytest.mark.parametrize("gone", [2, 3])
def test_what_others_were_quicker_to_take_costs_one_more_look_and_one_more_update(queue, open_database, gone):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(8)]
    other = Queue(open_database())
    taken = []
    interrupt(queue.database, UPDATE, lambda: taken.extend(_ids(other.claim_batch(kind, max_tasks=gone))))
    with counted_statements(queue.database) as seen:
        assert _ids(queue.claim_batch(kind, max_tasks=3)) == made[gone : gone + 3]
    assert taken == made[:gone]
    of_tasks = [statement for statement in seen if "FROM tasks" in statement or "UPDATE tasks" in statement]
    # Two looks, two updates, and what was taken.
    assert len(of_tasks) == 5, of_tasks
    assert not any("NOT IN" in statement for statement in of_tasks), of_tasks


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_what_another_claim_is_about_to_take_is_looked_at_again_without_locks(queue, open_database):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(6)]
    other = open_database().engine.connect()
    other.exec_driver_sql("START TRANSACTION")

    def take():
        taken = f"status = {int(TaskStatus.CLAIMED)}, claimed_by = 'w2', lease_token = 't'"
        other.exec_driver_sql(f"UPDATE tasks SET {taken} WHERE id <= {made[2]}")

    met = interrupt(queue.database, UPDATE, take)

    def end_the_other_claim(_connection, _cursor, statement, *_rest):
        if met and statement.startswith("SELECT"):
            other.exec_driver_sql("COMMIT")

    event.listen(queue.database.engine, "before_cursor_execute", end_the_other_claim)
    with counted_statements(queue.database) as seen, other:
        assert _ids(queue.claim_batch(kind, max_tasks=3)) == made[3:]
    assert met
    assert not any("SKIP LOCKED" in statement for statement in seen), seen


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_a_batch_gets_all_but_the_one_that_somebody_holds(queue, open_database):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(4)]
    with held(open_database, made[1]):
        assert _ids(queue.claim_batch(kind, max_tasks=10)) == [made[0], *made[2:]]
    assert _ids(queue.claim_batch(kind, max_tasks=10)) == made[1:2]


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_large_tasks_that_somebody_holds_leave_their_room_to_the_next(queue, open_database, room_for_two):
    kind = queue.register("a")
    made = _create_large(queue, *"aaaaa")
    with held(open_database, made[0]):
        assert _ids(queue.claim_batch(kind)) == made[1:2]
    with held(open_database, made[0], made[2]):
        assert _ids(queue.claim_batch(kind)) == made[3:]


def test_large_tasks_that_others_were_quicker_to_take_leave_their_room_to_the_next(queue, open_database, room_for_two):
    kind = queue.register("a")
    made = _create_large(queue, *"aaaaa")
    other = Queue(open_database())
    taken = []
    interrupt(queue.database, UPDATE, lambda: taken.extend(_ids(other.claim_batch(kind))))
    assert _ids(queue.claim_batch(kind)) == made[2:4]
    assert taken == made[:2]


def test_large_tasks_of_a_type_at_its_limit_leave_their_room_to_the_others(queue, room_for_two):
    full, free = queue.register("full", max_concurrency=1), queue.register("free")
    made = _create_large(queue, "full", "full", "full", "free", "free")
    assert _ids(queue.claim_batch(full)) == made[:1]
    assert _ids(queue.claim_batch(full, free)) == made[3:]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_a_batch_of_several_types_is_in_order_where_somebody_holds_a_task_of_one(queue, open_database, order):
    kinds = queue.register("a"), queue.register("b")
    made = [queue.create(name)["id"] for name in "babab"]
    with held(open_database, made[4]):
        assert _ids(queue.claim_batch(*kinds, **order)) == made[:4]


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_what_was_missed_for_a_moment_takes_no_room(queue, open_database, monkeypatch):
    monkeypatch.setattr("app.queue.claim_batch.MAX_CHARACTERS", 600)
    kinds = queue.register("a"), queue.register("b")
    made = _create_large(queue, *"babab")
    updates = []
    with held(open_database, made[4]) as other:

        def release(_connection, _cursor, statement, *_rest):
            if statement.startswith(UPDATE):
                updates.append(statement)
            elif len(updates) == 2:
                other.exec_driver_sql("ROLLBACK")

        event.listen(queue.database.engine, "before_cursor_execute", release)
        assert _ids(queue.claim_batch(*kinds)) == made
