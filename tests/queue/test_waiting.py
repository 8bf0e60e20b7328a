"""Slots for waiting: never more than allowed, over all processes, and free again when their time is over."""

from threading import Barrier, Thread

import pytest

from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.duties import extend_hold, take_duty
from app.queue.waiting import give_slot_back, may_still_end, take_slot
from tests.support.factories import Queue
from tests.support.faults import interrupt


def _take(queue, slots=2, seconds=10):
    return queue.do(take_slot, slots=slots, seconds=seconds)


def test_there_are_as_many_slots_as_allowed_over_all_processes(queue, open_database):
    other = Queue(open_database())
    first, second = _take(queue), _take(other)
    assert [first[0], second[0]] == ["wait:1", "wait:2"]
    assert _take(queue) is None
    assert _take(other) is None
    queue.do(give_slot_back, *first)
    assert _take(other)[0] == "wait:1"
    assert _take(queue) is None


def test_the_slot_of_a_waiter_that_died_comes_free(queue, clock):
    dead = _take(queue, slots=1, seconds=10)
    clock.advance(seconds=14.9)
    assert _take(queue, slots=1) is None
    clock.advance(seconds=0.1)
    heir = _take(queue, slots=1)
    assert heir[0] == dead[0]
    # Were it not dead but very late, it would not take the slot away from its heir.
    queue.do(give_slot_back, *dead)
    assert _take(queue, slots=1) is None


def test_fewer_slots_than_before_are_obeyed(queue):
    assert [_take(queue, slots=3)[0] for _ in range(3)] == ["wait:1", "wait:2", "wait:3"]
    assert _take(queue, slots=1) is None


@pytest.mark.parametrize("are_there", [False, True])
def test_many_who_want_a_slot_at_once_get_no_more_than_there_are(queue, open_database, are_there):
    if are_there:
        for taken in [_take(queue, slots=3) for _ in range(3)]:
            queue.do(give_slot_back, *taken)
    takers = [Queue(open_database()) for _ in range(8)]
    barrier = Barrier(len(takers))
    got, failures = [], []

    def take(taker):
        try:
            barrier.wait()
            got.append(_take(taker, slots=3))
        except Exception as error:
            failures.append(error)

    threads = [Thread(target=take, args=(taker,)) for taker in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    names = [taken[0] for taken in got if taken is not None]
    assert len(set(names)) == len(names) <= 3
    # Whoever lost a race for one slot may find no other free; but somebody has won each race.
    assert names


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_who_finds_a_slot_taken_in_the_same_moment_takes_the_next(queue, open_database):
    other = Queue(open_database())
    met = interrupt(queue.database, "INSERT INTO duties", lambda: _take(other))
    assert _take(queue)[0] == "wait:2"
    assert met


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_of_two_that_do_a_duty_for_the_first_time_one_does_it(queue, open_database):
    other = Queue(open_database())
    met = interrupt(queue.database, "INSERT INTO duties", lambda: other.do(take_duty, "new", "other"))
    assert not queue.do(take_duty, "new", "ours")
    assert met


def test_a_hold_that_is_extended_lasts_ten_seconds_more(queue, clock):
    assert queue.do(take_duty, "new", "ours")
    clock.advance(seconds=9)
    assert queue.do(extend_hold, "new", "ours")
    clock.advance(seconds=9.9)
    assert not queue.do(take_duty, "new", "other")
    clock.advance(seconds=0.1)
    assert queue.do(take_duty, "new", "other")


def test_a_request_whose_answer_was_lost_has_its_slot(queue, database):
    nonces = []

    def work(tx):
        tx.nonce = nonces[0] if nonces else tx.nonce
        nonces.append(tx.nonce)
        return take_slot(tx, slots=2, seconds=10)

    assert database.write(work, atomic=False) == database.write(work, atomic=False)
    assert _take(queue)[0] == "wait:2"


def test_what_is_finished_or_gone_is_not_waited_for(queue):
    queue.register()
    task = queue.create()
    assert queue.do(may_still_end, task["id"])
    assert queue.do(cancel_task, task["id"])["status"] == TaskStatus.CANCELLED
    assert not queue.do(may_still_end, task["id"])
    assert not queue.do(may_still_end, 987654321)
