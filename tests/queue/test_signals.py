"""Signals: the whole queue paused and draining, and what workers and producers hear of it."""

import threading

import pytest
from sqlalchemy import event, select

from app.errors import CommandedQuiet, CommandedTerminate, NoAvailableTasks, QueueDraining
from app.queue.claim import claim_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.heartbeat import beat, report_progress
from app.queue.sightings import note_worker
from app.queue.signals import Signals, change_queue, find_signals, read_signals
from app.queue.take import ClaimOrder
from app.queue.tasks import read_task
from app.queue.workers import command_worker
from app.storage.models import counters
from tests.support.factories import Queue
from tests.support.faults import lose_the_answer
from tests.support.statements import counted_statements


def _meet(queue, *worker_ids):
    for worker_id in worker_ids:
        queue.do(note_worker, worker_id, version=None, asked={})


def _change(queue, **changes):
    signals = queue.database.write(lambda tx: change_queue(tx, changes))
    queue.database.cache.clear()
    return signals


def _command(queue, worker_id, command):
    queue.database.write(lambda tx: command_worker(tx, worker_id, command))
    queue.database.cache.clear()


def _beat(queue, task, worker_id="w1"):
    return queue.do(beat, task["id"], worker_id=worker_id, lease_token=task["lease_token"], lease_seconds=None)


def test_without_anything_set_nothing_is_signalled(queue):
    assert queue.do(read_signals) == Signals(False, False, {})


def test_a_switch_is_turned_on_and_off_and_the_other_stays(queue):
    assert _change(queue, is_paused=True) == Signals(True, False, {})
    assert _change(queue, is_draining=True) == Signals(True, True, {})
    assert _change(queue) == Signals(True, True, {})
    assert _change(queue, is_paused=False) == Signals(False, True, {})
    assert _change(queue, is_paused=True, is_draining=False) == queue.do(find_signals) == Signals(True, False, {})


def test_turning_a_switch_to_where_it_is_writes_nothing(queue):
    for position in (False, True):
        _change(queue, is_paused=position)
        with counted_statements(queue.database) as seen:
            _change(queue, is_paused=position)
        assert [statement.split()[0] for statement in seen[1:]] == ["SELECT", "COMMIT"]


def test_a_paused_queue_gives_no_tasks_and_takes_new_ones(queue):
    kind = queue.register()
    task = queue.create()
    _change(queue, is_paused=True)
    assert queue.claim(kind) is None
    later = queue.create()
    assert queue.claim(kind, sort_by="id") is None
    _change(queue, is_paused=False)
    assert [queue.must_claim(kind)["id"] for _ in range(2)] == [task["id"], later["id"]]


def test_what_is_claimed_when_the_queue_is_paused_can_be_finished(queue, clock):
    kind = queue.register(retry_delay_seconds=0)
    queue.create()
    task = queue.must_claim(kind)
    _change(queue, is_paused=True)
    assert _beat(queue, task).type_paused
    queue.do(complete_task, task["id"], worker_id="w1", lease_token=task["lease_token"], result=1)
    queue.create()
    _change(queue, is_paused=False)
    lost = queue.must_claim(kind)
    _change(queue, is_paused=True)
    clock.advance(seconds=301)
    assert queue.do(do_what_is_due) >= 1  # Leases end in a paused queue too.
    assert queue.claim(kind) is None
    _change(queue, is_paused=False)
    assert queue.must_claim(kind)["id"] == lost["id"]


def test_a_draining_queue_gives_its_tasks_and_takes_no_new_ones(queue):
    kind = queue.register()
    task = queue.create(params={"n": 0})
    _change(queue, is_draining=True)
    for params in ({"n": 0}, {"n": 1}):
        with pytest.raises(QueueDraining) as refused:
            queue.create(params=params)
        assert refused.value.retry_after_seconds == 60
    assert queue.must_claim(kind)["id"] == task["id"]
    _change(queue, is_draining=False)
    queue.create()


@pytest.mark.parametrize("command", ["quiet", "terminate"])
def test_a_commanded_worker_gets_no_tasks_and_the_others_do(queue, command):
    kind = queue.register()
    queue.create()
    _meet(queue, "w1", "W1")
    _command(queue, "w1", command)
    assert queue.claim(kind, worker_id="w1") is None
    assert queue.claim(kind, worker_id="w1", sort_by="id") is None
    task = queue.must_claim(kind, worker_id="W1")  # Names of workers are told apart by case.
    assert _beat(queue, task, "W1").command is None
    queue.create()
    _command(queue, "w1", None)
    assert queue.must_claim(kind, worker_id="w1")


def test_heartbeat_and_progress_tell_of_commands_and_pauses(queue):
    kind = queue.register()
    queue.create()
    _meet(queue, "w1")
    task = queue.must_claim(kind)
    holder = {"worker_id": "w1", "lease_token": task["lease_token"]}

    def told():
        heard = _beat(queue, task)
        assert queue.do(report_progress, task["id"], **holder, progress=1, message=None) == heard
        return heard.type_paused, heard.command

    assert told() == (False, None)
    _command(queue, "w1", "quiet")
    assert told() == (False, "quiet")
    queue.register(is_paused=True)
    _command(queue, "w1", "terminate")
    assert told() == (True, "terminate")
    queue.register(is_paused=False)
    _change(queue, is_paused=True)
    _command(queue, "w1", None)
    assert told() == (True, None)


def test_an_empty_claim_hears_the_reason_that_is_the_workers_own_first():
    signals = Signals(is_paused=True, is_draining=False, commands={"q": "quiet", "t": "terminate"})
    assert type(signals.empty_claim("q", 5)) is CommandedQuiet
    assert type(signals.empty_claim("t", 5)) is CommandedTerminate
    other = signals.empty_claim("w", 5)
    assert type(other) is NoAvailableTasks
    assert "paused" in other.detail
    assert other.retry_after_seconds == 5
    assert "paused" not in Signals(False, False, {}).empty_claim("w", 5).detail


def test_a_worker_may_be_called_as_a_switch_is(queue):
    _meet(queue, "queue_is_paused", "queue_is_draining")
    _command(queue, "queue_is_paused", "quiet")
    assert queue.do(read_signals) == Signals(False, False, {"queue_is_paused": "quiet"})


def test_other_processes_follow_within_the_seconds_of_the_cache(queue, open_database, settings):
    other = Queue(open_database())
    kind = queue.register()
    queue.create()
    moment = [0.0]
    other.database.cache._clock = lambda: moment[0]
    assert other.do(find_signals) == Signals(False, False, {})
    _change(queue, is_paused=True)
    assert queue.claim(kind) is None  # This process at once.
    moment[0] = settings.cache_seconds - 0.1
    assert not other.do(find_signals).is_paused
    moment[0] = settings.cache_seconds
    assert other.do(find_signals).is_paused
    assert other.claim(kind) is None


def test_the_signals_are_read_by_one_statement_and_then_by_none(queue):
    queue.database.cache.clear()
    for expected in (1, 0, 0):
        with counted_statements(queue.database) as seen:
            queue.do(find_signals)
        assert len(seen) == expected, seen


def test_a_claim_whose_answer_was_lost_is_found_again_though_the_queue_was_paused_meanwhile(queue):
    kind = queue.register()
    queue.create()
    first = []

    def claim_and_lose_the_answer(tx):
        task = claim_task(tx, [kind], ClaimOrder(worker_id="w1"))
        if not first:
            first.append(task)
            tx.run = 2
            tx.execute(counters.insert(), {"name": "queue_is_paused", "value": 1})
            tx.cache.clear()
            return claim_and_lose_the_answer(tx)
        return task

    again = queue.database.write(claim_and_lose_the_answer, atomic=False)
    assert (again["id"], again["lease_token"]) == (first[0]["id"], first[0]["lease_token"])


@pytest.mark.parametrize("extras", [{}, {"tags": ["x"]}])
def test_a_create_whose_answer_was_lost_is_told_though_the_queue_drains_meanwhile(queue, open_database, extras):
    if queue.database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")
    queue.register()
    lost = lose_the_answer(queue.database, "COMMIT" if extras else "INSERT INTO tasks")
    drained = []

    def drain(_context):
        if not drained:
            drained.append(_change(Queue(open_database()), is_draining=True))
            queue.database.cache.clear()

    event.listen(queue.database.engine, "handle_error", drain)
    task = queue.create(**extras)
    assert lost
    assert drained
    assert queue.do(read_task, task["id"])["id"] == task["id"]
    with pytest.raises(QueueDraining):
        queue.create()


def test_many_who_turn_a_switch_for_the_first_time_at_once_all_succeed(queue, open_database):
    errors = []

    def turn(other):
        try:
            other.write(lambda tx: change_queue(tx, {"is_paused": True, "is_draining": True}))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=turn, args=(open_database(),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert queue.do(read_signals) == Signals(True, True, {})
    assert len(queue.do(lambda tx: tx.all(select(counters).where(counters.c.name.like("queue%"))))) == 2
