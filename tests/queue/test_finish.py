"""Complete, fail, release, cancel, expire: how attempts and tasks end, and who may say so."""

from datetime import timedelta

import pytest

from app.errors import (
    ClaimedByAnother,
    InvalidResult,
    LeaseLost,
    TaskCancelled,
    TaskFinished,
    TaskNotClaimed,
    TaskNotFound,
)
from app.lifecycle import FailureReason, TaskStatus
from app.queue.attempts import list_attempts
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.heartbeat import beat, report_progress
from app.queue.release import release_task
from app.queue.tasks import read_task


def _complete(queue, task, *, worker_id="w1", token=True, result=None):
    lease_token = task["lease_token"] if token is True else token
    return queue.do(complete_task, task["id"], worker_id=worker_id, lease_token=lease_token, result=result)


def _fail(queue, task, *, worker_id="w1", token=True, error="bad", retryable=True, retry_after_seconds=None):
    return queue.do(
        fail_task,
        task["id"],
        worker_id=worker_id,
        lease_token=task["lease_token"] if token is True else token,
        error=error,
        retryable=retryable,
        retry_after_seconds=retry_after_seconds,
    )


def _beat(queue, task, *, worker_id="w1", token=True, lease_seconds=None):
    lease_token = task["lease_token"] if token is True else token
    return queue.do(beat, task["id"], worker_id=worker_id, lease_token=lease_token, lease_seconds=lease_seconds)


@pytest.fixture
def claimed(queue):
    """A task that w1 has claimed, of a type with an exact retry delay of 10 s."""
    kind = queue.register(retry_delay_seconds=10, retry_backoff="fixed", lease_seconds=60)
    queue.create()
    return queue.must_claim(kind)


def test_a_completed_task_holds_its_result_as_it_was_given(queue, claimed, clock):
    result = {"z": 1, "a": [None, {}, [], 1.0, "🦊", "\x00"]}
    clock.advance(seconds=3)
    _complete(queue, claimed, result=result)
    task = queue.do(read_task, claimed["id"])
    assert (task["status"], task["progress"], task["result"]) == (TaskStatus.COMPLETED, 100, result)
    assert list(task["result"]) == ["z", "a"]
    assert task["completed_at"] == clock.instant
    assert queue.do(list_attempts, claimed["id"]) == []


@pytest.mark.parametrize("token", [True, None])
def test_an_expired_lease_that_nobody_took_over_may_still_be_completed(queue, claimed, clock, token):
    clock.advance(seconds=3600)
    _complete(queue, claimed, token=token)
    assert queue.do(read_task, claimed["id"])["status"] == TaskStatus.COMPLETED


@pytest.mark.parametrize("token", [True, None])
def test_the_same_after_housekeeping_has_put_the_task_back(queue, claimed, clock, token):
    clock.advance(seconds=60)
    assert queue.do(do_what_is_due) == 1
    assert queue.do(read_task, claimed["id"])["status"] == TaskStatus.PENDING
    _complete(queue, claimed, token=token, result="late but right")
    task = queue.do(read_task, claimed["id"])
    assert (task["status"], task["result"]) == (TaskStatus.COMPLETED, "late but right")
    assert queue.claim(claimed["type_id"]) is None


@pytest.mark.parametrize("token", [True, None])
def test_a_dead_letter_that_died_of_expiry_may_still_be_completed_by_its_worker(queue, clock, token):
    kind = queue.register(max_attempts=1)
    queue.create()
    task = queue.must_claim(kind)
    clock.advance(seconds=301)
    queue.do(do_what_is_due)
    dead = queue.do(read_task, task["id"])
    assert (dead["status"], dead["failure_reason"]) == (TaskStatus.FAILED, FailureReason.LEASE_EXPIRED)
    with pytest.raises(LeaseLost):
        _complete(queue, task, token="1-300-" + "0" * 32)
    _complete(queue, task, token=token)
    done = queue.do(read_task, task["id"])
    assert (done["status"], done["failure_reason"]) == (TaskStatus.COMPLETED, None)


def test_a_late_result_after_a_takeover_is_refused_and_kept(queue, claimed, clock):
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    taken = queue.must_claim(claimed["type_id"], worker_id="w2")
    with pytest.raises(LeaseLost):
        _complete(queue, claimed, result="late")
    attempts = queue.do(list_attempts, claimed["id"])
    assert [(a["number"], a["worker_id"], a["outcome"], a["late_report"]) for a in attempts] == [
        (1, "w1", "expired", {"success": True, "result": "late"})
    ]
    _complete(queue, taken, worker_id="w2", result="right")
    assert queue.do(read_task, claimed["id"])["result"] == "right"


def test_an_old_client_without_a_token_is_refused_after_a_takeover_and_its_result_is_kept(queue, claimed, clock):
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    queue.must_claim(claimed["type_id"], worker_id="w2")
    with pytest.raises(ClaimedByAnother):
        _complete(queue, claimed, token=None, result="late")
    assert queue.do(list_attempts, claimed["id"])[0]["late_report"] == {"success": True, "result": "late"}


def test_a_token_protects_a_worker_from_its_own_earlier_claim(queue, claimed, clock):
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    second = queue.must_claim(claimed["type_id"])
    assert second["lease_token"] != claimed["lease_token"]
    with pytest.raises(LeaseLost):
        _complete(queue, claimed)
    with pytest.raises(LeaseLost):
        _fail(queue, claimed)
    with pytest.raises(LeaseLost):
        _beat(queue, claimed)
    assert queue.do(read_task, claimed["id"])["status"] == TaskStatus.CLAIMED


def test_the_same_completion_twice_succeeds_twice_and_is_applied_once(queue, claimed, clock):
    _complete(queue, claimed, result=1)
    clock.advance(seconds=5)
    _complete(queue, claimed, result=2)
    task = queue.do(read_task, claimed["id"])
    assert (task["result"], task["completed_at"]) == (1, clock.instant - timedelta(seconds=5))


def test_without_a_token_a_second_completion_is_refused(queue, claimed):
    _complete(queue, claimed, token=None)
    with pytest.raises(TaskNotClaimed):
        _complete(queue, claimed, token=None)


@pytest.mark.parametrize("report", [_complete, _fail, _beat])
def test_another_worker_may_not_speak_for_a_task(queue, claimed, report):
    with pytest.raises(ClaimedByAnother):
        report(queue, claimed, worker_id="w2", token=None)
    with pytest.raises(ClaimedByAnother):
        report(queue, claimed, worker_id="w2")
    with pytest.raises(LeaseLost):
        report(queue, claimed, token=claimed["lease_token"][:-1] + "x")
    assert queue.do(read_task, claimed["id"])["status"] == TaskStatus.CLAIMED


@pytest.mark.parametrize("report", [_complete, _fail, _beat])
def test_nobody_may_speak_for_a_task_that_is_not_claimed(queue, report):
    queue.register()
    task = {"id": queue.create()["id"], "lease_token": "1-300-" + "0" * 32}
    with pytest.raises(TaskNotClaimed):
        report(queue, task, token=None)
    with pytest.raises(LeaseLost):
        report(queue, task)
    with pytest.raises(TaskNotFound):
        report(queue, {"id": 987654321, "lease_token": task["lease_token"]})


def test_a_worker_is_the_same_only_letter_by_letter(queue, claimed):
    with pytest.raises(ClaimedByAnother):
        _complete(queue, claimed, worker_id="W1", token=None)
    with pytest.raises(ClaimedByAnother):
        _complete(queue, claimed, worker_id="w1 ", token=None)


def test_a_result_must_fit_the_result_schema_and_the_task_stays_claimed(queue):
    kind = queue.register(result_schema={"type": "object", "required": ["ok"]})
    queue.create()
    task = queue.must_claim(kind)
    with pytest.raises(InvalidResult):
        _complete(queue, task, result={"no": 1})
    _complete(queue, task, result={"ok": 1})


def test_a_failed_attempt_waits_for_its_retry(queue, claimed, clock):
    task = _fail(queue, claimed, error="first")
    assert (task["status"], task["available_at"]) == (TaskStatus.SCHEDULED, clock.instant + timedelta(seconds=10))
    stored = queue.do(read_task, claimed["id"])
    assert {key: stored[key] for key in task if key != "due_at"} == {k: v for k, v in task.items() if k != "due_at"}
    clock.advance(seconds=10)
    queue.do(do_what_is_due)
    again = queue.must_claim(claimed["type_id"], worker_id="w2")
    assert (again["attempts"], again["error_message"]) == (2, "first")
    [attempt] = queue.do(list_attempts, claimed["id"])
    assert (attempt["number"], attempt["outcome"], attempt["error_message"]) == (1, "failed", "first")


def test_with_no_delay_the_task_is_claimable_at_once(queue):
    kind = queue.register(retry_delay_seconds=0)
    queue.create()
    assert _fail(queue, queue.must_claim(kind))["status"] == TaskStatus.PENDING
    assert queue.must_claim(kind)["attempts"] == 2


def test_the_last_attempt_makes_a_dead_letter(queue):
    kind = queue.register(max_attempts=2, retry_delay_seconds=0)
    queue.create()
    _fail(queue, queue.must_claim(kind))
    dead = _fail(queue, queue.must_claim(kind), error="second")
    stored = queue.do(read_task, dead["id"])
    assert (stored["status"], stored["failure_reason"]) == (TaskStatus.FAILED, FailureReason.ATTEMPTS_EXHAUSTED)
    assert (stored["error_message"], stored["claimed_by"]) == ("second", None)
    assert len(queue.do(list_attempts, dead["id"])) == 2
    assert queue.claim(kind) is None


def test_a_failure_that_is_not_retryable_makes_a_dead_letter(queue, claimed):
    dead = _fail(queue, claimed, retryable=False)
    assert (dead["status"], dead["failure_reason"]) == (TaskStatus.FAILED, FailureReason.NOT_RETRYABLE)


def test_the_worker_may_say_when_to_try_again(queue, claimed, clock):
    assert _fail(queue, claimed, retry_after_seconds=99)["available_at"] == clock.instant + timedelta(seconds=99)


def test_no_retry_begins_after_the_deadline(queue, clock):
    kind = queue.register(retry_delay_seconds=10, retry_backoff="fixed")
    queue.create(deadline_at=clock.instant + timedelta(seconds=10))
    dead = _fail(queue, queue.must_claim(kind))
    assert (dead["status"], dead["failure_reason"]) == (TaskStatus.FAILED, FailureReason.DEADLINE_PASSED)


@pytest.mark.parametrize("seconds", [0, 5])
def test_the_same_failure_twice_counts_once(queue, claimed, clock, seconds):
    first = _fail(queue, claimed)
    clock.advance(seconds=seconds)
    again = _fail(queue, claimed)
    assert (again["status"], again["attempts"]) == (first["status"], first["attempts"])
    assert len(queue.do(list_attempts, claimed["id"])) == 1


def test_a_success_after_a_reported_failure_is_refused(queue, claimed):
    _fail(queue, claimed)
    with pytest.raises(LeaseLost):
        _complete(queue, claimed)


def test_a_failure_after_an_expiry_does_not_count_twice(queue, claimed, clock):
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    assert _fail(queue, claimed)["status"] == TaskStatus.PENDING
    assert [a["outcome"] for a in queue.do(list_attempts, claimed["id"])] == ["expired"]


@pytest.mark.parametrize("token", [True, None])
def test_a_failure_after_the_last_expiry_is_answered_with_the_dead_letter(queue, clock, token):
    kind = queue.register(max_attempts=1, lease_seconds=60)
    queue.create()
    task = queue.must_claim(kind)
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    dead = _fail(queue, task, token=token)
    assert (dead["status"], dead["failure_reason"]) == (TaskStatus.FAILED, FailureReason.LEASE_EXPIRED)
    assert [a["outcome"] for a in queue.do(list_attempts, task["id"])] == ["expired"]


def test_expiry_puts_a_task_back_until_its_attempts_are_spent(queue, claimed, clock):
    for attempt in (2, 3):
        clock.advance(seconds=60)
        assert queue.do(do_what_is_due) == 1
        assert queue.must_claim(claimed["type_id"])["attempts"] == attempt
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    dead = queue.do(read_task, claimed["id"])
    assert (dead["status"], dead["failure_reason"]) == (TaskStatus.FAILED, FailureReason.LEASE_EXPIRED)
    assert [a["number"] for a in queue.do(list_attempts, claimed["id"])] == [1, 2, 3]
    assert queue.do(do_what_is_due) == 0


def test_a_heartbeat_extends_the_lease_by_the_length_it_was_claimed_with(queue, clock):
    kind = queue.register(lease_seconds=60)
    queue.create()
    task = queue.must_claim(kind, lease_seconds=500)
    clock.advance(seconds=400)
    expected = clock.instant + timedelta(seconds=500)
    assert _beat(queue, task).lease_expires_at == expected
    assert queue.do(read_task, task["id"])["due_at"] == expected
    assert _beat(queue, task, token=None).lease_expires_at == expected
    assert _beat(queue, task, lease_seconds=7).lease_expires_at == clock.instant + timedelta(seconds=7)


def test_a_lease_that_is_kept_alive_does_not_expire(queue, claimed, clock):
    for _ in range(10):
        clock.advance(seconds=59)
        queue.do(do_what_is_due)
        _beat(queue, claimed)
    assert queue.do(read_task, claimed["id"])["attempts"] == 1


@pytest.mark.parametrize("is_changed_meanwhile", [False, True])
def test_no_heartbeat_reaches_beyond_the_time_of_the_attempt(queue, clock, is_changed_meanwhile):
    kind = queue.register(lease_seconds=60, attempt_timeout_seconds=100)
    queue.create()
    task = queue.must_claim(kind)
    end = clock.instant + timedelta(seconds=100)
    if is_changed_meanwhile:
        # For the attempts that begin from now on.
        queue.register(lease_seconds=60, attempt_timeout_seconds=None)
    clock.advance(seconds=20)
    for token in (task["lease_token"], None):
        told = _beat(queue, task, token=token)
        assert told.lease_expires_at == clock.instant + timedelta(seconds=60)
    clock.advance(seconds=30)
    assert _beat(queue, task).lease_expires_at == end
    assert queue.do(read_task, task["id"])["due_at"] == end
    clock.advance(seconds=50)
    assert queue.do(do_what_is_due) == 1
    queue.must_claim(kind, worker_id="w2")
    with pytest.raises(LeaseLost):
        _beat(queue, task)


def test_a_heartbeat_after_the_task_was_put_back_is_refused(queue, claimed, clock):
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    with pytest.raises(TaskNotClaimed):
        _beat(queue, claimed)


def test_progress_is_kept_and_extends_the_lease(queue, claimed, clock):
    clock.advance(seconds=30)
    told = queue.do(
        report_progress, claimed["id"], worker_id="w1", lease_token=None, progress=40, message="half-way, nearly"
    )
    task = queue.do(read_task, claimed["id"])
    assert (task["progress"], task["progress_message"], task["due_at"]) == (
        40,
        "half-way, nearly",
        told.lease_expires_at,
    )
    assert told.lease_expires_at == clock.instant + timedelta(seconds=60)


def test_a_released_task_does_not_count_the_attempt(queue, claimed):
    token = claimed["lease_token"]
    released = queue.do(release_task, claimed["id"], worker_id="w1", lease_token=token, delay_seconds=0)
    stored = queue.do(read_task, claimed["id"])
    assert {key: stored[key] for key in released if key not in ("due_at", "attempt_ends_at")} == {
        key: value for key, value in released.items() if key not in ("due_at", "attempt_ends_at")
    }
    assert (stored["status"], stored["attempts"]) == (TaskStatus.PENDING, 0)
    again = queue.do(release_task, claimed["id"], worker_id="w1", lease_token=token, delay_seconds=0)
    assert again["attempts"] == 0
    with pytest.raises(LeaseLost):
        _complete(queue, claimed)
    assert queue.must_claim(claimed["type_id"])["attempts"] == 1
    assert [a["outcome"] for a in queue.do(list_attempts, claimed["id"])] == ["released"]


@pytest.mark.parametrize("seconds", [0.5, 1])
def test_a_released_task_waits_also_for_less_than_a_second(queue, claimed, clock, seconds):
    queue.do(release_task, claimed["id"], worker_id="w1", lease_token=None, delay_seconds=seconds)
    task = queue.do(read_task, claimed["id"])
    assert (task["status"], task["due_at"]) == (TaskStatus.SCHEDULED, clock.instant + timedelta(seconds=seconds))


def test_a_released_task_has_the_whole_time_to_be_started_again(queue, clock):
    kind = queue.register(expires_after_seconds=100)
    queue.create()
    task = queue.must_claim(kind)
    clock.advance(seconds=50)
    queue.do(release_task, task["id"], worker_id="w1", lease_token=None, delay_seconds=0)
    assert queue.do(read_task, task["id"])["due_at"] == clock.instant + timedelta(seconds=100)


def test_a_released_task_can_be_made_to_wait(queue, claimed, clock):
    queue.do(release_task, claimed["id"], worker_id="w1", lease_token=None, delay_seconds=20)
    assert queue.claim(claimed["type_id"]) is None
    clock.advance(seconds=20)
    queue.do(do_what_is_due)
    assert queue.must_claim(claimed["type_id"])["attempts"] == 1


def test_the_worker_of_a_cancelled_task_is_told_at_its_next_heartbeat(queue, claimed):
    queue.do(cancel_task, claimed["id"])
    for token in (True, None):
        told = _beat(queue, claimed, token=token)
        assert (told.is_cancelled, told.lease_expires_at) == (True, None)
    with pytest.raises(TaskCancelled):
        _complete(queue, claimed)
    with pytest.raises(TaskCancelled):
        _fail(queue, claimed)
    with pytest.raises(TaskCancelled):
        queue.do(report_progress, claimed["id"], worker_id="w1", lease_token=None, progress=1, message=None)
    with pytest.raises(TaskNotClaimed):
        _beat(queue, claimed, worker_id="w2", token=None)
    assert queue.do(read_task, claimed["id"])["status"] == TaskStatus.CANCELLED


def test_a_cancelled_task_stays_as_it_is_and_a_finished_one_cannot_be_cancelled(queue, claimed, clock):
    waiting = queue.create(delay_seconds=100)
    first = queue.do(cancel_task, waiting["id"])
    clock.advance(seconds=1)
    assert queue.do(cancel_task, waiting["id"])["completed_at"] == first["completed_at"]
    _complete(queue, claimed)
    with pytest.raises(TaskFinished):
        queue.do(cancel_task, claimed["id"])
    with pytest.raises(TaskNotFound):
        queue.do(cancel_task, 987654321)


def test_finished_tasks_and_their_attempts_are_removed_after_the_time_of_their_type(queue, clock):
    kind = queue.register(retention_seconds=1000, retry_delay_seconds=0)
    queue.create()
    _fail(queue, queue.must_claim(kind))
    task = queue.must_claim(kind)
    _complete(queue, task)
    clock.advance(seconds=999)
    assert queue.do(do_what_is_due) == 0
    clock.advance(seconds=1)
    assert queue.do(do_what_is_due) == 1
    with pytest.raises(TaskNotFound):
        queue.do(read_task, task["id"])
    with pytest.raises(TaskNotFound):
        queue.do(list_attempts, task["id"])
