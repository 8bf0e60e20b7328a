"""Two claims held open at once: whenever a second task is claimable, the second claim gets it, and does not wait.

On MariaDB both transactions are really open. SQLite has one writer at a time, so there the second claim is made
between the first one's look at the queue and its taking of the task.
"""

import time
from datetime import timedelta

import pytest
from sqlalchemy import event

from app.queue.claim import claim_task
from app.queue.claim_batch import claim_tasks
from app.queue.take import ClaimOrder
from app.storage.database import Database
from tests.support.factories import Queue
from tests.support.statements import counted_statements

ORDERS = [
    pytest.param({}, id="default order"),
    pytest.param({"sort_by": "created_at"}, id="oldest first"),
    pytest.param({"sort_by": "id", "descending": True}, id="newest first"),
]
# Far below the lock wait of a session, and far above what a claim takes.
A_MOMENT_SECONDS = 2.0


@pytest.fixture
def mariadb_only(database_kind):
    """Skip where there are no row locks."""
    if database_kind != "mariadb":
        pytest.skip("SQLite has no row locks: one writer at a time")


@pytest.fixture
def other(open_database) -> Queue:
    """The queue as another process sees it."""
    return Queue(open_database())


class _GoBack(Exception):
    pass


def _with_claim_open(database: Database, type_ids, order: ClaimOrder, during, *, commit: bool) -> None:
    """Claim in a transaction, run `during(task)` while it is open, then commit or roll back."""

    def work(tx):
        task = claim_task(tx, type_ids, order)
        assert task is not None
        during(task)
        if not commit:
            raise _GoBack

    try:
        database.write(work)
    except _GoBack:
        assert not commit


@pytest.mark.parametrize("terms", ORDERS)
@pytest.mark.parametrize("other_terms", ORDERS)
@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.usefixtures("mariadb_only")
def test_a_second_claim_gets_the_second_task_while_the_first_is_open(queue, other, terms, other_terms, commit):
    kind = queue.register()
    made = {queue.create(priority=priority)["id"] for priority in (2, 1)}
    seen = []

    def during(task):
        began = time.monotonic()
        second = other.claim(kind, worker_id="w2", **other_terms)
        assert time.monotonic() - began < A_MOMENT_SECONDS
        assert second is not None
        assert other.claim(kind, worker_id="w3", **other_terms) is None
        assert time.monotonic() - began < 2 * A_MOMENT_SECONDS
        seen.extend([task["id"], second["id"]])

    _with_claim_open(queue.database, [kind], ClaimOrder(worker_id="w1", **terms), during, commit=commit)
    assert set(seen) == made
    left = other.claim(kind, worker_id="w4")
    assert left is None if commit else left is not None and left["id"] == seen[0]


@pytest.mark.parametrize("terms", ORDERS)
@pytest.mark.usefixtures("mariadb_only")
def test_the_same_with_several_types(queue, other, terms):
    kinds = [queue.register(name) for name in ("a", "b", "c")]
    made = {queue.create(name, priority=priority)["id"] for name, priority in (("a", 3), ("b", 2), ("a", 1))}
    seen = []

    def during(task):
        seen.append(task["id"])
        for worker_id in ("w2", "w3"):
            began = time.monotonic()
            got = other.claim(*kinds, worker_id=worker_id, **terms)
            assert time.monotonic() - began < A_MOMENT_SECONDS
            assert got is not None
            seen.append(got["id"])
        assert other.claim(*kinds, worker_id="w4", **terms) is None

    _with_claim_open(queue.database, kinds, ClaimOrder(worker_id="w1", **terms), during, commit=True)
    assert set(seen) == made


@pytest.mark.usefixtures("mariadb_only")
def test_a_claim_passes_by_rows_that_a_slow_transaction_holds(queue, other, open_database):
    kind = queue.register()
    held = [queue.create()["id"] for _ in range(3)]
    free = queue.create()["id"]
    with open_database().engine.connect() as connection:
        connection.exec_driver_sql("START TRANSACTION")
        # One by one by primary key: for a list of ids in a small table the database scans, and locks, all of it.
        for task_id in held:
            connection.exec_driver_sql(f"UPDATE tasks SET progress = 1 WHERE id = {task_id}")
        for terms in ({}, {"sort_by": "id"}):
            began = time.monotonic()
            got = other.claim(kind, **terms)
            assert time.monotonic() - began < A_MOMENT_SECONDS
            assert (got or {}).get("id") == (free if terms == {} else None)
        connection.exec_driver_sql("ROLLBACK")
    assert other.must_claim(kind)["id"] == held[0]


@pytest.mark.parametrize("types", [1, 2])
@pytest.mark.usefixtures("mariadb_only")
def test_a_claim_passes_by_an_overdue_task_that_somebody_holds(queue, other, open_database, clock, types):
    kinds = [queue.register(name, expires_after_seconds=60) for name in ("a", "b")[:types]]
    overdue = queue.create("a")["id"]
    clock.advance(seconds=60)
    good = queue.create("a")["id"]
    with open_database().engine.connect() as connection:
        connection.exec_driver_sql("START TRANSACTION")
        connection.exec_driver_sql(f"UPDATE tasks SET progress = 1 WHERE id = {overdue}")
        with counted_statements(other.database) as seen:
            assert other.must_claim(*kinds)["id"] == good
        # It does not look again and again.
        assert len(seen) < 20
        connection.exec_driver_sql("ROLLBACK")


@pytest.mark.parametrize("terms", ORDERS)
@pytest.mark.parametrize("types", [1, 2])
def test_a_claim_that_comes_second_to_a_task_takes_the_next_one(queue, other, terms, types):
    kinds = [queue.register(name) for name in ("a", "b")[:types]]
    made = {queue.create("a", priority=priority)["id"] for priority in (2, 1)}
    taken = []

    def take_it_first(_connection, _cursor, statement, *_rest):
        # Right before the first claim takes what it has just seen, the other one takes it.
        if not taken and ("UPDATE tasks" in statement or statement.startswith(("BEGIN", "START"))):
            taken.append(other.must_claim(*kinds, worker_id="w2", **terms)["id"])

    event.listen(queue.database.engine, "before_cursor_execute", take_it_first)
    got = queue.must_claim(*kinds, **terms)
    assert {got["id"], *taken} == made
    assert queue.claim(*kinds, **terms) is None


def _ids(tasks):
    return [task["id"] for task in tasks]


@pytest.mark.parametrize("terms", ORDERS)
@pytest.mark.parametrize("types", [1, 3])
@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.usefixtures("mariadb_only")
def test_a_second_batch_gets_the_next_tasks_while_the_first_is_open(queue, other, terms, types, commit):
    kinds = [queue.register(name) for name in ("a", "b", "c")[:types]]
    made = {queue.create("abc"[number % types], priority=number)["id"] for number in range(9)}
    seen = []

    def work(tx):
        first = claim_tasks(tx, kinds, ClaimOrder(worker_id="w1", **terms), 3)
        began = time.monotonic()
        second = other.claim_batch(*kinds, worker_id="w2", max_tasks=4, **terms)
        single = other.claim(*kinds, worker_id="w3", **terms)
        # More than there is.
        last = other.claim_batch(*kinds, worker_id="w4", max_tasks=100, **terms)
        assert other.claim_batch(*kinds, worker_id="w5", **terms) == []
        assert time.monotonic() - began < 2 * A_MOMENT_SECONDS
        assert [len(second), single is not None, len(last)] == [4, True, 1]
        seen.extend(_ids([*first, *second, single, *last]))
        if not commit:
            raise _GoBack

    try:
        queue.database.write(work)
    except _GoBack:
        assert not commit
    assert (set(seen), len(seen)) == (made, 9)
    left = other.claim_batch(*kinds, worker_id="w6")
    assert set(_ids(left)) == (set() if commit else set(seen[:3]))


@pytest.mark.usefixtures("mariadb_only")
def test_a_single_claim_gets_the_next_task_while_a_batch_is_open(queue, other):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(4)]

    def work(tx):
        assert _ids(claim_tasks(tx, [kind], ClaimOrder(worker_id="w1"), 3)) == made[:3]
        began = time.monotonic()
        assert other.must_claim(kind)["id"] == made[3]
        assert other.claim(kind) is None
        # An open claim does not stop those who create tasks, nor hide what they create.
        new = other.create(params={"new": True})["id"]
        assert other.must_claim(kind)["id"] == new
        assert time.monotonic() - began < A_MOMENT_SECONDS

    queue.database.write(work)


@pytest.mark.parametrize("terms", ORDERS)
@pytest.mark.parametrize("limits", [{}, {"max_concurrency": 50}])
@pytest.mark.usefixtures("mariadb_only")
def test_a_batch_passes_by_rows_that_a_slow_transaction_holds(queue, other, open_database, terms, limits):
    kind = queue.register(**limits)
    made = [queue.create()["id"] for _ in range(6)]
    held = made[1::2]
    with open_database().engine.connect() as connection:
        connection.exec_driver_sql("START TRANSACTION")
        for task_id in held:
            connection.exec_driver_sql(f"UPDATE tasks SET progress = 1 WHERE id = {task_id}")
        began = time.monotonic()
        assert set(_ids(other.claim_batch(kind, max_tasks=5, **terms))) == set(made) - set(held)
        assert time.monotonic() - began < A_MOMENT_SECONDS
        connection.exec_driver_sql("ROLLBACK")
    assert _ids(other.claim_batch(kind)) == held


@pytest.mark.parametrize("max_tasks", [1, 2])
@pytest.mark.usefixtures("mariadb_only")
def test_claims_that_count_for_their_keys_do_not_wait_for_each_other(queue, other, max_tasks):
    kind = queue.register(key_rate_limit="100/60")
    made = [queue.create(concurrency_key=f"key {number}")["id"] for number in range(4)]

    def work(tx):
        first = claim_tasks(tx, [kind], ClaimOrder(worker_id="w1"), max_tasks)
        began = time.monotonic()
        second = other.claim_batch(kind, worker_id="w2", max_tasks=max_tasks)
        assert time.monotonic() - began < A_MOMENT_SECONDS
        return _ids([*first, *second])

    assert queue.database.write(work) == made[: 2 * max_tasks]


@pytest.mark.parametrize("terms", ORDERS[:2])
@pytest.mark.parametrize("seconds", [0, 10], ids=["in time", "overdue"])
@pytest.mark.usefixtures("mariadb_only")
def test_a_batch_passes_by_more_held_tasks_than_it_looks_at(
    queue, other, open_database, clock, monkeypatch, terms, seconds
):
    monkeypatch.setattr("app.queue.claim_batch.OVERDUE_SLICE", 2)
    kind = queue.register()
    held = [queue.create(deadline_at=clock.instant + timedelta(seconds=10))["id"] for _ in range(5)]
    clock.advance(seconds=seconds)
    free = [queue.create()["id"] for _ in range(2)]
    with open_database().engine.connect() as connection:
        connection.exec_driver_sql("START TRANSACTION")
        for task_id in held:
            connection.exec_driver_sql(f"UPDATE tasks SET progress = 1 WHERE id = {task_id}")
        assert _ids(other.claim_batch(kind, max_tasks=2, **terms)) == free
        connection.exec_driver_sql("ROLLBACK")


@pytest.mark.usefixtures("mariadb_only")
def test_a_batch_goes_on_when_its_second_look_begins_with_a_held_task(queue, other, open_database):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(5)]
    with open_database().engine.connect() as connection:
        connection.exec_driver_sql("START TRANSACTION")
        for task_id in (made[0], made[2]):
            connection.exec_driver_sql(f"UPDATE tasks SET progress = 1 WHERE id = {task_id}")
        assert _ids(other.claim_batch(kind, max_tasks=2)) == [made[1], made[3]]
        connection.exec_driver_sql("ROLLBACK")


@pytest.mark.usefixtures("mariadb_only")
def test_a_batch_holds_nothing_but_its_own_tasks(queue, other, open_database):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(20)]

    def work(tx):
        assert _ids(claim_tasks(tx, [kind], ClaimOrder(worker_id="w1"), 10)) == made[:10]
        # If it held others too, this would wait for them.
        with open_database().engine.connect() as connection:
            began = time.monotonic()
            for task_id in made[10:]:
                connection.exec_driver_sql(f"UPDATE tasks SET progress = 1 WHERE id = {task_id}")
            assert time.monotonic() - began < A_MOMENT_SECONDS

    queue.database.write(work)
