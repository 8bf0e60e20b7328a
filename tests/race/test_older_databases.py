"""The claim on databases that cannot do all that MariaDB 10.6 can: its fallbacks, on the server at hand.

What a database can do is found out by trying, once per process; here the answers are those of older ones.
"""

import time

import pytest

from app.lifecycle import TaskStatus
from app.queue.claim import claim_task
from app.queue.claim_batch import claim_tasks
from app.queue.take import ClaimOrder
from app.queue.tasks import read_task
from tests.support.factories import Queue

# Their shortest wait for a lock is a second.
A_MOMENT_SECONDS = 3.0
DATABASES = [
    pytest.param(True, False, id="MySQL 8"),
    pytest.param(False, True, id="MariaDB 10.3"),
    pytest.param(False, False, id="MySQL 5.7"),
]


@pytest.fixture(params=["mariadb"])
def database_kind(request):
    """Only where there are row locks."""
    return request.param


@pytest.fixture
def open_older(open_database):
    """Open a database that cannot do everything."""

    def open_it(skips: bool, misses: bool) -> Queue:
        database = open_database()
        database.dialect._skips_locked_rows = skips
        database.dialect._misses_locked_rows = misses
        return Queue(database)

    return open_it


@pytest.mark.parametrize(("skips", "misses"), DATABASES)
@pytest.mark.parametrize("terms", [{}, {"sort_by": "id"}])
def test_a_second_claim_gets_the_second_task_while_the_first_is_open(queue, open_older, skips, misses, terms):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(2)]
    first, other = open_older(skips, misses), open_older(skips, misses)

    def work(tx):
        task = claim_task(tx, [kind], ClaimOrder(worker_id="w1", **terms))
        began = time.monotonic()
        second = other.claim(kind, worker_id="w2", **terms)
        assert time.monotonic() - began < A_MOMENT_SECONDS
        return [task["id"], second["id"]]

    assert first.database.write(work) == made
    assert other.claim(kind) is None


@pytest.mark.parametrize(("skips", "misses"), DATABASES)
@pytest.mark.parametrize("terms", [{}, {"sort_by": "id"}])
def test_overdue_tasks_and_limits_are_obeyed(open_older, clock, skips, misses, terms):
    queue = open_older(skips, misses)
    kind = queue.register(expires_after_seconds=10, max_concurrency=1)
    plain = queue.register("plain", expires_after_seconds=10)
    late = [queue.create(), queue.create("plain")]
    clock.advance(seconds=10)
    fresh = [queue.create(), queue.create("plain")]
    queue.create()
    assert queue.must_claim(kind, **terms)["id"] == fresh[0]["id"]
    assert queue.claim(kind, **terms) is None
    assert queue.must_claim(plain, **terms)["id"] == fresh[1]["id"]
    assert queue.claim(plain, **terms) is None
    assert queue.do(read_task, late[0]["id"])["status"] == TaskStatus.FAILED


@pytest.mark.parametrize(("skips", "misses"), DATABASES)
@pytest.mark.parametrize("terms", [{}, {"sort_by": "id"}])
def test_a_second_batch_gets_the_next_tasks_while_the_first_is_open(queue, open_older, skips, misses, terms):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(6)]
    first, other = open_older(skips, misses), open_older(skips, misses)

    def work(tx):
        batch = claim_tasks(tx, [kind], ClaimOrder(worker_id="w1", **terms), 2)
        began = time.monotonic()
        # Its first two are held by the first claim.
        second = other.claim_batch(kind, worker_id="w2", max_tasks=4, **terms)
        # Waits of a second each, where an update cannot but wait.
        assert time.monotonic() - began < (A_MOMENT_SECONDS if misses or skips else 3 * A_MOMENT_SECONDS)
        return [task["id"] for task in (*batch, *second)]

    assert first.database.write(work) == made
    assert other.claim_batch(kind) == []


@pytest.mark.parametrize(("skips", "misses"), DATABASES)
def test_batches_give_up_what_is_overdue_and_obey_limits(open_older, clock, skips, misses):
    queue = open_older(skips, misses)
    kind = queue.register(expires_after_seconds=10, max_concurrency=3)
    late = queue.create()
    clock.advance(seconds=10)
    fresh = [queue.create()["id"] for _ in range(5)]
    assert [task["id"] for task in queue.claim_batch(kind)] == fresh[:3]
    assert queue.claim_batch(kind) == []
    assert queue.do(read_task, late["id"])["status"] == TaskStatus.FAILED
