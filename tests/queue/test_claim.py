"""Claim: who gets which task, and under which terms."""

from datetime import timedelta

import pytest

from app.errors import TaskTypeNotFound
from app.lifecycle import FailureReason, TaskStatus
from app.queue.cancel import cancel_task
from app.queue.claim import claim_task
from app.queue.claim_batch import claim_tasks
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.leases import read_token
from app.queue.line import admit_due
from app.queue.take import ClaimOrder
from app.queue.tasks import read_task
from tests.support.factories import Queue
from tests.support.faults import interrupt
from tests.support.statements import counted_statements


def test_a_claim_takes_the_highest_priority_first_and_within_it_the_oldest(queue):
    kind = queue.register()
    for priority in (0, 5, 0, 5, -1):
        queue.create(priority=priority)
    claimed = [queue.must_claim(kind) for _ in range(5)]
    assert [-task["claim_rank"] for task in claimed] == [5, 5, 0, 0, -1]
    assert claimed[0]["id"] < claimed[1]["id"]
    assert claimed[2]["id"] < claimed[3]["id"]
    assert queue.claim(kind) is None


def test_a_claim_counts_the_attempt_and_says_when_its_lease_ends(queue, clock):
    kind = queue.register(lease_seconds=60)
    queue.create()
    task = queue.must_claim(kind, worker_id="ann")
    assert (task["status"], task["attempts"], task["claimed_by"]) == (TaskStatus.CLAIMED, 1, "ann")
    assert task["due_at"] == clock.instant + timedelta(seconds=60)
    lease = read_token(task["lease_token"])
    assert lease is not None
    assert (lease.type_id, lease.seconds) == (kind, 60)


def test_what_a_claim_answers_is_what_the_table_holds(queue):
    kind = queue.register(attempt_timeout_seconds=30)
    queue.create()
    task = queue.must_claim(kind)
    assert task == queue.told_of(task["id"])


def test_a_worker_can_ask_for_another_length_of_lease(queue, clock):
    kind = queue.register(lease_seconds=60)
    queue.create()
    assert queue.must_claim(kind, lease_seconds=5)["due_at"] == clock.instant + timedelta(seconds=5)


def test_a_lease_never_reaches_beyond_the_time_of_the_attempt(queue, clock):
    kind = queue.register(lease_seconds=60, attempt_timeout_seconds=10)
    queue.create()
    assert queue.must_claim(kind)["due_at"] == clock.instant + timedelta(seconds=10)


def test_an_overdue_task_holds_no_place_for_its_type(queue, clock):
    a, b = queue.register("a"), queue.register("b")
    queue.create("a", priority=9, deadline_at=clock.instant + timedelta(seconds=10))
    queue.create("a", priority=1)
    first = queue.create("b", priority=5)
    clock.advance(seconds=10)
    assert queue.must_claim(a, b)["id"] == first["id"]


def test_a_claim_for_several_types_takes_the_first_task_of_all(queue):
    a, b, c = queue.register("a"), queue.register("b"), queue.register("c")
    queue.create("a", priority=1)
    first = queue.create("b", priority=9)
    queue.create("c", priority=5)
    assert queue.must_claim(a, b, c)["id"] == first["id"]
    assert [queue.must_claim(a, b, c)["type"] for _ in range(2)] == ["c", "a"]
    assert queue.claim(a, b, c) is None


def test_a_claim_does_not_take_tasks_of_other_types(queue):
    a, b = queue.register("a"), queue.register("b")
    queue.create("b")
    assert queue.claim(a) is None
    assert queue.must_claim(b)["type"] == "b"


@pytest.mark.parametrize(
    ("sort_by", "descending", "expected"),
    [
        ("id", False, [0, 1, 2, 3]),
        ("id", True, [3, 2, 1, 0]),
        ("created_at", False, [0, 1, 2, 3]),
        ("created_at", True, [3, 2, 1, 0]),
        ("priority", True, [3, 1, 2, 0]),
        ("priority", False, [0, 2, 1, 3]),
        ("attempts", False, [0, 1, 2, 3]),
        ("attempts", True, [3, 2, 1, 0]),
    ],
)
def test_a_claim_obeys_the_callers_own_order_with_ties_by_id_in_its_direction(
    queue, clock, sort_by, descending, expected
):
    kind = queue.register()
    made = []
    for priority in (0, 5, 0, 5):
        made.append(queue.create(priority=priority)["id"])
        clock.advance(seconds=1)
    got = [queue.must_claim(kind, sort_by=sort_by, descending=descending)["id"] for _ in range(4)]
    assert [made.index(task_id) for task_id in got] == expected
    assert queue.claim(kind, sort_by=sort_by, descending=descending) is None


@pytest.mark.parametrize("sort_by", ["id", "created_at", "priority", "attempts"])
def test_in_an_order_that_is_not_about_deadlines_they_do_not_count(queue, clock, sort_by):
    kind = queue.register()
    first = queue.create()
    queue.create(deadline_at=clock.instant + timedelta(seconds=10))
    assert queue.must_claim(kind, sort_by=sort_by)["id"] == first["id"]


def test_a_claim_in_its_own_order_reaches_several_types(queue):
    a, b = queue.register("a"), queue.register("b")
    queue.create("a", priority=3)
    last = queue.create("b")
    assert queue.must_claim(a, b, sort_by="id", descending=True)["id"] == last["id"]


def test_a_paused_type_gives_nothing_and_an_inactive_one_still_does(queue):
    paused, inactive = queue.register("paused"), queue.register("inactive")
    queue.create("paused")
    queue.create("inactive")
    queue.register("paused", is_paused=True)
    queue.register("inactive", is_active=False)
    assert queue.claim(paused) is None
    assert queue.must_claim(paused, inactive)["type"] == "inactive"


def test_a_scheduled_task_is_not_claimable_until_its_time_has_come(queue, clock):
    kind = queue.register()
    queue.create(delay_seconds=10)
    assert queue.claim(kind) is None
    clock.advance(seconds=9.9)
    assert queue.do(do_what_is_due) == 0
    assert queue.claim(kind) is None
    clock.advance(seconds=0.1)
    assert queue.do(do_what_is_due) == 1
    task = queue.must_claim(kind)
    # Nobody waits for its end, which costs nothing more than the end of a task that was never scheduled.
    assert (task["attempts"], task["has_followers"]) == (1, False)


@pytest.mark.parametrize("own_order", [None, "id"])
def test_a_task_that_nobody_started_in_time_is_not_claimed_even_before_housekeeping(queue, clock, own_order):
    kind = queue.register(expires_after_seconds=10)
    late = queue.create()
    clock.advance(seconds=10)
    fresh = queue.create()
    assert queue.must_claim(kind, sort_by=own_order)["id"] == fresh["id"]
    assert queue.claim(kind, sort_by=own_order) is None
    dead = queue.do(read_task, late["id"])
    assert (dead["status"], dead["failure_reason"]) == (TaskStatus.FAILED, FailureReason.DEADLINE_PASSED)


def test_a_deadline_ends_a_waiting_task(queue, clock):
    kind = queue.register()
    task = queue.create(deadline_at=clock.instant + timedelta(seconds=5))
    clock.advance(seconds=5)
    assert queue.do(do_what_is_due) == 1
    dead = queue.do(read_task, task["id"])
    assert (dead["status"], dead["failure_reason"]) == (TaskStatus.FAILED, FailureReason.DEADLINE_PASSED)
    assert queue.claim(kind) is None


def test_a_claim_of_an_unknown_type_says_so(queue):
    with pytest.raises(TaskTypeNotFound):
        queue.claim(987654321)


def test_no_more_tasks_than_the_limit_are_claimed_at_once(queue):
    kind = queue.register(max_concurrency=2)
    for _ in range(4):
        queue.create()
    first, _ = queue.must_claim(kind), queue.must_claim(kind)
    assert queue.claim(kind) is None
    assert queue.claim(kind, sort_by="id") is None
    queue.do(complete_task, first["id"], worker_id="w1", lease_token=first["lease_token"], result=None)
    assert queue.must_claim(kind, sort_by="id")["id"] not in (first["id"],)
    assert queue.claim(kind) is None


def test_an_overdue_task_does_not_count_as_a_limit_that_was_reached(queue, clock):
    kind = queue.register(expires_after_seconds=10, max_concurrency=5)
    queue.create()
    clock.advance(seconds=10)
    fresh = [queue.create()["id"] for _ in range(2)]
    assert queue.must_claim(kind, sort_by="id")["id"] == fresh[0]
    assert queue.must_claim(kind)["id"] == fresh[1]


def test_a_type_at_its_limit_does_not_hold_up_the_others(queue):
    full, free = queue.register("full", max_concurrency=1), queue.register("free")
    queue.create("full", priority=9)
    queue.create("full", priority=9)
    queue.create("free")
    assert [queue.must_claim(full, free)["type"] for _ in range(2)] == ["full", "free"]


def test_no_more_claims_than_the_rate_are_given_in_any_window(queue, clock):
    kind = queue.register(rate_limit="2/10")
    for _ in range(9):
        queue.create()
    got = []
    for second in range(30):
        while queue.claim(kind) is not None:
            got.append(second)
        clock.advance(seconds=1)
    assert got == [0, 0, 10, 10, 20, 20]


@pytest.mark.parametrize("max_tasks", [1, 3])
def test_a_claim_that_slept_on_its_way_counts_from_when_it_is_made(queue, open_database, clock, max_tasks):
    kind = queue.register(rate_limit="2/10")
    other = Queue(open_database())
    for _ in range(9):
        queue.create()
    assert len(queue.claim_batch(kind, max_tasks=2)) == 2
    clock.advance(seconds=2)

    def claim(tx):
        # The process sleeps here, after it was told the time; meanwhile others forget the claims before.
        clock.advance(seconds=10)
        assert len(other.claim_batch(kind, max_tasks=1)) == 1
        return claim_tasks(tx, [kind], ClaimOrder(worker_id="w2"), max_tasks)

    slept = queue.database.write(claim, atomic=False)
    assert [task["claimed_at"] for task in slept] == [clock.instant]
    assert other.claim(kind) is None


@pytest.mark.parametrize("limits", [{"rate_limit": "1/10"}, {"key_rate_limit": "1/10"}])
def test_the_same_where_nobody_else_has_claimed_meanwhile(queue, open_database, clock, limits):
    kind = queue.register(**limits)
    other = Queue(open_database())
    for _ in range(2):
        queue.create(concurrency_key="k")

    def claim(tx):
        clock.advance(seconds=11)
        return claim_task(tx, [kind], ClaimOrder(worker_id="w1"))

    assert queue.database.write(claim, atomic=False) is not None
    other.do(admit_due)
    assert other.claim(kind) is None


def test_a_cancelled_task_is_not_claimed(queue):
    kind = queue.register()
    task = queue.create()
    queue.do(cancel_task, task["id"])
    assert queue.claim(kind) is None


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_where_claims_meet_who_comes_second_takes_the_next_by_one_statement_more(queue, open_database):
    kind = queue.register()
    made = [queue.create()["id"] for _ in range(4)]
    other = Queue(open_database())
    for place in (1, 3):
        met = interrupt(queue.database, "SET STATEMENT", lambda: other.must_claim(kind, worker_id="w2"))
        with counted_statements(queue.database) as seen:
            assert queue.must_claim(kind)["id"] == made[place]
        assert met
    # The first time nothing was known of the others, and it took a transaction.
    assert [statement.split()[0] for statement in seen] == ["SELECT", "SET", "SET"]


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_where_claims_meet_what_is_overdue_is_passed_by(queue, open_database, clock):
    kind = queue.register()
    first = queue.create()["id"]
    queue.create(deadline_at=clock.instant + timedelta(seconds=10))
    last = queue.create()["id"]
    clock.advance(seconds=10)
    queue.do(lambda tx: tx.cache.keep(("claims have met", kind), True, 60))
    other = Queue(open_database())
    met = interrupt(queue.database, "SET STATEMENT", lambda: other.do(cancel_task, first))
    assert queue.must_claim(kind)["id"] == last
    assert met
