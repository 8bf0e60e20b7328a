"""Combinations: what two features that know nothing of each other do to one task."""

from datetime import timedelta

import pytest

from app.errors import LeaseLost
from app.lifecycle import TaskStatus
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.filters import TaskFilter
from app.queue.line import admit_due
from app.queue.operate import run_operations
from app.queue.operations import CANCEL, NewOperation, start_operation
from app.queue.release import release_task
from app.queue.remove import remove_tasks
from app.queue.requeue import requeue_task
from app.queue.task_types import find_type, find_type_by_id
from app.queue.tasks import read_task
from app.storage.models import line_places
from tests.support.factories import Queue


def complete(queue, task):
    queue.do(complete_task, task["id"], worker_id=task["claimed_by"], lease_token=task["lease_token"], result=None)


def fail(queue, task, **options):
    told = {"error": "x", "retryable": True, "retry_after_seconds": None, **options}
    queue.do(fail_task, task["id"], worker_id=task["claimed_by"], lease_token=task["lease_token"], **told)


def status(queue, task):
    return TaskStatus(queue.do(read_task, task["id"])["status"]).word


def statuses(queue, tasks):
    return [status(queue, task) for task in tasks]


def do_all_that_is_due(queue):
    while queue.do(do_what_is_due) + queue.do(admit_due) + queue.do(run_operations):
        pass


def claim_one_after_the_other(queue, kind):
    order = []
    while (task := queue.claim(kind)) is not None:
        order.append(task["id"])
        complete(queue, task)
    return order


@pytest.fixture
def stale(queue, open_database):
    """The queue of another process, which knows the type `work` only as it was."""

    def remember(kind):
        other = Queue(open_database())
        other.do(find_type_by_id, kind)
        other.do(find_type, "work")
        return other

    return remember


def test_who_came_into_a_line_without_a_key_leaves_it_when_done(queue, clock):
    kind = queue.register(key_max_concurrency=1)
    tasks = [queue.create(delay_seconds=10) for _ in range(2)]
    queue.register(key_max_concurrency=1, key_order="round_robin")
    clock.advance(seconds=10)
    do_all_that_is_due(queue)
    assert statuses(queue, tasks) == ["pending", "blocked"]
    complete(queue, queue.must_claim(kind))
    do_all_that_is_due(queue)
    assert statuses(queue, tasks) == ["completed", "pending"]
    complete(queue, queue.must_claim(kind))
    do_all_that_is_due(queue)
    assert queue.do(lambda tx: tx.all(line_places.select())) == []


def test_a_task_without_a_key_finds_a_line_that_the_cache_does_not_know(queue, stale, open_database):
    kind = queue.register()
    other = Queue(open_database())
    other.do(find_type_by_id, kind)
    queue.register(key_order="round_robin")
    # By its name the type is read anew, by its id it is still as it was.
    assert status(queue, other.create()) == "pending"


def test_a_requeued_task_that_waits_for_another_has_no_place_in_line(queue):
    kind = queue.register(key_max_concurrency=1, max_attempts=1)
    first = queue.create(concurrency_key="a")
    second = queue.create(concurrency_key="a", depends_on=[first["id"]], on_dependency_failure="run_anyway")
    fail(queue, queue.must_claim(kind))
    assert statuses(queue, [first, second]) == ["failed", "pending"]
    queue.do(start_operation, NewOperation(kind=CANCEL, filter=TaskFilter(ids=[second["id"]])))
    while queue.do(run_operations):
        pass
    # Nobody has seen to the followers of the second, such as its line, when both are requeued.
    queue.do(requeue_task, first["id"])
    queue.do(requeue_task, second["id"])
    do_all_that_is_due(queue)
    assert statuses(queue, [first, second]) == ["pending", "blocked"]
    assert claim_one_after_the_other(queue, kind) == [first["id"], second["id"]]


def test_all_that_is_above_a_lowered_limit_is_called_back_slice_by_slice(queue, monkeypatch):
    monkeypatch.setattr("app.queue.line.SLICE", 3)
    queue.register()
    tasks = [queue.create(concurrency_key="a") for _ in range(10)]
    queue.register(key_max_concurrency=1)
    do_all_that_is_due(queue)
    assert statuses(queue, tasks) == ["pending", *["blocked"] * 9]


def test_who_knows_only_the_old_limit_admits_by_the_new_one(queue, stale):
    kind = queue.register(key_max_concurrency=3)
    tasks = [queue.create(concurrency_key="a") for _ in range(5)]
    other = stale(kind)
    claimed = other.must_claim(kind)
    queue.register(key_max_concurrency=1)
    complete(other, claimed)
    assert statuses(queue, tasks) == ["completed", "pending", "blocked", "blocked", "blocked"]


def test_who_knows_only_the_old_limit_does_not_hinder_the_new_one(queue, stale):
    kind = queue.register()
    tasks = [queue.create(concurrency_key="a") for _ in range(5)]
    other = stale(kind)
    claimed = other.must_claim(kind)
    queue.register(key_max_concurrency=2)
    complete(other, claimed)
    do_all_that_is_due(queue)
    assert statuses(queue, tasks) == ["completed", "pending", "pending", "blocked", "blocked"]


@pytest.mark.parametrize("end", ["retry", "retry later", "release", "expire"])
def test_where_keys_take_turns_an_old_task_comes_back_before_newer_ones(queue, clock, end):
    kind = queue.register(key_order="round_robin", lease_seconds=60)
    first = queue.create(concurrency_key="a")
    claimed = queue.must_claim(kind)
    newer = [queue.create(concurrency_key="a") for _ in range(3)]
    if end == "release":
        holder = {"worker_id": "w1", "lease_token": claimed["lease_token"]}
        queue.do(release_task, first["id"], **holder, delay_seconds=0)
    elif end.startswith("retry"):
        fail(queue, claimed, retry_after_seconds=0 if end == "retry" else 60)
    clock.advance(seconds=60)
    do_all_that_is_due(queue)
    assert status(queue, newer[0]) == "pending"
    # The first of the newer ones had been admitted already.
    order = claim_one_after_the_other(queue, kind)
    assert order == [task["id"] for task in (newer[0], first, newer[1], newer[2])]


def test_a_task_that_is_called_back_has_its_own_rank_again(queue, clock):
    kind = queue.register(key_order="round_robin")
    tasks = [queue.create(concurrency_key=key) for key in "aab"]
    queue.register(key_order="round_robin", key_rate_limit="1/60")
    complete(queue, queue.must_claim(kind))
    do_all_that_is_due(queue)
    ranks = {queue.do(read_task, task["id"])["claim_rank"] for task in tasks if status(queue, task) == "blocked"}
    assert ranks == {0}


def test_a_task_whose_turn_is_taken_back_has_its_own_rank_again(queue):
    kind = queue.register(key_order="round_robin")
    queue.create(concurrency_key="a")
    second = queue.create(concurrency_key="a")
    queue.must_claim(kind)
    assert status(queue, second) == "pending"
    assert queue.do(read_task, second["id"])["claim_rank"] != 0
    queue.register(key_order="round_robin", key_max_concurrency=1)
    do_all_that_is_due(queue)
    assert status(queue, second) == "blocked"
    assert queue.do(read_task, second["id"])["claim_rank"] == 0


def test_when_keys_take_turns_no_longer_no_task_keeps_the_rank_of_its_turn(queue):
    kind = queue.register(key_order="round_robin")
    first = queue.create(concurrency_key="a")
    queue.register(key_order="priority")
    do_all_that_is_due(queue)
    queue.create(concurrency_key="b")
    assert queue.must_claim(kind)["id"] == first["id"]


def test_tasks_are_ranked_anew_by_the_type_as_it_is_stored(queue, clock, stale):
    kind = queue.register()
    queue.create(priority=1)
    urgent = queue.create(deadline_at=clock.instant + timedelta(seconds=1000))
    other = stale(kind)
    queue.register(claim_order="deadline")
    while other.do(run_operations):
        pass
    assert queue.must_claim(kind)["id"] == urgent["id"]


def test_what_replaces_a_task_in_line_does_not_begin_too_early(queue, clock):
    kind = queue.register(key_max_concurrency=1, on_duplicate="replace")
    queue.create(concurrency_key="a")
    replaced = queue.create(params={"x": 1}, concurrency_key="a")
    told = queue.create(params={"x": 1}, concurrency_key="a", delay_seconds=3600)
    assert TaskStatus(told["status"]).word == status(queue, replaced) == "scheduled"
    complete(queue, queue.must_claim(kind))
    do_all_that_is_due(queue)
    assert queue.claim(kind) is None
    clock.advance(seconds=3600)
    do_all_that_is_due(queue)
    assert queue.must_claim(kind)["id"] == replaced["id"]


def test_what_replaces_a_claimable_task_is_told_that_it_stands_in_line(queue):
    queue.register(key_max_concurrency=1, on_duplicate="replace")
    replaced = queue.create(params={"x": 1}, concurrency_key="a")
    queue.create(concurrency_key="a", priority=5)
    told = queue.create(params={"x": 1}, concurrency_key="a")
    assert TaskStatus(told["status"]).word == status(queue, replaced) == "blocked"


def test_a_late_result_does_not_complete_what_has_replaced_its_task(queue, clock):
    kind = queue.register(lease_seconds=10, on_duplicate="replace")
    queue.create(params={"version": 1}, dedupe_key="a")
    late = queue.must_claim(kind)
    clock.advance(seconds=10)
    do_all_that_is_due(queue)
    queue.create(params={"version": 2}, dedupe_key="a")
    with pytest.raises(LeaseLost):
        complete(queue, late)
    assert queue.must_claim(kind)["params"] == {"version": 2}


def test_a_replaced_task_keeps_the_end_of_its_attempts(queue, clock):
    kind = queue.register(retry_for_seconds=100, retry_delay_seconds=0, on_duplicate="replace")
    queue.create(dedupe_key="a")
    fail(queue, queue.must_claim(kind))
    queue.create(dedupe_key="a")
    clock.advance(seconds=100)
    assert queue.claim(kind) is None


def test_a_dead_letter_for_which_a_requeued_task_waits_is_not_removed_unseen(queue, clock):
    kind = queue.register(max_attempts=1, retention_seconds=100)
    first = queue.create()
    second = queue.create(depends_on=[first["id"]])
    fail(queue, queue.must_claim(kind))
    do_all_that_is_due(queue)
    clock.advance(seconds=99)
    queue.do(requeue_task, second["id"])
    assert status(queue, second) == "blocked"
    clock.advance(seconds=1)
    # Who found out what is due before the second was requeued goes on to remove the first.
    assert queue.do(remove_tasks, [first["id"]]) == 0
    queue.do(do_what_is_due)
    assert status(queue, second) == "failed"
