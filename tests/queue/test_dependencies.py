"""Dependencies: a task waits until all that it depends on has ended, and no longer."""

import threading

import pytest

from app.errors import DependencyNotFound
from app.lifecycle import FINISHED, TaskStatus
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.dependencies import attach_results
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.tasks import list_tasks, read_task
from app.storage.models import dependencies
from tests.support.factories import Queue
from tests.support.statements import counted_statements


@pytest.fixture
def kind(queue):
    return queue.register(lease_seconds=60)


def complete(queue, task, result=None):
    token = task["lease_token"]
    queue.do(complete_task, task["id"], worker_id=task["claimed_by"], lease_token=token, result=result)


def give_up(queue, task):
    report = {"error": "bad", "retryable": False, "retry_after_seconds": None}
    queue.do(fail_task, task["id"], worker_id=task["claimed_by"], lease_token=task["lease_token"], **report)


def do_all_that_is_due(queue):
    while queue.do(do_what_is_due):
        pass


def status(queue, task):
    return TaskStatus(queue.do(read_task, task["id"])["status"])


def test_a_task_is_claimable_when_all_that_it_waits_for_is_completed(queue, kind):
    first, second = queue.create(), queue.create()
    last = queue.create(depends_on=[first["id"], second["id"]])
    assert last["status"] == TaskStatus.BLOCKED
    claimed = [queue.must_claim(kind), queue.must_claim(kind)]
    assert queue.claim(kind) is None
    complete(queue, claimed[0])
    assert status(queue, last) == TaskStatus.BLOCKED
    complete(queue, claimed[1])
    assert status(queue, last) == TaskStatus.PENDING
    assert queue.must_claim(kind)["id"] == last["id"]


def test_a_task_that_waits_for_what_is_completed_does_not_wait(queue, kind):
    first = queue.create()
    complete(queue, queue.must_claim(kind))
    assert queue.create(depends_on=[first["id"]])["status"] == TaskStatus.PENDING


def test_a_dependent_that_comes_while_the_task_is_worked_on_is_seen_to(queue, kind):
    queue.create()
    claimed = queue.must_claim(kind)
    late = queue.create(depends_on=[claimed["id"]])
    complete(queue, claimed)
    # The worker's token does not know of it; the alarm of the task does.
    do_all_that_is_due(queue)
    assert status(queue, late) == TaskStatus.PENDING


@pytest.mark.parametrize(
    ("on_failure", "expected"),
    [
        ("fail", TaskStatus.FAILED),
        ("cancel", TaskStatus.CANCELLED),
        ("run_anyway", TaskStatus.PENDING),
    ],
)
@pytest.mark.parametrize("end", ["failed", "cancelled", "before"])
def test_what_becomes_of_a_task_when_one_that_it_waits_for_fails(queue, kind, on_failure, expected, end):
    first = queue.create()
    terms = {"depends_on": [first["id"]], "on_dependency_failure": on_failure}
    waiting = None if end == "before" else queue.create(**terms)
    if end == "cancelled":
        queue.do(cancel_task, first["id"])
    else:
        give_up(queue, queue.must_claim(kind))
    waiting = waiting or queue.create(**terms)
    task = queue.do(read_task, waiting["id"])
    assert task["status"] == expected
    assert task["failure_reason"] == ("dependency_failed" if expected == TaskStatus.FAILED else None)
    assert (task["completed_at"] is not None) == (expected in FINISHED)
    assert not task["has_followers"]
    if expected in FINISHED and end != "before":
        happened = "was cancelled" if end == "cancelled" else "has failed"
        assert task["error_message"] == f"Task {first['id']}, which it waits for, {happened}"


def test_a_failure_goes_down_a_chain(queue, kind):
    chain = [queue.create()]
    for _ in range(5):
        chain.append(queue.create(depends_on=[chain[-1]["id"]]))
    give_up(queue, queue.must_claim(kind))
    do_all_that_is_due(queue)
    tasks = [queue.do(read_task, task["id"]) for task in chain]
    assert [task["failure_reason"] for task in tasks] == ["not_retryable"] + ["dependency_failed"] * 5
    assert not any(task["has_followers"] for task in tasks)


def test_a_long_chain_falls_in_slices(queue, kind, monkeypatch):
    # Each task counts as 20, and each that waits for it as one.
    monkeypatch.setattr("app.queue.follow.SLICE", 50)
    chain = [queue.create()]
    for _ in range(5):
        chain.append(queue.create(depends_on=[chain[-1]["id"]]))
    give_up(queue, queue.must_claim(kind))
    assert [status(queue, task).word for task in chain] == ["failed"] * 4 + ["blocked"] * 2
    assert queue.do(do_what_is_due) > 0
    assert [status(queue, task).word for task in chain] == ["failed"] * 6


def test_whatever_becomes_of_those_that_wait_their_own_followers_hear_of_it_at_once(queue, kind):
    first = queue.create()
    middle = [queue.create(depends_on=[first["id"]], on_dependency_failure=way) for way in ("fail", "cancel")]
    last = [queue.create(depends_on=[task["id"]]) for task in middle]
    give_up(queue, queue.must_claim(kind))
    assert [status(queue, task).word for task in middle] == ["failed", "cancelled"]
    assert [status(queue, task).word for task in last] == ["failed", "failed"]


def test_an_attempt_that_fails_and_is_tried_again_fails_nobody(queue, kind, clock):
    queue.create()
    claimed = queue.must_claim(kind)
    waiting = queue.create(depends_on=[claimed["id"]])
    report = {"error": "x", "retryable": True, "retry_after_seconds": 5}
    queue.do(fail_task, claimed["id"], worker_id="w1", lease_token=claimed["lease_token"], **report)
    do_all_that_is_due(queue)
    assert status(queue, waiting) == TaskStatus.BLOCKED
    clock.advance(seconds=5)
    do_all_that_is_due(queue)
    complete(queue, queue.must_claim(kind))
    assert status(queue, waiting) == TaskStatus.PENDING


def test_a_lease_that_expires_for_the_last_time_fails_the_dependents(queue, clock):
    kind = queue.register(lease_seconds=10, max_attempts=1)
    queue.create()
    waiting = queue.create(depends_on=[queue.must_claim(kind)["id"]])
    clock.advance(seconds=10)
    do_all_that_is_due(queue)
    assert queue.do(read_task, waiting["id"])["failure_reason"] == "dependency_failed"


def test_a_task_waits_for_its_time_too(queue, kind, clock):
    first = queue.create()
    waiting = queue.create(depends_on=[first["id"]], delay_seconds=100)
    assert waiting["status"] == TaskStatus.BLOCKED
    complete(queue, queue.must_claim(kind))
    assert status(queue, waiting) == TaskStatus.SCHEDULED
    clock.advance(seconds=100)
    do_all_that_is_due(queue)
    assert status(queue, waiting) == TaskStatus.PENDING


def test_one_that_waits_for_its_time_too_does_not_hold_up_the_next(queue, kind):
    first = queue.create()
    late, now = queue.create(depends_on=[first["id"]], delay_seconds=100), queue.create(depends_on=[first["id"]])
    complete(queue, queue.must_claim(kind))
    assert [status(queue, late), status(queue, now)] == [TaskStatus.SCHEDULED, TaskStatus.PENDING]


def test_a_deadline_passes_also_for_a_blocked_task(queue, kind, clock):
    first = queue.create()
    waiting = queue.create(depends_on=[first["id"]], deadline_at=clock.instant.replace(hour=13))
    clock.advance(seconds=3600)
    do_all_that_is_due(queue)
    assert queue.do(read_task, waiting["id"])["failure_reason"] == "deadline_passed"
    complete(queue, queue.must_claim(kind))
    assert status(queue, waiting) == TaskStatus.FAILED


def test_what_does_not_exist_cannot_be_waited_for(queue, kind):
    first = queue.create()
    with pytest.raises(DependencyNotFound) as refused:
        queue.create(depends_on=[first["id"], 10**12, 10**12 + 1])
    assert [detail["problem"] for detail in refused.value.details] == [
        "There is no task 1000000000000.",
        "There is no task 1000000000001.",
    ]
    assert len(queue.do(list_tasks, limit=10)) == 1
    assert not queue.do(read_task, first["id"])["has_followers"]


@pytest.mark.usefixtures("kind")
def test_of_many_that_do_not_exist_fifty_are_named(queue):
    with pytest.raises(DependencyNotFound) as refused:
        queue.create(depends_on=list(range(10**12, 10**12 + 60)))
    assert len(refused.value.details) == 50


def test_the_results_of_what_it_waited_for_are_handed_to_the_worker(queue, kind):
    first, second = queue.create(), queue.create()
    queue.create(depends_on=[first["id"], second["id"]], on_dependency_failure="run_anyway")
    complete(queue, queue.must_claim(kind), result={"sum": 7})
    give_up(queue, queue.must_claim(kind))
    claimed = queue.must_claim(kind)
    (task,) = queue.do(attach_results, [claimed])
    assert [(each["id"], each["status"], each["result"], each["is_omitted"]) for each in task["dependencies"]] == [
        (first["id"], TaskStatus.COMPLETED, {"sum": 7}, False),
        (second["id"], TaskStatus.FAILED, None, False),
    ]


def test_results_that_are_too_large_are_left_out(queue, kind, monkeypatch):
    monkeypatch.setattr("app.queue.dependencies._MAX_RESULT_CHARACTERS", 100)
    first, second = queue.create(), queue.create()
    queue.create(depends_on=[first["id"], second["id"]])
    for result in ("x" * 90, "y" * 20):
        complete(queue, queue.must_claim(kind), result=result)
    (task,) = queue.do(attach_results, [queue.must_claim(kind)])
    assert [(each["result"], each["is_omitted"]) for each in task["dependencies"]] == [("x" * 90, False), (None, True)]


def test_results_that_just_fit_are_handed_on(queue, kind, monkeypatch):
    monkeypatch.setattr("app.queue.dependencies._MAX_RESULT_CHARACTERS", 100)
    first, second = queue.create(), queue.create()
    queue.create(depends_on=[first["id"], second["id"]])
    # In JSON they have 50 characters each.
    for letter in "xy":
        complete(queue, queue.must_claim(kind), result=letter * 48)
    (task,) = queue.do(attach_results, [queue.must_claim(kind)])
    assert [each["is_omitted"] for each in task["dependencies"]] == [False, False]


def test_a_fan_out_of_many_is_released_in_slices(queue, kind, monkeypatch):
    monkeypatch.setattr("app.queue.follow.SLICE", 50)
    first = queue.create()
    for _ in range(120):
        queue.create(depends_on=[first["id"]])
    complete(queue, queue.must_claim(kind))
    # The request itself sees to one slice, housekeeping to the rest.
    pending = queue.do(list_tasks, limit=1000, statuses=[TaskStatus.PENDING])
    assert len(pending) == 50
    do_all_that_is_due(queue)
    assert len(queue.do(list_tasks, limit=1000, statuses=[TaskStatus.PENDING])) == 120


def test_two_that_end_at_once_release_their_dependent(queue, kind, open_database):
    for _ in range(10):
        tasks = [queue.create() for _ in range(4)]
        waiting = queue.create(depends_on=[task["id"] for task in tasks])
        claimed = [queue.must_claim(kind) for _ in tasks]
        threads = [threading.Thread(target=complete, args=(Queue(open_database()), task)) for task in claimed]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        do_all_that_is_due(queue)
        assert status(queue, waiting) == TaskStatus.PENDING
        complete(queue, queue.must_claim(kind))


def test_a_dependent_that_is_created_while_its_task_ends_is_never_forgotten(queue, kind, open_database):
    def create_dependent(made, of_id):
        made.append(Queue(open_database()).create("work", {"of": of_id}, depends_on=[of_id]))

    for _ in range(15):
        queue.create()
        claimed = queue.must_claim(kind)
        made = []
        threads = [
            threading.Thread(target=complete, args=(Queue(open_database()), claimed)),
            threading.Thread(target=create_dependent, args=(made, claimed["id"])),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        do_all_that_is_due(queue)
        assert status(queue, made[0]) == TaskStatus.PENDING
        complete(queue, queue.must_claim(kind))


def test_a_completion_without_dependents_costs_nothing_more(queue, kind, database):
    queue.create()
    claimed = queue.must_claim(kind)
    with counted_statements(database) as seen:
        complete(queue, claimed)
    assert len(seen) == 1


def test_nothing_is_left_of_a_removed_task(queue, clock):
    kind = queue.register(retention_seconds=10)
    first = queue.create()
    queue.create(depends_on=[first["id"]])
    for _ in range(2):
        complete(queue, queue.must_claim(kind))
    clock.advance(seconds=200)
    do_all_that_is_due(queue)
    clock.advance(seconds=200)
    do_all_that_is_due(queue)
    assert queue.do(list_tasks, limit=10) == []
    assert queue.do(lambda tx: tx.all(dependencies.select())) == []
