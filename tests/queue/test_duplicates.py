"""Duplicates: chosen parameters, and what an equal task means."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, event
from sqlalchemy.exc import OperationalError

from app.errors import DuplicateTask, TryAgain
from app.lifecycle import TaskStatus
from app.queue.complete import complete_task
from app.queue.create import create_task
from app.queue.due import do_what_is_due
from app.queue.duplicates import meet_duplicate
from app.queue.fail import fail_task
from app.queue.new_task import NewTask
from app.queue.task_types import find_type_by_id
from app.queue.tasks import list_tasks, read_task
from app.storage.models import tasks
from tests.support.clock import ClockAhead
from tests.support.factories import Queue


def create(queue, params=None, **more):
    return queue.do(create_task, NewTask(type_name="work", params=params or {}, **more))


def test_only_the_chosen_parameters_are_compared(queue):
    queue.register(dedupe_on=["url"])
    first = create(queue, {"url": "a", "at": 1})
    again = create(queue, {"at": 2, "url": "a"})
    assert (again.task["id"], again.is_duplicate, again.is_replaced) == (first.task["id"], True, False)
    assert not create(queue, {"url": "b", "at": 1}).is_duplicate
    # What has none of them equals what has none of them.
    assert not create(queue, {"at": 1}).is_duplicate
    assert create(queue, {"at": 2}).is_duplicate


def test_a_key_of_ones_own_rules_over_the_chosen_parameters(queue):
    queue.register(dedupe_on=["url"])
    create(queue, {"url": "a"}, dedupe_key="one")
    assert not create(queue, {"url": "a"}, dedupe_key="two").is_duplicate


def test_a_duplicate_may_be_rejected(queue):
    queue.register(on_duplicate="reject")
    first = create(queue).task
    with pytest.raises(DuplicateTask) as refused:
        create(queue)
    assert f"Task {first['id']} is equal and pending." in refused.value.detail
    assert create(queue, on_duplicate="return").task["id"] == first["id"]
    assert len(queue.do(list_tasks, limit=10)) == 1


def test_a_waiting_duplicate_may_be_replaced(queue, clock):
    kind = queue.register(on_duplicate="replace", dedupe_on=["url"])
    first = create(queue, {"url": "a", "n": 1}).task
    second = create(queue, {"url": "a", "n": 2}, priority=7, delay_seconds=60)
    assert second[1:] == (True, True)
    task = queue.do(read_task, first["id"])
    assert (task["params"], task["priority"], task["status"]) == ({"url": "a", "n": 2}, 7, TaskStatus.SCHEDULED)
    assert queue.claim(kind) is None
    third = create(queue, {"url": "a", "n": 3}, priority=-1)
    assert third.is_replaced
    claimed = queue.must_claim(kind)
    assert (claimed["id"], claimed["params"], claimed["priority"]) == (first["id"], {"url": "a", "n": 3}, -1)


def test_a_claim_that_saw_the_task_before_it_was_replaced_gets_what_it_is_now(queue, open_database, clock):
    kind = queue.register(on_duplicate="replace", dedupe_on=["url"])
    create(queue, {"url": "a", "n": 1})
    other = Queue(open_database(clock=ClockAhead(clock, seconds=1)))
    replaced = []

    def replace(_connection, _cursor, statement, *_rest):
        if not replaced and "UPDATE tasks" in statement:
            replaced.append(create(other, {"url": "a", "n": 2}, priority=3))

    event.listen(queue.database.engine, "before_cursor_execute", replace)
    claimed = queue.must_claim(kind)
    assert replaced[0].is_replaced
    assert (claimed["params"], claimed["priority"]) == ({"url": "a", "n": 2}, 3)
    assert claimed == queue.told_of(claimed["id"])


def test_a_replacement_whose_answer_was_lost_is_told_though_the_task_was_claimed_since(
    queue, open_database, clock, database_kind
):
    if database_kind == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")
    kind = queue.register(on_duplicate="replace", dedupe_on=["url"])
    create(queue, {"url": "a", "n": 1})
    other = Queue(open_database(clock=ClockAhead(clock, seconds=1)))
    claims = []

    def claim_and_lose(_connection, _cursor, statement, *_rest):
        if not claims and statement == "COMMIT":
            claims.append(other.must_claim(kind))
            raise OperationalError(statement, {}, Exception(2013, "Lost connection to server during query"))

    clock.advance(seconds=1)
    event.listen(queue.database.engine, "after_cursor_execute", claim_and_lose)
    again = create(queue, {"url": "a", "n": 2})
    assert claims[0]["params"] == {"url": "a", "n": 2}
    assert (again.is_duplicate, again.is_replaced, again.task["status"]) == (True, True, TaskStatus.CLAIMED)


def test_a_replacement_that_meets_a_failed_attempt_keeps_the_time_of_all_attempts(queue, open_database, clock):
    limits = {"retry_for_seconds": 60, "retry_delay_seconds": 0, "expires_after_seconds": 3600}
    kind = queue.register(on_duplicate="replace", dedupe_on=["url"], **limits)
    began = clock.instant
    first = create(queue, {"url": "a", "n": 1}).task
    other = Queue(open_database())

    def claim_and_fail():
        task = other.must_claim(kind)
        report = {"error": "no", "retryable": True, "retry_after_seconds": None}
        other.do(fail_task, task["id"], worker_id="w1", lease_token=task["lease_token"], **report)

    existing = queue.do(read_task, first["id"])
    claim_and_fail()
    task_type = queue.do(find_type_by_id, kind)
    row = {**existing, "params": {"url": "a", "n": 2}}
    replaced = queue.do(meet_duplicate, task_type, existing, row, None)
    assert (replaced.is_replaced, replaced.task["attempts"]) == (True, 1)
    assert queue.do(read_task, replaced.task["id"])["due_at"] == began + timedelta(seconds=60)


def test_a_replacement_of_what_has_just_been_removed_is_to_be_tried_again(queue):
    """Told that there is no such task, the producer would look for the fault in what it sent."""
    kind = queue.register(on_duplicate="replace", dedupe_on=["url"])
    first = create(queue, {"url": "a", "n": 1}).task
    existing = queue.do(read_task, first["id"])
    queue.database.write(lambda tx: tx.execute(delete(tasks)))
    task_type = queue.do(find_type_by_id, kind)
    with pytest.raises(TryAgain):
        queue.do(meet_duplicate, task_type, existing, {**existing, "params": {"url": "a", "n": 2}}, None)


def test_what_is_being_worked_on_is_not_replaced(queue):
    kind = queue.register(on_duplicate="replace")
    first = create(queue, priority=1).task
    queue.must_claim(kind)
    again = create(queue, priority=2)
    assert (again.task["id"], again.task["priority"], again[1:]) == (first["id"], 1, (True, False))


def test_a_replaced_task_keeps_its_line_and_its_dependencies(queue, clock):
    kind = queue.register(key_max_concurrency=1, on_duplicate="replace", dedupe_on=["url"])
    before = create(queue, {"url": "x"}, concurrency_key="a").task
    in_line = create(queue, {"url": "y"}, concurrency_key="a").task
    dependent = create(queue, {"url": "z"}, depends_on=[before["id"]]).task
    for task, url in ((in_line, "y"), (dependent, "z")):
        again = create(queue, {"url": url, "n": 2}, priority=3)
        assert (again.task["id"], again.task["status"], again.is_replaced) == (task["id"], TaskStatus.BLOCKED, True)
    create(queue, {"url": "x", "n": 2}, delay_seconds=30)
    # Who is delayed leaves the line.
    assert queue.must_claim(kind)["id"] == in_line["id"]
    clock.advance(seconds=30)
    queue.do(do_what_is_due)
    assert queue.claim(kind) is None
    task = queue.do(read_task, in_line["id"])
    queue.do(complete_task, task["id"], worker_id="w1", lease_token=task["lease_token"], result=None)
    assert queue.must_claim(kind)["id"] == before["id"]
