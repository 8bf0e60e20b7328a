"""Statistics of a task type: what is counted, at what rate, and when it is called stalled."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from app.errors import TaskTypeNotFound
from app.lifecycle import TaskStatus
from app.queue.activity import MOST, SAMPLE, Count
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.ranks import end_rank
from app.queue.register import change_type
from app.queue.statistics import Percentiles, percentiles, read_statistics
from app.storage.models import counters, tasks, worker_types
from tests.support.statements import counted_statements

COMPLETED, FAILED, PENDING = TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.PENDING


@pytest.fixture
def kind(queue):
    return queue.register(dedupe="never", retry_delay_seconds=30, retry_backoff="fixed", lease_seconds=600)


def read(queue, window_seconds=3600):
    return queue.database.read(lambda tx: read_statistics(tx, "work", window_seconds))


def complete(queue, task):
    queue.do(complete_task, task["id"], worker_id=task["claimed_by"], lease_token=task["lease_token"], result=None)


def fail(queue, task, *, retryable):
    holder = {"worker_id": task["claimed_by"], "lease_token": task["lease_token"]}
    queue.do(fail_task, task["id"], **holder, error="bad", retryable=retryable, retry_after_seconds=None)


def ask(queue, kind, clock, *workers, seconds_ago=0):
    at = clock.instant - timedelta(seconds=seconds_ago)
    rows = [{"type_id": kind, "worker_id": worker, "last_asked_at": at} for worker in workers]
    queue.database.write(lambda tx: tx.execute(insert(worker_types), rows))


def change(queue, **changes):
    queue.database.write(lambda tx: change_type(tx, "work", changes))
    queue.database.cache.clear()


def fill(queue, kind, number, **values):
    """Put so many tasks of one status into the table."""
    now = values.pop("now")
    row = {
        "type_id": kind,
        "status": int(PENDING),
        "claim_rank": 0,
        "params": {},
        "progress": 0,
        "attempts": 0,
        "max_attempts": 3,
        "available_at": now,
        "created_at": now,
        "updated_at": now,
        **values,
    }
    for start in range(0, number, 1000):
        rows = [row] * min(1000, number - start)
        queue.database.write(lambda tx, rows=rows: tx.execute(insert(tasks), rows))


def test_of_a_type_without_tasks_there_is_nothing_to_tell(queue, kind):
    found = read(queue)
    assert set(found.depth.values()) == {Count(0, True)}
    assert {status.word for status in found.depth} == {"blocked", "scheduled", "pending", "claimed"}
    assert (found.failure_rate, found.waiting, found.running, found.sampled) == (None, None, None, 0)
    assert (found.activity.oldest_pending_at, found.activity.last_claimed_at, found.stalled_reason) == (None,) * 3
    assert found.per_minute == {COMPLETED: 0.0, FAILED: 0.0}


def test_an_unknown_type_is_not_found(queue):
    with pytest.raises(TaskTypeNotFound):
        read(queue)


def test_what_waits_and_what_is_worked_on_is_counted_by_status(queue, kind):
    queue.register("other")
    queue.create("other")
    for _ in range(4):
        queue.create()
    queue.create(delay_seconds=60)
    queue.do(cancel_task, queue.create()["id"])
    claimed = queue.must_claim(kind)
    queue.create(depends_on=[claimed["id"]])
    found = read(queue)
    numbers = {status.word: count.count for status, count in found.depth.items()}
    assert numbers == {"blocked": 1, "scheduled": 1, "pending": 3, "claimed": 1}


def test_times_are_those_from_available_to_claimed_and_from_claimed_to_completed(queue, kind, clock):
    for wait in (1, 2, 30):
        queue.create()
        clock.advance(seconds=wait)
        claimed = queue.must_claim(kind)
        clock.advance(seconds=wait * 10)
        complete(queue, claimed)
    found = read(queue)
    assert (found.waiting, found.running) == (Percentiles(2, 30, 30), Percentiles(20, 300, 300))
    assert found.sampled == 3


def test_rates_are_those_of_the_window(queue, kind, clock):
    for outcome in (True, True, True, False):
        queue.create()
        task = queue.must_claim(kind)
        complete(queue, task) if outcome else fail(queue, task, retryable=False)
        clock.advance(seconds=30)
    found = read(queue, 60)
    # The one that ended exactly a minute ago is within it.
    assert (found.ends[COMPLETED].number, found.ends[FAILED].number) == (Count(1), Count(1))
    assert (found.per_minute[COMPLETED], found.failure_rate) == (1, 0.5)
    found = read(queue)
    assert (found.ends[COMPLETED].number.count, found.failure_rate, found.per_minute[COMPLETED]) == (3, 0.25, 0.05)
    clock.advance(seconds=3600)
    assert read(queue).failure_rate is None


def test_an_attempt_that_is_tried_again_is_no_failure(queue, kind):
    queue.create()
    fail(queue, queue.must_claim(kind), retryable=True)
    assert read(queue).ends[FAILED].number.count == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([5], Percentiles(5, 5, 5)),
        ([2, 1], Percentiles(1, 2, 2)),
        ([3, 1, 2], Percentiles(2, 3, 3)),
        (list(range(1, 101)), Percentiles(50, 90, 99)),
        (list(range(1000, 0, -1)), Percentiles(500, 900, 990)),
    ],
)
def test_percentiles_are_values_that_occurred(values, expected):
    assert percentiles(values) == expected


def test_no_more_than_ten_thousand_are_counted_and_the_rate_stays_true(queue, kind, clock):
    now = clock.instant
    fill(queue, kind, MOST, now=now)
    assert read(queue).depth[PENDING] == Count(MOST, True)
    queue.create()
    assert read(queue).depth[PENDING] == Count(MOST, False)
    # More than 10,000 ended in a minute of which the last one was ten minutes ago.
    ends = {"status": int(COMPLETED), "now": now, "claimed_at": now, "completed_at": now}
    fill(queue, kind, 1, claim_rank=end_rank(now), **ends)
    fill(queue, kind, MOST, claim_rank=end_rank(now + timedelta(seconds=600)), **ends)
    clock.advance(seconds=1200)
    found = read(queue)
    assert found.ends[COMPLETED].number == Count(MOST, False)
    assert found.per_minute[COMPLETED] == MOST / 20
    assert found.sampled == SAMPLE


def test_the_oldest_is_known_among_a_thousand_and_a_good_guess_among_more(queue, kind, clock):
    queue.create(priority=-1)
    clock.advance(seconds=60)
    fill(queue, kind, SAMPLE - 2, now=clock.instant)
    found = read(queue)
    assert (found.oldest_pending_seconds, found.activity.is_oldest_exact) == (60, True)
    fill(queue, kind, 10, now=clock.instant)
    found = read(queue)
    # It is the first of the lowest priority, and so found although it is not among the first thousand.
    assert (found.oldest_pending_seconds, found.activity.is_oldest_exact) == (60, False)


def test_workers_are_those_that_asked_within_a_quarter_of_an_hour(queue, kind, clock):
    ask(queue, kind, clock, "ann", "bob", seconds_ago=900)
    ask(queue, kind, clock, "eve", seconds_ago=901)
    ask(queue, queue.register("other"), clock, "joe")
    activity = read(queue).activity
    assert (activity.workers, activity.last_asked_at) == (Count(2), clock.instant - timedelta(seconds=900))


def test_the_last_claim_is_known_whatever_became_of_its_task(queue, kind, clock):
    latest = []
    for outcome in ("completed", "dead", "retried", "cancelled", "held"):
        queue.create()
        clock.advance(seconds=1)
        task = queue.must_claim(kind)
        latest.append(read(queue).activity.last_claimed_at == clock.instant)
        if outcome == "completed":
            complete(queue, task)
        elif outcome == "cancelled":
            queue.do(cancel_task, task["id"])
        elif outcome != "held":
            fail(queue, task, retryable=outcome == "retried")
        latest.append(read(queue).activity.last_claimed_at == clock.instant)
    assert all(latest)


# --- stalled --------------------------------------------------------------------------------------------------------
def test_a_type_is_stalled_when_a_task_waits_five_minutes_and_nobody_asks(queue, kind, clock):
    queue.create()
    clock.advance(seconds=299)
    assert read(queue).stalled_reason is None
    clock.advance(seconds=1)
    assert read(queue).stalled_reason == "No worker has asked for tasks of type `work` yet, and 1 task waits."
    queue.create()
    ask(queue, kind, clock, "ann", seconds_ago=360)
    assert read(queue).stalled_reason == (
        "No worker has asked for tasks of type `work` since 11:59:00 UTC, 6 minutes ago, and 2 tasks wait."
    )


def test_a_type_is_stalled_when_workers_ask_but_none_is_claimed(queue, kind, clock):
    queue.create()
    complete(queue, queue.must_claim(kind))
    queue.create()
    clock.advance(seconds=300)
    ask(queue, kind, clock, "ann")
    assert read(queue).stalled_reason == (
        "Workers ask for tasks of type `work` and 1 task waits, but none has been claimed for 5 minutes (the last at "
        "12:00:00 UTC)."
    )


def test_what_has_a_reason_to_stand_still_is_not_stalled(queue, kind, clock):
    waiting = [queue.create(), queue.create()]
    clock.advance(seconds=300)
    assert read(queue).stalled_reason is not None
    change(queue, is_paused=True)
    assert read(queue).stalled_reason is None
    change(queue, is_paused=False)
    queue.database.write(lambda tx: tx.execute(insert(counters), {"name": "queue_is_paused", "value": 1}))
    assert read(queue).stalled_reason is None
    queue.database.write(lambda tx: tx.execute(update(counters).values(value=0)))
    queue.database.cache.clear()
    # A worker that is busy for long does not ask, and need not.
    queue.must_claim(kind)
    clock.advance(seconds=590)
    assert read(queue).stalled_reason is None
    clock.advance(seconds=10)
    queue.do(do_what_is_due)
    assert read(queue).stalled_reason is not None
    change(queue, rate_limit="1/3600")
    complete(queue, queue.must_claim(kind))
    clock.advance(seconds=600)
    assert read(queue).stalled_reason is None
    change(queue, rate_limit=None)
    assert read(queue).stalled_reason is not None
    for task in waiting:
        row = queue.claim(kind)
        if row is not None:
            complete(queue, row)
        assert task
    assert read(queue).stalled_reason is None


def test_tasks_that_wait_for_their_time_do_not_make_a_type_stalled(queue, kind, clock):
    queue.create(delay_seconds=86400)
    clock.advance(seconds=3600)
    assert read(queue).stalled_reason is None


def test_a_fresh_task_of_a_type_that_was_quiet_over_night_is_not_stalled(queue, kind, clock):
    ask(queue, kind, clock, "ann")
    clock.advance(seconds=40_000)
    queue.create()
    assert read(queue).stalled_reason is None


def test_statistics_take_a_handful_of_statements(queue, kind, clock):
    fill(queue, kind, SAMPLE, now=clock.instant)
    change(queue, max_concurrency=5, rate_limit="5/60")
    clock.advance(seconds=300)
    read(queue)
    with counted_statements(queue.database) as seen:
        assert read(queue).stalled_reason is not None
    # Depth, ends, sample, times, the last in order, workers; because nothing moves: pause, concurrency and rate.
    assert len(seen) == 9, seen
