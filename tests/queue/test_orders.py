"""The orders in which a type's tasks are claimed."""

from datetime import timedelta

import pytest

from app.queue.complete import complete_task
from app.queue.operate import run_operations
from app.queue.operations import list_operations
from app.queue.register import change_type


def test_the_earliest_deadline_is_claimed_first_where_the_type_says_so(queue, clock):
    kind = queue.register(claim_order="deadline")
    made = {}
    for name, seconds in (("none", None), ("late", 300), ("early", 100), ("middle", 200)):
        deadline_at = None if seconds is None else clock.instant + timedelta(seconds=seconds)
        made[queue.create(deadline_at=deadline_at, priority=9 if name == "late" else 0)["id"]] = name
    assert [made[queue.must_claim(kind)["id"]] for _ in made] == ["early", "middle", "late", "none"]


def test_a_worker_may_ask_for_the_earliest_deadline_by_itself(queue, clock):
    kind = queue.register()
    made = {}
    for name, seconds in (("none", None), ("late", 300), ("early", 100)):
        deadline_at = None if seconds is None else clock.instant + timedelta(seconds=seconds)
        made[queue.create(deadline_at=deadline_at)["id"]] = name
    assert [made[queue.must_claim(kind, sort_by="deadline_at")["id"]] for _ in made] == ["early", "late", "none"]


def test_with_aging_a_low_priority_does_not_starve(queue, clock):
    kind = queue.register(priority_aging_seconds=60)
    low = queue.create(priority=0)
    claimed = []
    for _ in range(12):
        # There is always something of higher priority.
        queue.create(priority=10)
        clock.advance(seconds=60)
        task = queue.must_claim(kind)
        queue.do(complete_task, task["id"], worker_id="w1", lease_token=task["lease_token"], result=None)
        claimed.append(task["id"])
    assert claimed.index(low["id"]) == 10


def test_without_aging_it_does(queue, clock):
    kind = queue.register()
    low = queue.create(priority=0)
    claimed = []
    for _ in range(12):
        queue.create(priority=10)
        clock.advance(seconds=60)
        claimed.append(queue.must_claim(kind)["id"])
    assert low["id"] not in claimed


def test_a_changed_order_is_followed_by_what_waits_already(queue, clock):
    kind = queue.register()
    made = {}
    for name, seconds in (("none", None), ("late", 300), ("early", 100)):
        deadline_at = None if seconds is None else clock.instant + timedelta(seconds=seconds)
        made[queue.create(deadline_at=deadline_at)["id"]] = name
    in_line = [queue.create(concurrency_key="a", deadline_at=clock.instant + timedelta(seconds=50))["id"]]
    queue.register(claim_order="deadline")
    while queue.do(run_operations):
        pass
    assert [made.get(queue.must_claim(kind)["id"], "line") for _ in range(4)] == ["line", "early", "late", "none"]
    queue.register(claim_order="priority", priority_aging_seconds=60)
    (rerank, _), _next = queue.do(list_operations, limit=5)
    assert rerank["kind"] == "rerank_tasks"
    while queue.do(run_operations):
        pass
    (rerank, _), _next = queue.do(list_operations, limit=5)
    assert (rerank["status"], rerank["changed"] >= 4) == ("completed", True)
    assert in_line


def test_the_same_policies_again_rank_nothing_anew(queue):
    queue.register(priority_aging_seconds=60)
    queue.register(priority_aging_seconds=60)
    assert queue.do(list_operations, limit=5) == ([], None)


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"max_attempts": 9}, 0),
        ({"claim_order": "deadline"}, 1),
        ({"claim_order": "deadline", "priority_aging_seconds": 9}, 1),
    ],
)
def test_what_waits_is_ranked_anew_when_the_order_has_changed_and_only_then(queue, changes, number):
    queue.register()
    queue.do(change_type, "work", changes)
    assert len(queue.do(list_operations, limit=10)[0]) == number


def test_a_time_that_has_passed_is_no_seniority(queue, clock):
    kind = queue.register(priority_aging_seconds=60)
    first = queue.create(priority=1)
    queue.create(available_at=clock.instant - timedelta(days=1))
    assert queue.must_claim(kind)["id"] == first["id"]
