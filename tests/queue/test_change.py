"""Changing the priority of a task while it waits."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app.errors import TaskNotFound, TaskNotWaiting
from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.cancel import cancel_task
from app.queue.change import change_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.ranks import claim_rank, move_rank
from app.queue.tasks import read_task
from app.storage.models import line_places, tasks
from tests.support.factories import Queue


def _change(queue, task, priority):
    return queue.do(change_task, task["id"], priority=priority)


def _fail(queue, task):
    report = {"error": "x", "retryable": True, "retry_after_seconds": None}
    return queue.do(fail_task, task["id"], worker_id="w1", lease_token=task["lease_token"], **report)


def test_a_waiting_task_goes_before_others_when_its_priority_is_raised(queue, clock):
    kind = queue.register()
    first, second = queue.create(priority=1), queue.create(priority=1)
    clock.advance(seconds=1)
    changed = _change(queue, second, 2)
    assert {**changed, "type": None} == {**queue.do(read_task, second["id"]), "type": None}
    assert (changed["priority"], changed["updated_at"]) == (2, clock.instant)
    assert [queue.must_claim(kind)["id"] for _ in range(2)] == [second["id"], first["id"]]


def test_the_changed_priority_is_as_if_it_had_been_given_at_creation(queue):
    queue.register()
    task = queue.create()
    for priority in (2**31 - 1, -(2**31) + 1, 0):
        changed = _change(queue, task, priority)
        assert changed["claim_rank"] == queue.create(priority=priority)["claim_rank"]


@pytest.mark.parametrize("status", [TaskStatus.BLOCKED, TaskStatus.SCHEDULED, TaskStatus.PENDING])
def test_all_that_waits_can_be_changed(queue, status):
    queue.register()
    task = queue.create()
    queue.do(lambda tx: tx.execute(update(tasks).where(tasks.c.id == task["id"]).values(status=int(status))))
    changed = _change(queue, task, 5)
    assert (changed["status"], changed["priority"]) == (status, 5)
    assert queue.do(read_task, task["id"])["claim_rank"] == -5


def test_what_is_claimed_or_finished_is_not_changed(queue):
    kind = queue.register()
    queue.create()
    task = queue.must_claim(kind)
    with pytest.raises(TaskNotWaiting):
        _change(queue, task, 5)
    queue.do(complete_task, task["id"], worker_id="w1", lease_token=None, result=None)
    rank = queue.do(read_task, task["id"])["claim_rank"]
    with pytest.raises(TaskNotWaiting):
        _change(queue, task, 5)
    cancelled = queue.do(cancel_task, queue.create()["id"])
    with pytest.raises(TaskNotWaiting):
        _change(queue, cancelled, cancelled["priority"])
    with pytest.raises(TaskNotFound):
        _change(queue, {"id": 987654321}, 5)
    assert queue.do(read_task, task["id"])["claim_rank"] == rank


def test_a_claim_in_between_wins(queue, open_database):
    kind = queue.register()
    task = queue.create()
    other = Queue(open_database())

    def work(tx):
        original = tx.one

        class Interrupted:
            """The transaction, in which somebody claims the task after the first look at it."""

            def __getattr__(self, name):
                return getattr(tx, name)

            def one(self, *arguments):
                row = original(*arguments)
                if other.claim(kind) is not None:
                    taken.append(row)
                return row

        return change_task(Interrupted(), task["id"], priority=9)

    taken = []
    with pytest.raises(TaskNotWaiting):
        queue.database.write(work, atomic=False)
    assert len(taken) == 1
    assert queue.do(read_task, task["id"])["priority"] == 0


def test_with_aging_the_time_that_a_task_has_waited_still_counts(queue, clock):
    kind = queue.register(priority_aging_seconds=60, retry_delay_seconds=0)
    old = queue.create()
    clock.advance(seconds=3600)
    young = queue.create(priority=30)
    _fail(queue, queue.must_claim(kind))
    # Tried again, it is available only since now, but it has waited for an hour.
    _change(queue, old, 1)
    assert queue.do(read_task, old["id"])["claim_rank"] == old["claim_rank"] - 60_000
    assert queue.must_claim(kind)["id"] == old["id"]
    assert queue.must_claim(kind)["id"] == young["id"]


def test_by_deadline_the_priority_changes_nothing_but_itself(queue, clock):
    kind = queue.register(claim_order="deadline")
    soon = queue.create(deadline_at=clock.instant + timedelta(seconds=50))
    later = queue.create(deadline_at=clock.instant + timedelta(seconds=100))
    assert _change(queue, later, 100)["priority"] == 100
    assert queue.must_claim(kind)["id"] == soon["id"]


def test_a_task_in_the_line_of_its_key_goes_before_the_others_there(queue):
    kind = queue.register(key_max_concurrency=1)
    first, second, third = (queue.create(concurrency_key="a") for _ in range(3))
    assert queue.do(read_task, third["id"])["status"] == TaskStatus.BLOCKED
    _change(queue, third, 7)
    ranks = queue.do(lambda tx: {row["task_id"]: row["claim_rank"] for row in tx.all(select(line_places))})
    assert ranks == {first["id"]: 0, second["id"]: 0, third["id"]: -7}
    for expected in (first, third, second):
        claimed = queue.must_claim(kind)
        assert claimed["id"] == expected["id"]
        queue.do(complete_task, claimed["id"], worker_id="w1", lease_token=claimed["lease_token"], result=None)


def test_where_keys_take_turns_a_turn_that_has_come_stays(queue, clock):
    kind = queue.register(key_order="round_robin", key_max_concurrency=1)
    first = queue.create(concurrency_key="a")
    clock.advance(seconds=1)
    second = queue.create(concurrency_key="b")
    changed = _change(queue, second, 100)
    assert (changed["status"], changed["priority"]) == (TaskStatus.PENDING, 100)
    assert [queue.must_claim(kind)["id"] for _ in range(2)] == [first["id"], second["id"]]


def test_a_scheduled_task_keeps_its_alarm(queue, clock):
    kind = queue.register()
    task = queue.create(delay_seconds=30)
    _change(queue, task, 3)
    clock.advance(seconds=30)
    assert queue.do(do_what_is_due) == 1
    assert queue.must_claim(kind)["priority"] == 3


@pytest.mark.parametrize("aging", [None, 1, 366 * 86400])
def test_no_rank_leaves_its_bounds(aging, clock):
    policies = Policies(priority_aging_seconds=aging)
    top = 2**31 - 1
    rank = claim_rank(policies, priority=0, available_at=clock.instant, deadline_at=None)
    for old, new in ((0, top), (top, -top), (-top, top), (top, 0)):
        rank = move_rank(policies, rank, old, new)
        assert -(2**62) <= rank <= 2**62


def test_the_api_changes_the_priority(client, queue):
    kind = queue.register()
    queue.create(priority=3)
    task = queue.create()
    answer = client.patch(f"/api/tasks/{task['id']}", json={"priority": 4})
    assert (answer.status_code, answer.json["data"]["priority"]) == (200, 4)
    assert queue.must_claim(kind)["id"] == task["id"]
    refused = client.patch(f"/api/tasks/{task['id']}", json={"priority": 5})
    assert (refused.status_code, refused.json["code"]) == (409, "task_not_waiting")
    assert client.patch("/api/tasks/987654321", json={"priority": 5}).status_code == 404
