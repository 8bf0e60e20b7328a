"""Create: a task gets in once, under the schema that is in force."""

from datetime import timedelta

import pytest

from app.errors import InvalidParameters, TaskTypeInactive, TaskTypeNotFound
from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.create import create_task
from app.queue.new_task import NewTask
from app.queue.tasks import read_task
from tests.support.factories import Queue


def _create(queue, **new):
    return queue.do(create_task, NewTask(**{"type_name": "work", "params": {}, **new}))[:2]


def test_what_create_answers_is_what_the_table_holds(queue, clock):
    queue.register()
    params = {"text": "päd 🦊", "none": {}, "list": [], "n": 1.5, "big": 10**30}
    task = queue.create(params=params, priority=7, deadline_at=clock.instant + timedelta(days=1), parent_task_id="9")
    stored = queue.do(read_task, task["id"])
    assert {key: stored[key] for key in task} == task
    assert stored["params"] == params
    assert (stored["progress"], stored["attempts"]) == (0, 0)


def test_an_equal_unfinished_task_is_returned_instead_of_a_new_one(queue):
    kind = queue.register()
    first, is_duplicate = _create(queue, params={"a": 1, "b": [1.0]})
    assert not is_duplicate
    again, is_duplicate = _create(queue, params={"b": [1], "a": 1.0})
    assert is_duplicate
    assert again["id"] == first["id"]
    task = queue.must_claim(kind)
    assert _create(queue, params={"a": 1, "b": [1]})[1]
    queue.do(complete_task, task["id"], worker_id="w1", lease_token=task["lease_token"], result=None)
    assert not _create(queue, params={"a": 1, "b": [1]})[1]


def test_an_equal_task_may_follow_a_cancelled_one(queue):
    queue.register()
    first, _ = _create(queue)
    queue.do(cancel_task, first["id"])
    second, is_duplicate = _create(queue)
    assert not is_duplicate
    assert second["id"] != first["id"]


def test_with_dedupe_forever_an_equal_task_is_never_created_again(queue):
    kind = queue.register(dedupe="forever")
    first, _ = _create(queue)
    task = queue.must_claim(kind)
    queue.do(complete_task, task["id"], worker_id="w1", lease_token=task["lease_token"], result="done")
    again, is_duplicate = _create(queue)
    assert is_duplicate
    assert (again["id"], again["status"], again["result"]) == (first["id"], TaskStatus.COMPLETED, "done")


def test_with_dedupe_never_equal_tasks_are_created(queue):
    queue.register(dedupe="never")
    assert _create(queue)[0]["id"] != _create(queue)[0]["id"]


def test_a_key_of_ones_own_replaces_the_comparison_of_parameters(queue):
    queue.register(dedupe="never")
    first, _ = _create(queue, params={"a": 1}, dedupe_key="k")
    again, is_duplicate = _create(queue, params={"a": 2}, dedupe_key="k")
    assert is_duplicate
    assert again["id"] == first["id"]
    assert not _create(queue, params={"a": 1}, dedupe_key="K")[1]


def test_equal_parameters_of_different_types_are_different_tasks(queue):
    queue.register("work")
    queue.register("other")
    assert _create(queue, type_name="work")[0]["id"] != _create(queue, type_name="other")[0]["id"]


def test_a_window_ends_what_counts_as_a_duplicate(queue, clock):
    queue.register(dedupe_window_seconds=60)
    first, _ = _create(queue)
    clock.advance(seconds=59)
    assert _create(queue)[1]
    clock.advance(seconds=1)
    second, is_duplicate = _create(queue)
    assert not is_duplicate
    assert second["id"] != first["id"]
    assert _create(queue)[0]["id"] == second["id"]


def test_a_task_for_a_time_that_has_passed_is_claimable_at_once(queue, clock):
    queue.register()
    assert queue.create(available_at=clock.instant - timedelta(days=1))["status"] == TaskStatus.PENDING
    assert queue.create(delay_seconds=0)["status"] == TaskStatus.PENDING
    assert queue.create(delay_seconds=0.5)["status"] == TaskStatus.SCHEDULED


def test_the_type_is_looked_for_before_its_state_and_its_schema(queue):
    with pytest.raises(TaskTypeNotFound):
        _create(queue, type_name="nothing")
    queue.register(param_schema={"type": "object", "required": ["a"]}, is_active=False)
    with pytest.raises(TaskTypeInactive):
        _create(queue)
    queue.register(param_schema={"type": "object", "required": ["a"]}, is_active=True)
    with pytest.raises(InvalidParameters, match="'a'|\"a\""):
        _create(queue)


def test_a_type_is_found_whatever_the_case_of_its_name(queue):
    kind = queue.register("Grüße")
    assert queue.create("GRÜSSE")["type_id"] == kind


def test_no_task_gets_in_under_a_schema_that_another_process_has_replaced(queue, open_database):
    queue.register(param_schema={"type": "object"})
    queue.create(params={"a": "text"})  # Now the type is cached here.
    elsewhere = Queue(open_database())
    elsewhere.register(param_schema={"type": "object", "properties": {"a": {"type": "integer"}}})
    with pytest.raises(InvalidParameters):
        queue.create(params={"a": "another text"})
    assert queue.create(params={"a": 1})["status"] == TaskStatus.PENDING


def test_no_task_gets_into_a_type_that_another_process_has_switched_off(queue, open_database):
    queue.register()
    queue.create()
    Queue(open_database()).register(is_active=False)
    with pytest.raises(TaskTypeInactive):
        queue.create()
