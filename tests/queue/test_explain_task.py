"""Why is this task not being worked on: each reason as the sentence that a person reads, and as fields."""

import random
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, update

from app.errors import LimitBelowRunning, QueueError, TaskNotFound
from app.lifecycle import FINISHED, FailureReason, TaskStatus
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.explain import explain_task
from app.queue.fail import fail_task
from app.queue.heartbeat import report_progress
from app.queue.register import change_type
from app.queue.release import release_task
from app.queue.tasks import list_tasks, read_task
from app.storage.models import counters, dependencies, tasks, worker_types
from tests.support.statements import counted_statements

NOBODY = "No worker has asked for tasks of type `work` yet."


def explain(queue, task):
    """Explain a task, and hold what is true of every explanation."""
    told = queue.database.read(lambda tx: explain_task(tx, task["id"]))[1]
    for text in (told.sentence, told.what_would_change_it):
        assert text[0] in "`0123456789" or text[0].isupper(), text
        assert text.endswith(".") and ".." not in text and "  " not in text, text
        assert "None" not in text and " 1 tasks" not in text, text
    return told


def fail(queue, task, error="disk full", **options):
    options = {"retryable": True, "retry_after_seconds": None, **options}
    queue.do(
        fail_task, task["id"], worker_id=task["claimed_by"], lease_token=task["lease_token"], error=error, **options
    )


def complete(queue, task):
    queue.do(complete_task, task["id"], worker_id=task["claimed_by"], lease_token=task["lease_token"], result=None)


def ask(queue, kind, clock, worker_id="w1"):
    """Write down that a worker asked for the type now."""
    row = {"type_id": kind, "worker_id": worker_id, "last_asked_at": clock.instant}
    queue.database.write(lambda tx: tx.execute(insert(worker_types), row))


def change(queue, **changes):
    queue.database.write(lambda tx: change_type(tx, "work", changes))
    queue.database.cache.clear()


def put(queue, table, *rows):
    queue.database.write(lambda tx: tx.execute(insert(table), list(rows)))


def set_task(queue, task, **values):
    queue.database.write(lambda tx: tx.execute(update(tasks).where(tasks.c.id == task["id"]).values(**values)))


@pytest.fixture
def kind(queue):
    return queue.register(retry_delay_seconds=30, retry_backoff="fixed", lease_seconds=300, dedupe="never")


# --- finished -------------------------------------------------------------------------------------------------------
def test_a_completed_task_is_done(queue, kind, clock):
    task = queue.create()
    claimed = queue.must_claim(kind)
    clock.advance(seconds=5)
    complete(queue, claimed)
    told = explain(queue, task)
    assert told.reason == "finished"
    assert told.sentence == f"Task {task['id']} was completed by `w1` at 12:00:05 UTC, on attempt 1 of 3."
    assert (told.until, told.ahead, told.held_by) == (None, None, ())


def test_a_cancelled_task_can_be_requeued(queue, kind, clock):
    task = queue.create()
    queue.do(cancel_task, task["id"])
    clock.advance(seconds=86400)
    told = explain(queue, task)
    assert told.sentence == f"Task {task['id']} was cancelled at 2026-01-01 12:00:00 UTC."
    assert told.what_would_change_it == "Requeue it to have it done after all."


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"attempts": 3}, "all 3 attempts are used up, and the last failed with “disk full”"),
        ({"attempts": 1, "max_attempts": 1}, "its only attempt failed with “disk full”"),
        (
            {"failure_reason": FailureReason.NOT_RETRYABLE, "attempts": 2},
            "its worker said on attempt 2 of 3 that no further one can succeed, with “disk full”",
        ),
        (
            {"failure_reason": FailureReason.NOT_RETRYABLE, "attempts": 2, "error_message": None},
            "its worker said on attempt 2 of 3 that no further one can succeed, with an unknown error",
        ),
        ({"failure_reason": FailureReason.DEADLINE_PASSED, "attempts": 0}, "nobody began it in time"),
        ({"failure_reason": FailureReason.DEADLINE_PASSED, "attempts": 1}, "no further attempt could begin in time"),
        (
            {"failure_reason": FailureReason.LEASE_EXPIRED, "attempts": 3},
            "the lease of attempt 3 of 3 ended without a word, and it was the last",
        ),
        (
            {"failure_reason": FailureReason.DEPENDENCY_FAILED, "attempts": 0},
            "a task that it depends on did not complete",
        ),
    ],
)
def test_a_dead_letter_says_why_it_died(queue, kind, clock, values, why):
    task = queue.create()
    dead = {
        "status": TaskStatus.FAILED,
        "failure_reason": FailureReason.ATTEMPTS_EXHAUSTED,
        "error_message": "disk full",
    }
    set_task(queue, task, completed_at=clock.instant, **{**dead, **values})
    told = explain(queue, task)
    assert told.reason == "finished"
    assert told.sentence == f"Task {task['id']} failed at 12:00:00 UTC: {why}."
    assert told.what_would_change_it == "Requeue it to have it tried again."


def test_a_task_that_was_removed_is_not_found(queue, kind):
    task = queue.create()
    queue.database.write(lambda tx: tx.execute(delete(tasks).where(tasks.c.id == task["id"])))
    with pytest.raises(TaskNotFound):
        explain(queue, task)


# --- being worked on ------------------------------------------------------------------------------------------------
def test_a_claimed_task_names_its_worker(queue, kind, clock):
    task = queue.create()
    claimed = queue.must_claim(kind, worker_id="worker-1")
    told = explain(queue, task)
    assert told.reason == "being_worked_on"
    assert told.sentence == (
        f"`worker-1` has been working on task {task['id']} since 12:00:00 UTC (attempt 1 of 3); its lease lasts until "
        "12:05:00 UTC."
    )
    assert told.until == clock.instant + timedelta(seconds=300)
    assert [row["id"] for row in told.held_by] == [task["id"]]
    queue.do(
        report_progress,
        task["id"],
        worker_id="worker-1",
        lease_token=claimed["lease_token"],
        progress=40,
        message=None,
    )
    assert "(attempt 1 of 3, 40 % done)" in explain(queue, task).sentence


def test_the_last_attempt_is_said_to_be_the_last(queue, kind):
    change(queue, max_attempts=1)
    task = queue.create()
    queue.must_claim(kind)
    assert explain(queue, task).what_would_change_it == (
        "Its worker reports on it; without a word from it it is given up then, for this is its last attempt."
    )


def test_a_lease_that_has_ended_is_about_to_be_dealt_with(queue, kind, clock):
    task = queue.create()
    queue.must_claim(kind)
    clock.advance(seconds=300)
    told = explain(queue, task)
    assert told.reason == "due"
    assert told.sentence == (
        f"The lease of `w1` on task {task['id']} ended at 12:05:00 UTC without a word (attempt 1 of 3)."
    )
    assert "puts it back in line" in told.what_would_change_it
    queue.do(do_what_is_due)
    ask(queue, kind, clock)
    assert explain(queue, task).reason == "next"


# --- not before its time --------------------------------------------------------------------------------------------
def test_a_delayed_task_waits_for_its_time(queue, kind, clock):
    task = queue.create(delay_seconds=180)
    told = explain(queue, task)
    assert told.reason == "not_before_its_time"
    assert told.sentence == (
        f"Task {task['id']} was given a time before which it is not begun; it may begin at 12:03:00 UTC, in 3 minutes."
    )
    assert told.until == clock.instant + timedelta(seconds=180)
    clock.advance(seconds=180)
    told = explain(queue, task)
    assert told.reason == "due"
    assert told.sentence == f"The time of task {task['id']} came at 12:03:00 UTC, and it is about to be put in line."
    queue.do(do_what_is_due)
    assert explain(queue, task).reason == "no_worker"


def test_a_retry_names_the_failure_before_it(queue, kind, clock):
    task = queue.create()
    fail(queue, queue.must_claim(kind), error="disk full\nTraceback …")
    told = explain(queue, task)
    assert told.reason == "waits_for_retry"
    assert told.sentence == (
        f"Attempt 1 of 3 of task {task['id']} failed with “disk full”; the next may begin at 12:00:30 UTC, in "
        "30 seconds."
    )


def test_a_task_that_was_given_back_is_no_retry(queue, kind, clock):
    task = queue.create()
    fail(queue, queue.must_claim(kind))
    clock.advance(seconds=30)
    queue.do(do_what_is_due)
    claimed = queue.must_claim(kind)
    deadline = clock.instant + timedelta(seconds=20)
    queue.do(release_task, task["id"], worker_id="w1", lease_token=claimed["lease_token"], delay_seconds=60)
    told = explain(queue, task)
    assert told.reason == "not_before_its_time"
    assert told.sentence == (
        f"`w1` gave task {task['id']} back for a while; it may begin at 12:01:30 UTC, in 1 minute."
    )
    set_task(queue, task, deadline_at=deadline, due_at=deadline)
    told = explain(queue, task)
    assert told.sentence.endswith("but its deadline comes before that, at 12:00:50 UTC.")
    assert (told.what_would_change_it, told.until) == ("Time alone: at its deadline it fails.", deadline)


# --- blocked --------------------------------------------------------------------------------------------------------
def test_a_task_names_those_it_waits_for(queue, kind):
    first, second = queue.create(), queue.create()
    task = queue.create(depends_on=[first["id"]])
    told = explain(queue, task)
    assert told.reason == "waits_for_tasks"
    assert told.sentence == f"Task {task['id']} waits for task {first['id']} (pending)."
    assert told.what_would_change_it == "That task ends."
    assert told.waits_for.number.count == 1
    assert told.waits_for.tasks == ({"id": first["id"], "status": TaskStatus.PENDING},)
    task = queue.create(depends_on=[first["id"], second["id"]])
    queue.must_claim(kind)
    told = explain(queue, task)
    assert told.sentence == (
        f"Task {task['id']} waits for 2 tasks: {first['id']} (claimed) and {second['id']} (pending)."
    )
    assert told.what_would_change_it == "These tasks end."


def test_of_many_it_waits_for_three_are_named_and_twenty_listed(queue, kind):
    others = [queue.create()["id"] for _ in range(25)]
    task = queue.create(depends_on=others)
    told = explain(queue, task)
    assert told.sentence == (
        f"Task {task['id']} waits for 25 tasks: {others[0]} (pending), {others[1]} (pending), {others[2]} (pending) "
        "and 22 more."
    )
    assert told.waits_for.number.count == 25
    assert [row["id"] for row in told.waits_for.tasks] == others[:20]


def depend(queue, task, *others):
    set_task(queue, task, status=TaskStatus.BLOCKED)
    rows = [{"task_id": task["id"], "depends_on_id": other, "on_failure": "fail", "is_met": False} for other in others]
    put(queue, dependencies, *rows)


def test_a_task_that_waits_for_one_that_is_gone_says_so(queue, kind):
    task = queue.create()
    depend(queue, task, 10**12)
    told = explain(queue, task)
    assert told.sentence == f"Task {task['id']} waits for task 1000000000000 (removed)."
    assert told.waits_for.tasks == ({"id": 10**12, "status": None},)
    assert told.what_would_change_it == (
        f"What was removed cannot end any more: cancel task {task['id']} and create it anew."
    )


def test_ten_thousand_dependencies_are_counted_and_more_are_not(queue, kind):
    task = queue.create()
    depend(queue, task, *range(10**12, 10**12 + 10_000))
    assert "waits for 10,000 tasks: " in explain(queue, task).sentence
    depend(queue, task, 10**12 + 10_000)
    told = explain(queue, task)
    assert "waits for more than 10,000 tasks, among them 1000000000000 (removed), " in told.sentence
    assert not told.waits_for.number.is_exact


@pytest.mark.parametrize(
    ("policy", "status", "sentence"),
    [
        ("fail", TaskStatus.FAILED, "has failed, so this one is about to fail too"),
        ("cancel", TaskStatus.FAILED, "has failed, so this one is about to be cancelled too"),
        ("fail", TaskStatus.CANCELLED, "was cancelled, so this one is about to fail too"),
        ("run_anyway", TaskStatus.FAILED, None),
        ("fail", TaskStatus.COMPLETED, None),
    ],
)
def test_a_task_whose_followers_nobody_has_seen_to_is_about_to_move_them(queue, kind, clock, policy, status, sentence):
    others = [queue.create() for _ in range(24)]
    task = queue.create(depends_on=[other["id"] for other in others[-1:]], on_dependency_failure=policy)
    # As if the process that ended it had died in between.
    set_task(queue, others[-1], status=status, due_at=clock.instant, completed_at=clock.instant)
    told = explain(queue, task)
    assert told.reason == "due"
    about = f"Task {others[-1]['id']}, for which task {task['id']} waits, {sentence}."
    assert told.sentence == (
        about if sentence else f"All that task {task['id']} waited for is over, and it is about to move on."
    )
    queue.do(do_what_is_due)
    assert explain(queue, task).reason == ("finished" if sentence else "no_worker")


@pytest.mark.parametrize("status", [TaskStatus.BLOCKED, TaskStatus.PENDING])
def test_a_waiting_task_past_its_deadline_is_about_to_fail(queue, kind, clock, status):
    task = queue.create(deadline_at=clock.instant + timedelta(seconds=10))
    set_task(queue, task, status=status)
    clock.advance(seconds=10)
    told = explain(queue, task)
    assert told.reason == "due"
    assert told.sentence == f"Nobody began task {task['id']} before 12:00:10 UTC, so it is about to fail."


# --- in the line of a concurrency key -------------------------------------------------------------------------------
def test_a_task_in_a_line_says_who_holds_the_places_and_how_many_are_ahead(queue, kind):
    change(queue, key_max_concurrency=2)
    queue.create(concurrency_key="other")
    first, second, third, fourth = (queue.create(concurrency_key="tenant-7") for _ in range(4))
    queue.must_claim(kind)
    queue.must_claim(kind, worker_id="ann")
    told = explain(queue, third)
    assert told.reason == "waits_in_line"
    held = f"`ann` works on task {first['id']} and task {second['id']} waits for a worker"
    assert told.sentence == (
        f"Task {third['id']} waits in the line of the concurrency key `tenant-7`, which may have 2 tasks at the same "
        f"time: {held}; it is the first in that line."
    )
    assert told.what_would_change_it == (
        "One of these tasks ends, or an admin raises `key_max_concurrency` of the type."
    )
    assert [(row["id"], row["claimed_by"]) for row in told.held_by] == [(first["id"], "ann"), (second["id"], None)]
    told = explain(queue, fourth)
    assert told.sentence.endswith("; 1 task is ahead of it.")
    assert (told.ahead.count, told.ahead.is_exact, told.until) == (1, True, None)


def test_of_a_line_those_of_a_higher_priority_are_ahead(queue, kind):
    change(queue, key_max_concurrency=1)
    _, before, task = (queue.create(concurrency_key="k", priority=priority) for priority in (0, 0, 0))
    queue.create(concurrency_key="k", priority=1)
    queue.create(concurrency_key="k", priority=-1)
    assert [explain(queue, each).ahead.count for each in (before, task)] == [1, 2]


def test_a_task_in_a_line_waits_for_the_rate_of_its_key(queue, kind, clock):
    change(queue, key_rate_limit="2/60")
    first, second, task = (queue.create(concurrency_key="tenant-7") for _ in range(3))
    line = f"Task {task['id']} waits in the line of the concurrency key `tenant-7`, which is allowed 2 claims in 60 "
    told = explain(queue, task)
    waiting = f"task {first['id']} waits for a worker and task {second['id']} waits for a worker"
    assert told.sentence == f"{line}seconds: {waiting}; it is the first in that line."
    for _ in range(2):
        complete(queue, queue.must_claim(kind))
        clock.advance(seconds=5)
    told = explain(queue, task)
    assert told.sentence == (
        f"{line}seconds; there is room again at 12:01:00 UTC, in 50 seconds; it is the first in that line."
    )
    assert told.until == clock.instant + timedelta(seconds=50)
    clock.advance(seconds=50)
    assert explain(queue, task).reason == "due"


def test_where_keys_take_turns_the_second_of_a_key_waits_for_the_first(queue):
    queue.register(key_order="round_robin")
    first, task = (queue.create(concurrency_key="a") for _ in range(2))
    assert explain(queue, task).sentence == (
        f"Task {task['id']} waits in the line of the concurrency key `a`, and the keys take turns: task {first['id']} "
        "waits for a worker; it is the first in that line."
    )
    queue.create()
    task = queue.create()
    assert f"Task {task['id']} waits in the line of tasks without a key, and" in explain(queue, task).sentence


# --- pending --------------------------------------------------------------------------------------------------------
def test_a_paused_queue_comes_before_a_paused_type(queue, kind):
    task = queue.create()
    change(queue, is_paused=True)
    told = explain(queue, task)
    assert told.reason == "type_paused"
    assert told.sentence == "The task type `work` is paused: no worker is given a task of it."
    put(queue, counters, {"name": "queue_is_paused", "value": 1})
    told = explain(queue, task)
    assert told.reason == "queue_paused"
    assert told.sentence == "The whole queue is paused: no worker is given a task."
    queue.database.write(lambda tx: tx.execute(update(counters).values(value=0)))
    change(queue, is_paused=False)
    assert explain(queue, task).reason == "no_worker"


def test_a_limit_of_tasks_at_a_time_names_who_uses_it_up(queue, kind):
    change(queue, max_concurrency=1)
    first, task = queue.create(), queue.create()
    queue.must_claim(kind, worker_id="ann")
    told = explain(queue, task)
    assert told.reason == "limit_reached"
    assert told.sentence == (
        f"The limit of 1 task of type `work` at the same time is reached: `ann` works on task {first['id']}."
    )
    assert [(row["id"], row["claimed_by"]) for row in told.held_by] == [(first["id"], "ann")]
    assert (told.ahead.count, told.until) == (0, None)


def test_of_many_who_use_up_a_limit_three_are_named_and_twenty_listed(queue, kind):
    change(queue, max_concurrency=24)
    first = [queue.create() for _ in range(24)]
    task = queue.create()
    for _ in first:
        queue.must_claim(kind)
    told = explain(queue, task)
    assert told.sentence == (
        "The limit of 24 tasks of type `work` at the same time is reached: "
        + ", ".join(f"`w1` works on task {row['id']}" for row in first[:3])
        + " and 21 more tasks are taken."
    )
    assert len(told.held_by) == 20


def test_a_limit_of_claims_in_a_time_says_until_when(queue, kind, clock):
    change(queue, rate_limit="2/60")
    for _ in range(3):
        task = queue.create()
    queue.must_claim(kind)
    clock.advance(seconds=10)
    assert explain(queue, task).reason == "in_order"
    queue.must_claim(kind)
    clock.advance(seconds=2)
    told = explain(queue, task)
    assert told.reason == "limit_reached"
    assert told.sentence == (
        "The limit of 2 claims in 60 seconds of type `work` is reached; the next is possible at 12:01:00 UTC, in "
        "48 seconds."
    )
    assert queue.claim(kind) is None
    clock.advance(seconds=48)
    assert told.until == clock.instant
    assert explain(queue, task).reason == "next"
    queue.must_claim(kind)


def test_without_a_worker_nobody_asks(queue, kind, clock):
    task = queue.create()
    told = explain(queue, task)
    assert (told.reason, told.sentence, told.last_asked_at) == ("no_worker", NOBODY, None)
    assert told.what_would_change_it == "Start a worker that asks for tasks of type `work`."
    ask(queue, kind, clock)
    clock.advance(seconds=299)
    assert explain(queue, task).reason == "next"
    clock.advance(seconds=1)
    told = explain(queue, task)
    assert told.reason == "no_worker"
    assert told.sentence == "No worker has asked for tasks of type `work` since 12:00:00 UTC, 5 minutes ago."


def test_a_worker_that_is_busy_for_long_is_a_worker(queue, kind, clock):
    change(queue, lease_seconds=86400)
    queue.create()
    queue.must_claim(kind)
    task = queue.create()
    clock.advance(seconds=3600)
    assert explain(queue, task).reason == "next"


def test_a_claim_proves_that_somebody_asked(queue, kind, clock):
    queue.create()
    fail(queue, queue.must_claim(kind))
    task = queue.create()
    told = explain(queue, task)
    assert (told.reason, told.last_asked_at) == ("next", clock.instant)
    assert told.sentence == f"Task {task['id']} is next: the first worker that asks for type `work` gets it."


def test_in_order_without_a_rate_promises_nothing(queue, kind, clock):
    ask(queue, kind, clock)
    for _ in range(2):
        task = queue.create()
    told = explain(queue, task)
    assert (told.reason, told.estimated_seconds) == ("in_order", None)
    assert told.sentence == (
        f"1 task of type `work` is ahead of task {task['id']}; how long that takes is not known: none has ended in the "
        "last 15 minutes."
    )


def test_in_order_at_the_present_rate(queue, kind, clock):
    for _ in range(4):
        queue.create()
    for _ in range(4):
        complete(queue, queue.must_claim(kind))
        clock.advance(seconds=30)
    for _ in range(4):
        task = queue.create()
    told = explain(queue, task)
    # Four ended in the 120 seconds since the first of them did.
    assert told.estimated_seconds == 90
    assert told.sentence == (
        f"3 tasks of type `work` are ahead of task {task['id']}; at the present rate of 2 tasks a minute that takes "
        "about 90 seconds."
    )
    clock.advance(seconds=900)
    assert explain(queue, task).estimated_seconds is None


def test_ahead_are_those_of_a_higher_priority_and_the_older_of_the_same(queue, kind, clock):
    ask(queue, kind, clock)
    queue.register("other")
    queue.create("other")
    before = queue.create()
    task = queue.create()
    queue.create()
    assert explain(queue, task).ahead.count == 1
    queue.create(priority=1)
    queue.create(priority=-1)
    assert (explain(queue, task).ahead.count, explain(queue, before).ahead.count) == (2, 1)


def fill(queue, task, number):
    """Copy a pending task so many times, ids going up."""
    row = queue.do(read_task, task["id"])
    copy = {column.name: row[column.name] for column in tasks.c if column.name not in ("id", "dedupe_hash")}
    for start in range(0, number, 1000):
        rows = [copy] * min(1000, number - start)
        queue.database.write(lambda tx, rows=rows: tx.execute(insert(tasks), rows))


def test_no_more_than_ten_thousand_are_counted(queue, kind, clock):
    complete(queue, (queue.create(), queue.must_claim(kind))[1])
    clock.advance(seconds=60)
    fill(queue, queue.create(), 9_999)
    task = queue.create()
    told = explain(queue, task)
    assert (told.ahead.count, told.ahead.is_exact) == (10_000, True)
    queue.create(priority=1)
    told = explain(queue, task)
    assert (told.ahead.count, told.ahead.is_exact) == (10_000, False)
    assert told.sentence == (
        f"More than 10,000 tasks of type `work` are ahead of task {task['id']}; at the present rate of 1 task a minute "
        "that takes at least 7 days."
    )


def test_an_explanation_takes_a_handful_of_statements(queue, kind, clock):
    change(queue, max_concurrency=1, rate_limit="1/60")
    for _ in range(3):
        task = queue.create()
    counts = {}

    def count(what):
        queue.database.read(lambda tx: explain_task(tx, task["id"]))
        with counted_statements(queue.database) as seen:
            explain(queue, task)
        counts[what] = len(seen)

    count("no worker")
    complete(queue, queue.must_claim(kind))
    count("rate")
    clock.advance(seconds=60)
    count("order")
    queue.must_claim(kind)
    count("concurrency")
    depend(queue, task, 10**12)
    count("blocked")
    # One of them reads the type as it is now: who asks is told the truth, though this process may know an older one.
    assert counts == {"no worker": 8, "rate": 9, "order": 9, "concurrency": 9, "blocked": 5}


# --- it never lies --------------------------------------------------------------------------------------------------
CLAIMABLE = {"next", "in_order", "no_worker"}
POLICIES = (
    {"key_max_concurrency": 1},
    {"priority_aging_seconds": 10, "key_rate_limit": "1/20"},
    {"claim_order": "deadline", "key_max_concurrency": 2},
    {"key_order": "round_robin"},
)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_said_is_what_a_claim_finds(queue, clock, seed):
    """Let chance move a few tasks, and hold each explanation against what the next claim does."""
    chance = random.Random(seed)
    kind = queue.register(
        retry_delay_seconds=20, lease_seconds=40, max_attempts=2, dedupe="never", **POLICIES[seed % len(POLICIES)]
    )
    held = []
    seen = set()
    for _ in range(160):
        move(queue, clock, chance, held)
        unfinished = unfinished_tasks(queue)
        if not unfinished:
            continue
        is_late = any(row["due_at"] is not None and row["due_at"] <= clock.instant for row in unfinished)
        task = chance.choice(unfinished)
        told = explain(queue, task)
        seen.add(told.reason)
        claimed = queue.claim(kind)
        if claimed is not None:
            held.append(claimed)
        if told.reason == "next":
            assert claimed is not None and claimed["id"] == task["id"]
        elif told.reason in CLAIMABLE:
            # Those ahead of it that should have been begun by now are given up by the claim.
            assert claimed is not None and (is_late or (claimed["id"] == task["id"]) == (told.ahead.count == 0)), told
        elif told.reason in ("type_paused", "limit_reached"):
            assert claimed is None, told
        else:
            assert claimed is None or claimed["id"] != task["id"], told
    assert {"next", "being_worked_on", "waits_in_line"} <= seen


def unfinished_tasks(queue):
    return [row for row in queue.do(list_tasks, limit=1000) if row["status"] not in FINISHED]


def move(queue, clock, chance, held):
    """Do one thing at random."""
    action = chance.choice(["create", "create", "create", "report", "report", "time", "pause", "limit", "due"])
    if action == "create":
        deadline = chance.choice([None, None, clock.instant + timedelta(seconds=chance.randint(31, 90))])
        delay = chance.choice([0, 0, 30])
        unfinished = [task["id"] for task in unfinished_tasks(queue)]
        options = {
            "priority": chance.randint(-1, 1),
            "concurrency_key": chance.choice([None, None, "a", "b"]),
            "depends_on": chance.sample(unfinished, min(len(unfinished), chance.choice([0, 0, 0, 1, 2]))),
        }
        queue.create(delay_seconds=delay, deadline_at=deadline, **options)
    elif action == "report" and held:
        task = held.pop(chance.randrange(len(held)))
        try:
            chance.choice([complete, fail])(queue, task)
        except QueueError:
            assert queue.do(read_task, task["id"])["lease_token"] != task["lease_token"]
    elif action == "time":
        clock.advance(seconds=chance.choice([1, 15, 41]))
        queue.do(do_what_is_due)
    elif action == "due":
        queue.do(do_what_is_due)
    elif action == "pause":
        change(queue, is_paused=chance.random() < 0.3)
    elif action == "limit":
        with suppress(LimitBelowRunning):
            change(queue, max_concurrency=chance.choice([None, 2]), rate_limit=chance.choice([None, "2/20"]))
