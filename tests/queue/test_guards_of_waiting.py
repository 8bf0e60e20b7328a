"""The guards of what is done with waiting tasks: claimed, admitted, released, replaced, requeued, removed."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.create import create_task
from app.queue.due import do_what_is_due
from app.queue.filters import TaskFilter
from app.queue.follow import follow_up
from app.queue.new_task import NewTask
from app.queue.operate import run_operation
from app.queue.operations import CANCEL, NewOperation, cancel_operation, start_operation
from app.queue.remove import remove_tasks
from app.queue.requeue import requeue_task
from app.queue.tasks import read_task
from app.queue.waiting import take_slot
from tests.support.factories import Queue
from tests.support.faults import BEGIN, interrupt, lose_the_answer

# How an update begins that may not wait for locks.
_UPDATE = ("UPDATE tasks", "SET STATEMENT")


class _Died(Exception):
    """The process is gone."""


def _die():
    raise _Died


@pytest.fixture
def other(open_database):
    """The queue as another process has it."""
    return Queue(open_database())


def _status(queue, task):
    return TaskStatus(queue.do(read_task, task["id"])["status"])


def _complete(queue, task):
    terms = {"lease_token": task["lease_token"], "result": None}
    queue.do(complete_task, task["id"], worker_id=task["claimed_by"], **terms)


def test_what_was_cancelled_since_it_was_looked_at_is_not_claimed(queue, other):
    kind = queue.register()
    task = queue.create()
    met = interrupt(queue.database, _UPDATE, lambda: other.do(cancel_task, task["id"]))
    assert queue.claim(kind) is None
    assert met
    assert _status(queue, task) == TaskStatus.CANCELLED


def test_a_claim_that_comes_second_passes_by_what_is_overdue(queue, other, clock):
    kind = queue.register(max_concurrency=5)
    queue.create(priority=2)
    queue.create(priority=1, deadline_at=clock.instant + timedelta(seconds=10))
    last = queue.create()
    clock.advance(seconds=10)
    met = interrupt(queue.database, BEGIN, lambda: other.must_claim(kind))
    assert queue.must_claim(kind)["id"] == last["id"]
    assert met


def test_what_was_cancelled_since_it_was_looked_at_is_in_no_batch(queue, other):
    kind = queue.register()
    task, second = queue.create(), queue.create()
    met = interrupt(queue.database, _UPDATE, lambda: other.do(cancel_task, task["id"]))
    assert [claimed["id"] for claimed in queue.claim_batch(kind)] == [second["id"]]
    assert met
    assert _status(queue, task) == TaskStatus.CANCELLED


def test_what_was_cancelled_in_line_is_not_admitted_though_nobody_has_seen_to_that(queue):
    kind = queue.register(key_max_concurrency=1)
    queue.create(concurrency_key="k")
    second, third = queue.create(concurrency_key="k"), queue.create(concurrency_key="k")
    met = interrupt(queue.database, BEGIN, _die)
    with pytest.raises(_Died):
        queue.do(cancel_task, second["id"])
    assert met
    _complete(queue, queue.must_claim(kind))
    assert _status(queue, second) == TaskStatus.CANCELLED
    while queue.do(do_what_is_due):
        pass
    assert queue.must_claim(kind)["id"] == third["id"]


def test_nobody_is_released_by_what_has_not_ended(queue):
    kind = queue.register()
    first = queue.create()
    second = queue.create(depends_on=[first["id"]])
    queue.must_claim(kind)
    assert queue.do(follow_up, [first["id"]]) == 0
    assert _status(queue, second) == TaskStatus.BLOCKED


def test_who_waits_no_longer_is_not_released(queue):
    kind = queue.register()
    first = queue.create()
    second = queue.create(depends_on=[first["id"]])
    task = queue.must_claim(kind)
    queue.do(cancel_task, second["id"])
    _complete(queue, task)
    assert _status(queue, second) == TaskStatus.CANCELLED


def test_those_that_wait_are_released_though_the_process_died_after_the_end(queue):
    kind = queue.register(retention_seconds=0)
    first = queue.create()
    second = queue.create(depends_on=[first["id"]])
    task = queue.must_claim(kind)
    met = interrupt(queue.database, BEGIN, _die)
    with pytest.raises(_Died):
        _complete(queue, task)
    assert met
    assert _status(queue, second) == TaskStatus.BLOCKED
    # It hangs on the end of the first, which is not removed before.
    assert queue.do(remove_tasks, [first["id"]]) == 0
    assert queue.do(do_what_is_due) > 0
    assert queue.must_claim(kind)["id"] == second["id"]


def test_those_that_wait_are_told_at_once_and_not_when_the_task_is_removed(queue):
    kind = queue.register(retention_seconds=1000)
    first = queue.create()
    second = queue.create(depends_on=[first["id"]])
    task = queue.must_claim(kind)
    interrupt(queue.database, BEGIN, _die)
    with pytest.raises(_Died):
        _complete(queue, task)
    queue.do(do_what_is_due)
    assert queue.must_claim(kind)["id"] == second["id"]


def test_what_was_claimed_since_it_was_looked_at_is_not_replaced(queue, other):
    kind = queue.register(on_duplicate="replace", dedupe_on=["n"])
    task = queue.create(params={"n": 1, "text": "first"})
    met = interrupt(queue.database, BEGIN, lambda: other.must_claim(kind))
    again = queue.create(params={"n": 1, "text": "second"})
    assert met
    assert again["id"] == task["id"]
    stored = queue.do(read_task, task["id"])
    assert (stored["status"], stored["params"]["text"]) == (TaskStatus.CLAIMED, "first")


def test_a_create_that_is_run_again_does_not_take_an_earlier_task_for_its_own(queue, clock, database_kind):
    queue.register()
    task = queue.create(params={"n": 1})
    clock.advance(seconds=1)
    passing = Exception("database is locked") if database_kind == "sqlite" else Exception(1213, "Deadlock found")

    def stumble():
        raise OperationalError("", {}, passing)

    met = interrupt(queue.database, "INSERT", stumble)
    created = queue.do(create_task, NewTask(type_name="work", params={"n": 1}))
    assert met
    assert (created.task["id"], created.is_duplicate) == (task["id"], True)


def test_a_requeue_whose_answer_was_lost_succeeds(queue, database_kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")
    queue.register()
    task = queue.create()
    queue.do(cancel_task, task["id"])
    lost = lose_the_answer(queue.database, "COMMIT")
    assert queue.do(requeue_task, task["id"])["status"] == TaskStatus.PENDING
    assert lost


def test_a_cancelled_operation_does_no_further_slice(queue):
    queue.register()
    task = queue.create()
    operation = queue.do(start_operation, NewOperation(kind=CANCEL, filter=TaskFilter()))
    queue.do(cancel_operation, operation["id"])
    assert queue.do(run_operation, operation["id"]) == 0
    assert _status(queue, task) == TaskStatus.PENDING


def test_a_slot_that_was_taken_since_it_was_looked_at_is_not_taken(queue, other, clock):
    queue.do(take_slot, slots=1, seconds=0)
    clock.advance(seconds=5)
    met = interrupt(queue.database, "UPDATE duties", lambda: other.do(take_slot, slots=1, seconds=10))
    assert queue.do(take_slot, slots=1, seconds=10) is None
    assert met
