"""The guards of the statements: what a change leaves alone, though it was meant, because it has become another."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from app.errors import LeaseLost, TaskCancelled, TaskFinished, TaskNotClaimed
from app.lifecycle import FailureReason, TaskStatus
from app.queue.attempts import list_attempts
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.expire import expire_leases, expire_waiting
from app.queue.fail import fail_task
from app.queue.release import release_task
from app.queue.remove import remove_tasks
from app.queue.tasks import read_task
from app.queue.wake import wake_tasks
from tests.support.factories import Queue
from tests.support.faults import BEGIN, interrupt


def _complete(queue, task, worker_id="w1", **terms):
    terms = {"lease_token": task["lease_token"], "result": None, **terms}
    queue.do(complete_task, task["id"], worker_id=worker_id, **terms)


def _fail(queue, task, worker_id="w1"):
    terms = {"error": "x", "retryable": True, "retry_after_seconds": None}
    return queue.do(fail_task, task["id"], worker_id=worker_id, lease_token=task["lease_token"], **terms)


def _release(queue, task):
    terms = {"lease_token": task["lease_token"], "delay_seconds": 0}
    return queue.do(release_task, task["id"], worker_id="w1", **terms)


@pytest.fixture
def other(open_database):
    """The queue as another process has it."""
    return Queue(open_database())


@pytest.fixture
def claimed(queue):
    """A task that w1 has claimed for 60 s."""
    kind = queue.register(lease_seconds=60, retry_delay_seconds=0, retention_seconds=1000)
    queue.create()
    return queue.must_claim(kind)


@pytest.mark.parametrize("report", [_fail, _release])
def test_what_was_cancelled_since_it_was_looked_at_stays_cancelled(queue, other, claimed, report):
    met = interrupt(queue.database, BEGIN, lambda: other.do(cancel_task, claimed["id"]))
    with pytest.raises(TaskCancelled):
        report(queue, claimed)
    assert met
    assert queue.do(read_task, claimed["id"])["status"] == TaskStatus.CANCELLED
    assert queue.do(list_attempts, claimed["id"]) == []


@pytest.mark.parametrize("report", [_fail, _release])
def test_what_was_claimed_anew_since_it_was_looked_at_stays_with_its_worker(queue, other, claimed, report):
    def begin_anew():
        other.do(release_task, claimed["id"], worker_id="w1", lease_token=None, delay_seconds=0)
        other.must_claim(claimed["type_id"])

    met = interrupt(queue.database, BEGIN, begin_anew)
    if report is _fail:
        with pytest.raises(LeaseLost):
            report(queue, claimed)
    else:
        # It says again what somebody has said with its token.
        report(queue, claimed)
    assert met
    task = queue.do(read_task, claimed["id"])
    assert (task["status"], task["attempts"]) == (TaskStatus.CLAIMED, 1)
    assert len(queue.do(list_attempts, claimed["id"])) == 1


def test_a_task_that_ended_since_it_was_looked_at_is_not_cancelled(queue, other, claimed):
    met = interrupt(queue.database, "UPDATE tasks", lambda: _complete(other, claimed, result="done"))
    with pytest.raises(TaskFinished):
        queue.do(cancel_task, claimed["id"])
    assert met
    task = queue.do(read_task, claimed["id"])
    assert (task["status"], task["result"]) == (TaskStatus.COMPLETED, "done")


def test_only_a_lease_that_has_ended_expires(queue, claimed, clock):
    clock.advance(seconds=59)
    assert queue.do(expire_leases, [claimed["id"]]) == 0
    assert queue.do(read_task, claimed["id"])["lease_token"] == claimed["lease_token"]
    clock.advance(seconds=1)
    assert queue.do(expire_leases, [claimed["id"]]) == 1


def test_only_what_is_claimed_loses_its_lease(queue, clock):
    queue.register(expires_after_seconds=10)
    task = queue.create()
    clock.advance(seconds=10)
    assert queue.do(expire_leases, [task["id"]]) == 0
    assert queue.do(read_task, task["id"])["status"] == TaskStatus.PENDING
    assert queue.do(list_attempts, task["id"]) == []


def test_only_what_waits_too_long_is_failed_as_not_started(queue, clock):
    queue.register(expires_after_seconds=10)
    task = queue.create()
    clock.advance(seconds=9)
    assert queue.do(expire_waiting, [task["id"]]) == 0
    assert queue.do(read_task, task["id"])["status"] == TaskStatus.PENDING
    clock.advance(seconds=1)
    assert queue.do(expire_waiting, [task["id"]]) == 1


def test_what_is_claimed_is_not_failed_as_not_started(queue, claimed, clock):
    clock.advance(seconds=60)
    assert queue.do(expire_waiting, [claimed["id"]]) == 0
    assert queue.do(read_task, claimed["id"])["status"] == TaskStatus.CLAIMED


def test_only_what_sleeps_and_is_due_is_woken(queue, claimed, clock):
    sleeping = queue.create(delay_seconds=30)
    clock.advance(seconds=29)
    assert queue.do(wake_tasks, [sleeping["id"]]) == 0
    clock.advance(seconds=31)
    assert queue.do(wake_tasks, [claimed["id"]]) == 0
    assert queue.do(wake_tasks, [sleeping["id"]]) == 1
    assert queue.do(read_task, claimed["id"])["status"] == TaskStatus.CLAIMED


def test_only_what_has_ended_and_is_due_is_removed(queue, claimed, clock):
    clock.advance(seconds=100)
    assert queue.do(remove_tasks, [claimed["id"]]) == 0
    _complete(queue, claimed)
    clock.advance(seconds=999)
    assert queue.do(remove_tasks, [claimed["id"]]) == 0
    assert queue.do(read_task, claimed["id"])["status"] == TaskStatus.COMPLETED
    clock.advance(seconds=1)
    assert queue.do(remove_tasks, [claimed["id"]]) == 1


def test_a_deadline_that_passes_during_the_lease_is_the_end(queue, clock):
    kind = queue.register(lease_seconds=60)
    queue.create(deadline_at=clock.instant + timedelta(seconds=60))
    task = queue.must_claim(kind)
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    dead = queue.do(read_task, task["id"])
    assert (dead["status"], dead["failure_reason"]) == (TaskStatus.FAILED, FailureReason.DEADLINE_PASSED)


def test_a_completion_that_is_run_again_does_not_take_an_earlier_one_for_its_own(queue, claimed, clock, database_kind):
    _complete(queue, claimed, lease_token=None)
    clock.advance(seconds=1)
    passing = Exception("database is locked") if database_kind == "sqlite" else Exception(1213, "Deadlock found")

    def stumble():
        raise OperationalError("", {}, passing)

    met = interrupt(queue.database, "SELECT", stumble)
    with pytest.raises(TaskNotClaimed):
        _complete(queue, claimed, lease_token=None)
    assert met


def test_an_attempt_that_was_reported_in_time_keeps_no_late_report(queue, claimed):
    _fail(queue, claimed)
    queue.must_claim(claimed["type_id"], worker_id="w2")
    with pytest.raises(LeaseLost):
        _complete(queue, claimed, result="late")
    [attempt] = queue.do(list_attempts, claimed["id"])
    assert (attempt["outcome"], attempt["late_report"]) == ("failed", None)


def test_the_first_of_two_late_reports_is_kept(queue, claimed, clock):
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    queue.must_claim(claimed["type_id"], worker_id="w2")
    for result in ("first", "second"):
        with pytest.raises(LeaseLost):
            _complete(queue, claimed, result=result)
    assert queue.do(list_attempts, claimed["id"])[0]["late_report"] == {"success": True, "result": "first"}


def test_nobody_reports_late_for_another(queue, claimed, clock):
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    queue.must_claim(claimed["type_id"], worker_id="w2")
    with pytest.raises(LeaseLost):
        _complete(queue, claimed, worker_id="w3", result="not mine")
    assert queue.do(list_attempts, claimed["id"])[0]["late_report"] is None
