"""retry_for_seconds: the time that all attempts of a task have together, from the beginning of the first."""

from datetime import timedelta

import pytest

from app.errors import LeaseLost
from app.lifecycle import FailureReason, TaskStatus
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.release import release_task
from app.queue.tasks import read_task


def _fail(queue, task, **more):
    report = {"error": "bad", "retryable": True, "retry_after_seconds": None, **more}
    return queue.do(fail_task, task["id"], worker_id="w1", lease_token=task["lease_token"], **report)


def _state(queue, task):
    row = queue.do(read_task, task["id"])
    return TaskStatus(row["status"]), row["failure_reason"]


@pytest.fixture
def claimed(queue):
    """A task claimed for the first time, whose attempts have 100 s together and 10 s between them."""
    kind = queue.register(
        retry_for_seconds=100, retry_delay_seconds=10, retry_backoff="fixed", lease_seconds=60, max_attempts=50
    )
    queue.create()
    return queue.must_claim(kind)


@pytest.mark.parametrize(("after", "status"), [(89.999, TaskStatus.SCHEDULED), (90, TaskStatus.FAILED)])
def test_no_attempt_is_planned_at_or_after_the_end(queue, claimed, clock, after, status):
    clock.advance(seconds=after)
    assert _fail(queue, claimed)["status"] == status
    reason = FailureReason.ATTEMPTS_EXHAUSTED if status == TaskStatus.FAILED else None
    assert _state(queue, claimed) == (status, reason)


def test_the_wish_of_the_worker_is_bounded_by_it(queue, claimed):
    assert _fail(queue, claimed, retry_after_seconds=100)["failure_reason"] == FailureReason.ATTEMPTS_EXHAUSTED


def test_it_counts_from_the_first_attempt_whatever_came_between(queue, claimed, clock):
    _fail(queue, claimed)
    clock.advance(seconds=80)
    queue.do(do_what_is_due)
    second = queue.must_claim(claimed["type_id"])
    clock.advance(seconds=10)
    assert _fail(queue, second)["failure_reason"] == FailureReason.ATTEMPTS_EXHAUSTED


def test_what_waits_in_a_full_queue_is_not_begun_after_the_end(queue, claimed, clock):
    _fail(queue, claimed)
    clock.advance(seconds=10)
    queue.do(do_what_is_due)
    clock.advance(seconds=89)
    assert queue.do(do_what_is_due) == 0
    clock.advance(seconds=1)
    # Also when no housekeeping has come by.
    assert queue.claim(claimed["type_id"]) is None
    assert _state(queue, claimed) == (TaskStatus.FAILED, FailureReason.ATTEMPTS_EXHAUSTED)


def test_the_same_without_a_pause_between_the_attempts(queue, clock):
    kind = queue.register(retry_for_seconds=100, retry_delay_seconds=0)
    queue.create()
    task = queue.must_claim(kind)
    _fail(queue, task)
    clock.advance(seconds=100)
    assert queue.do(do_what_is_due) == 1
    assert _state(queue, task) == (TaskStatus.FAILED, FailureReason.ATTEMPTS_EXHAUSTED)


@pytest.mark.parametrize("renewed", [0, 40])
def test_a_lease_that_ends_after_it_is_the_last(queue, claimed, clock, renewed):
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    if renewed:
        clock.advance(seconds=renewed - 1)
        queue.must_claim(claimed["type_id"])
        clock.advance(seconds=60)
    else:
        clock.advance(seconds=40)
    assert queue.do(do_what_is_due) == 1
    assert _state(queue, claimed) == (TaskStatus.FAILED, FailureReason.LEASE_EXPIRED)


def test_the_worker_whose_lease_ended_may_still_complete_it(queue, claimed, clock):
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    clock.advance(seconds=40)
    queue.do(do_what_is_due)
    assert _state(queue, claimed) == (TaskStatus.FAILED, FailureReason.LEASE_EXPIRED)
    with pytest.raises(LeaseLost):
        queue.do(complete_task, claimed["id"], worker_id="w1", lease_token="1-60-" + "0" * 32, result=1)
    queue.do(complete_task, claimed["id"], worker_id="w1", lease_token=claimed["lease_token"], result=1)
    assert _state(queue, claimed) == (TaskStatus.COMPLETED, None)


def test_a_running_attempt_may_go_on_beyond_it(queue, claimed, clock):
    clock.advance(seconds=1000)
    queue.do(complete_task, claimed["id"], worker_id="w1", lease_token=claimed["lease_token"], result=1)
    assert _state(queue, claimed) == (TaskStatus.COMPLETED, None)


def test_the_deadline_goes_first_where_it_is_earlier(queue, clock):
    kind = queue.register(retry_for_seconds=100, retry_delay_seconds=0)
    queue.create(deadline_at=clock.instant + timedelta(seconds=50))
    task = queue.must_claim(kind)
    _fail(queue, task)
    clock.advance(seconds=50)
    queue.do(do_what_is_due)
    assert _state(queue, task) == (TaskStatus.FAILED, FailureReason.DEADLINE_PASSED)


def test_an_attempt_that_was_given_back_does_not_start_the_time(queue, claimed, clock):
    released = queue.do(release_task, claimed["id"], worker_id="w1", lease_token=None, delay_seconds=200)
    assert released["first_claimed_at"] is None
    clock.advance(seconds=200)
    queue.do(do_what_is_due)
    assert _fail(queue, queue.must_claim(claimed["type_id"]))["status"] == TaskStatus.SCHEDULED


def test_a_later_attempt_that_was_given_back_does_not_prolong_it(queue, claimed, clock):
    _fail(queue, claimed)
    clock.advance(seconds=10)
    queue.do(do_what_is_due)
    again = queue.must_claim(claimed["type_id"])
    queue.do(release_task, again["id"], worker_id="w1", lease_token=None, delay_seconds=0)
    clock.advance(seconds=90)
    assert queue.do(do_what_is_due) == 1
    assert _state(queue, claimed) == (TaskStatus.FAILED, FailureReason.ATTEMPTS_EXHAUSTED)


def test_without_the_policy_there_is_no_end(queue, clock):
    kind = queue.register(retry_delay_seconds=0, max_attempts=3)
    queue.create()
    task = queue.must_claim(kind)
    clock.advance(seconds=10**7)
    assert _fail(queue, task)["status"] == TaskStatus.PENDING
    clock.advance(seconds=10**7)
    assert queue.do(do_what_is_due) == 0


def test_in_the_line_of_a_key_the_time_goes_on(queue, clock):
    kind = queue.register(retry_for_seconds=100, retry_delay_seconds=10, key_max_concurrency=1)
    queue.create(concurrency_key="a")
    task = queue.must_claim(kind)
    _fail(queue, task)
    other = queue.create(concurrency_key="a")
    assert queue.must_claim(kind, worker_id="w2")["id"] == other["id"]
    clock.advance(seconds=10)
    queue.do(do_what_is_due)
    assert _state(queue, task)[0] == TaskStatus.BLOCKED
    clock.advance(seconds=90)
    queue.do(complete_task, other["id"], worker_id="w2", lease_token=None, result=None)
    assert queue.claim(kind) is None
    assert _state(queue, task) == (TaskStatus.FAILED, FailureReason.ATTEMPTS_EXHAUSTED)


def test_a_lease_that_ended_goes_back_to_the_line_with_its_end(queue, clock):
    kind = queue.register(retry_for_seconds=100, lease_seconds=60, key_max_concurrency=1)
    queue.create(concurrency_key="a")
    task = queue.must_claim(kind)
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    row = queue.do(read_task, task["id"])
    assert (row["status"], row["due_at"]) == (TaskStatus.PENDING, clock.instant + timedelta(seconds=40))
