"""Requeue: what failed or was cancelled waits again, as good as new."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from app.errors import LeaseLost, TaskNotClaimed, TaskNotFound, TaskNotRequeuable
from app.lifecycle import TaskStatus
from app.queue.attempts import list_attempts
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.ranks import claim_rank
from app.queue.requeue import requeue_task
from app.queue.task_types import find_type
from app.queue.tasks import read_task
from app.storage.models import dependencies, tasks
from tests.support.statements import counted_statements


def die(queue, kind, *, error="bad", retryable=False, worker_id="w1", **options):
    """Create a task that fails for good, and return its row."""
    task = queue.create(**options)
    claimed = queue.must_claim(kind, worker_id=worker_id)
    assert claimed["id"] == task["id"]
    return queue.do(
        fail_task,
        task["id"],
        worker_id=worker_id,
        lease_token=claimed["lease_token"],
        error=error,
        retryable=retryable,
        retry_after_seconds=None,
    )


def test_a_dead_letter_waits_again_as_if_it_were_new(queue, clock):
    kind = queue.register(max_attempts=2, retry_delay_seconds=0)
    task = queue.create(priority=7)
    for _ in range(2):
        claimed = queue.must_claim(kind)
        queue.do(
            fail_task,
            task["id"],
            worker_id="w1",
            lease_token=claimed["lease_token"],
            error="bad",
            retryable=True,
            retry_after_seconds=None,
        )
    clock.advance(seconds=60)
    requeued = queue.do(requeue_task, task["id"])
    expected = {
        **queue.do(read_task, task["id"]),
        "status": TaskStatus.PENDING,
        "claim_rank": -7,
        "due_at": None,
        "attempts": 0,
        "max_attempts": 2,
        "available_at": clock.instant,
        "updated_at": clock.instant,
        "dedupe_hash": task["dedupe_hash"],
        "progress": 0,
    }
    cleared = ("result", "error_message", "failure_reason", "progress_message", "claimed_by", "claimed_at")
    cleared += ("lease_token", "attempt_ends_at", "first_claimed_at", "completed_at")
    assert requeued == {**expected, **dict.fromkeys(cleared)}
    assert len(queue.do(list_attempts, task["id"])) == 2
    assert queue.must_claim(kind)["id"] == task["id"]


def test_extra_attempts_come_on_top_of_those_it_has_had(queue):
    kind = queue.register(max_attempts=1)
    task = die(queue, kind)
    requeued = queue.do(requeue_task, task["id"], extra_attempts=2)
    assert (requeued["attempts"], requeued["max_attempts"]) == (1, 3)
    assert queue.must_claim(kind)["attempts"] == 2


def test_a_cancelled_task_can_be_requeued_and_its_old_worker_is_refused(queue):
    kind = queue.register()
    queue.create()
    claimed = queue.must_claim(kind)
    queue.do(cancel_task, claimed["id"])
    queue.do(requeue_task, claimed["id"])
    with pytest.raises((LeaseLost, TaskNotClaimed)):
        queue.do(
            complete_task, claimed["id"], worker_id="w1", lease_token=claimed["lease_token"], result="of another time"
        )
    assert queue.must_claim(kind, worker_id="w2")["id"] == claimed["id"]


def test_a_worker_whose_lease_ended_does_not_complete_what_was_requeued(queue, clock):
    kind = queue.register(max_attempts=1)
    queue.create()
    claimed = queue.must_claim(kind)
    clock.advance(seconds=301)
    queue.do(do_what_is_due)
    queue.do(requeue_task, claimed["id"])
    for token in (claimed["lease_token"], None):
        with pytest.raises((LeaseLost, TaskNotClaimed)):
            queue.do(complete_task, claimed["id"], worker_id="w1", lease_token=token, result=1)


def test_a_deadline_that_has_passed_is_dropped_and_one_ahead_is_kept(queue, clock):
    kind = queue.register(expires_after_seconds=100)
    passed = die(queue, kind, deadline_at=clock.instant + timedelta(seconds=10))
    near = die(queue, kind, deadline_at=clock.instant + timedelta(seconds=60))
    far = die(queue, kind, deadline_at=clock.instant + timedelta(seconds=1000))
    clock.advance(seconds=10)
    alarms = {}
    for task in (passed, near, far):
        row = queue.do(requeue_task, task["id"])
        alarms[task["id"]] = (row["deadline_at"], row["due_at"])
    expires = clock.instant + timedelta(seconds=100)
    assert alarms == {
        passed["id"]: (None, expires),
        near["id"]: (near["deadline_at"], near["deadline_at"]),
        far["id"]: (far["deadline_at"], expires),
    }
    clock.advance(seconds=100)
    queue.do(do_what_is_due)
    assert queue.do(read_task, passed["id"])["failure_reason"] == "deadline_passed"


@pytest.mark.parametrize("policies", [{"claim_order": "deadline"}, {"priority_aging_seconds": 60}])
def test_the_rank_is_that_of_the_type(queue, database, clock, policies):
    kind = queue.register(**policies)
    task = die(queue, kind, priority=3, deadline_at=clock.instant + timedelta(seconds=500))
    clock.advance(seconds=5)
    row = queue.do(requeue_task, task["id"])
    task_type = database.read(lambda tx: find_type(tx, "work"))
    assert row["claim_rank"] == claim_rank(
        task_type.policies, priority=3, available_at=clock.instant, deadline_at=task["deadline_at"]
    )


def test_a_deadline_that_has_passed_gives_no_rank(queue, clock):
    kind = queue.register(claim_order="deadline")
    task = die(queue, kind, deadline_at=clock.instant + timedelta(seconds=10))
    clock.advance(seconds=10)
    assert queue.do(requeue_task, task["id"])["claim_rank"] == queue.create()["claim_rank"]


def test_what_waits_or_is_done_cannot_be_requeued(queue):
    kind = queue.register()
    waiting = queue.create()
    with pytest.raises(TaskNotRequeuable):
        queue.do(requeue_task, waiting["id"])
    claimed = queue.must_claim(kind)
    with pytest.raises(TaskNotRequeuable):
        queue.do(requeue_task, claimed["id"])
    queue.do(complete_task, claimed["id"], worker_id="w1", lease_token=claimed["lease_token"], result=None)
    with pytest.raises(TaskNotRequeuable):
        queue.do(requeue_task, claimed["id"])
    with pytest.raises(TaskNotFound):
        queue.do(requeue_task, claimed["id"] + 1)


def depend(queue, task, on, *, on_failure="fail"):
    """Let the task have waited for the other one."""
    values = {"task_id": task["id"], "depends_on_id": on, "on_failure": on_failure, "is_met": True}
    queue.database.write(lambda tx: tx.execute(dependencies.insert(), values))


def edges(queue, task):
    statement = select(dependencies.c.depends_on_id, dependencies.c.is_met).where(dependencies.c.task_id == task["id"])
    return {row["depends_on_id"]: row["is_met"] for row in queue.database.read(lambda tx: tx.all(statement))}


def followed(queue):
    statement = select(tasks.c.id).where(tasks.c.has_followers).order_by(tasks.c.id)
    return [row["id"] for row in queue.database.read(lambda tx: tx.all(statement))]


def test_a_task_waits_again_for_what_is_not_completed(queue, clock):
    kind = queue.register()
    completed = queue.create()
    claimed = queue.must_claim(kind)
    queue.do(complete_task, claimed["id"], worker_id="w1", lease_token=claimed["lease_token"], result=None)
    dead = die(queue, kind)
    task = die(queue, kind, deadline_at=clock.instant + timedelta(seconds=50))
    pending = queue.create()
    gone = 10**12
    for other in (completed["id"], dead["id"], pending["id"], gone):
        depend(queue, task, other)
    row = queue.do(requeue_task, task["id"])
    assert (row["status"], row["due_at"]) == (TaskStatus.BLOCKED, task["deadline_at"])
    assert edges(queue, task) == {completed["id"]: True, dead["id"]: False, pending["id"]: False, gone: True}
    assert followed(queue) == [dead["id"], pending["id"]]


def test_a_task_that_runs_anyway_waits_only_for_what_has_not_ended(queue):
    kind = queue.register()
    dead, task = die(queue, kind), die(queue, kind)
    depend(queue, task, dead["id"], on_failure="run_anyway")
    assert queue.do(requeue_task, task["id"])["status"] == TaskStatus.PENDING
    assert edges(queue, task) == {dead["id"]: True}
    queue.do(cancel_task, task["id"])
    queue.do(requeue_task, dead["id"])
    assert queue.do(requeue_task, task["id"])["status"] == TaskStatus.BLOCKED
    assert followed(queue) == [dead["id"]]


def test_a_task_whose_prerequisites_are_all_completed_is_claimable(queue):
    kind = queue.register()
    queue.create()
    claimed = queue.must_claim(kind)
    queue.do(complete_task, claimed["id"], worker_id="w1", lease_token=claimed["lease_token"], result=None)
    task = die(queue, kind)
    depend(queue, task, claimed["id"])
    assert queue.do(requeue_task, task["id"])["status"] == TaskStatus.PENDING


def test_a_fan_in_of_thousands_takes_a_bounded_number_of_statements(queue, database):
    kind = queue.register()
    task = die(queue, kind)
    others = [queue.create()["id"] for _ in range(1200)]
    values = [{"task_id": task["id"], "depends_on_id": other, "on_failure": "fail", "is_met": True} for other in others]
    database.write(lambda tx: tx.execute(dependencies.insert(), values))
    with counted_statements(database) as statements:
        assert queue.do(requeue_task, task["id"])["status"] == TaskStatus.BLOCKED
    assert len(statements) < 25
    assert followed(queue) == others
    assert set(edges(queue, task).values()) == {False}
