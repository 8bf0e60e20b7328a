"""The hold of housekeeping: one holder at a time, replaced when it dies; errors and durations are kept."""

import threading
import time
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import event, text

from app.errors import DatabaseUnavailable, TaskTypeNotFound
from app.housekeeping import Housekeeper
from app.housekeeping.hold import Hold
from app.housekeeping.jobs import all_jobs
from app.housekeeping.rounds import Rounds
from app.queue.duties import HOUSEKEEPING, extend_hold, read_duty, release_duty, take_duty
from app.storage.models import audit_entries, tasks
from tests.support.jobs import make_job
from tests.support.plans import is_mysql


def duty_of(queue):
    return queue.do(read_duty, HOUSEKEEPING)


def test_one_takes_the_duty_and_the_others_do_not_until_it_is_released(queue, clock):
    assert queue.do(take_duty, HOUSEKEEPING, "a")
    assert not queue.do(take_duty, HOUSEKEEPING, "b")
    assert queue.do(take_duty, HOUSEKEEPING, "a"), "its own answer may have been lost"
    assert not queue.do(release_duty, HOUSEKEEPING, "b", seconds=1, changed=1)
    assert queue.do(release_duty, HOUSEKEEPING, "a", seconds=0.5, changed=7)
    assert queue.do(take_duty, HOUSEKEEPING, "b")
    duty = duty_of(queue)
    assert (duty["last_seconds"], duty["last_changed"], duty["last_ended_at"]) == (0.5, 7, clock.instant)


def test_a_dead_holder_is_replaced_after_its_hold_and_not_before(queue, settings, open_database, clock):
    done = []
    housekeeper = Housekeeper(open_database(), settings, [make_job("a", lambda tx: done.append(1) or 0)])
    assert queue.do(take_duty, HOUSEKEEPING, "dead")
    clock.advance(seconds=9.999)
    outcome = housekeeper.run(budget_seconds=1)
    assert (outcome.is_skipped, outcome.has_more, done) == (True, True, [])
    assert housekeeper.run_if_time() == 0
    clock.advance(seconds=0.001)
    assert not housekeeper.run(budget_seconds=1).is_skipped
    assert done == [1]
    assert not queue.do(extend_hold, HOUSEKEEPING, "dead")
    assert duty_of(queue)["holder"] is None


def test_a_long_round_extends_its_hold(database, queue, settings, clock, monkeypatch):
    ends = []

    def look(tx):
        clock.advance(seconds=4)
        ends.append(read_duty(tx, HOUSEKEEPING)["held_until"])
        return 1 if len(ends) < 5 else 0

    monkeypatch.setattr("app.housekeeping.hold._EXTENDED_AFTER_SECONDS", 0)
    assert Housekeeper(database, settings, [make_job("long", look)]).run(budget_seconds=9999).total == 4
    assert {later - earlier for earlier, later in pairwise(ends)} == {timedelta(seconds=4)}


def test_a_round_that_has_lost_its_hold_stops(database, queue, settings, monkeypatch, open_database, clock):
    monkeypatch.setattr("app.housekeeping.hold._EXTENDED_AFTER_SECONDS", 0)
    done = []

    def stalled(tx):
        done.append(1)
        clock.advance(seconds=11)
        assert open_database().write(lambda other: take_duty(other, HOUSEKEEPING, "another"), atomic=False)
        return 1

    outcome = Housekeeper(database, settings, [make_job("stalled", stalled)]).run(budget_seconds=9999)
    assert (done, outcome.has_more) == ([1], True)
    assert duty_of(queue)["holder"] == "another"


@pytest.mark.parametrize("processes", [2, 6])
def test_processes_that_run_all_the_time_never_overlap(open_database, settings, queue, processes):
    inside = threading.Lock()
    overlaps, done, errors = [], [], []
    end = time.monotonic() + 1.5

    def slice_(tx):
        if not inside.acquire(blocking=False):
            overlaps.append(1)
            return 0
        try:
            tx.one(text("SELECT COUNT(*) FROM tasks"))
            done.append(threading.get_ident())
            return len(done) % 3
        finally:
            inside.release()

    def run():
        housekeeper = Housekeeper(open_database(clock=None), settings, [make_job("slice", slice_)])
        try:
            while time.monotonic() < end:
                housekeeper.run(budget_seconds=0.02)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert (errors, overlaps) == ([], [])
    assert len(done) > processes
    rows = queue.database.read(lambda tx: tx.all(text("SELECT name FROM duties WHERE name = 'housekeeping'")))
    assert len(rows) == 1


def test_the_row_is_made_once_when_many_begin_for_the_first_time(open_database, queue):
    barrier = threading.Barrier(6)
    taken, errors = [], []

    def run(number):
        database = open_database()
        barrier.wait(10)
        try:
            if database.write(lambda tx: take_duty(tx, HOUSEKEEPING, str(number)), atomic=False):
                taken.append(str(number))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert taken == [duty_of(queue)["holder"]]


def test_the_error_of_one_job_is_remembered_and_stops_no_other(database, queue, settings, clock, caplog):
    done = []

    def broken(tx):
        tx.execute(text("SELECT secret FROM tasks"))
        return 1

    def refused(tx):
        raise TaskTypeNotFound

    jobs = [make_job("broken", broken), make_job("fine", lambda tx: done.append(1) or 0)]
    assert Housekeeper(database, settings, jobs).run(budget_seconds=5).changed == {"broken": 0, "fine": 0}
    assert done == [1]
    assert "secret" in caplog.text
    duty = duty_of(queue)
    assert duty["holder"] is None
    assert duty["last_error_at"] == clock.instant
    Housekeeper(database, settings, [make_job("refused", refused)]).run(budget_seconds=5)
    assert duty_of(queue)["last_error"] == "refused: TaskTypeNotFound: Task type not found"


def test_an_unknown_error_tells_an_admin_no_sql(database, queue, settings):
    def broken(tx):
        raise RuntimeError("SELECT secret FROM /srv/app.py")

    Housekeeper(database, settings, [make_job("broken", broken)]).run(budget_seconds=5)
    assert duty_of(queue)["last_error"] == "broken: RuntimeError: the log of the server has all of it"


def test_a_database_that_is_away_ends_the_round_and_the_hold_ends_by_itself(database, settings, queue, clock):
    done = []

    def away(tx):
        raise DatabaseUnavailable

    def count(tx):
        done.append(1)
        return 0

    housekeeper = Housekeeper(database, settings, [make_job("away", away), make_job("away too", away)])
    with pytest.raises(DatabaseUnavailable):
        housekeeper.run(budget_seconds=5)
    assert housekeeper.run(budget_seconds=5).is_skipped
    clock.advance(seconds=10)
    assert not Housekeeper(database, settings, [make_job("count", count)]).run(budget_seconds=5).is_skipped
    assert done == [1]
    # Neither a claim nor the end of a request is disturbed by it.
    assert housekeeper.run_if_time() == 0
    clock.advance(seconds=10)
    housekeeper._next_round = 0.0
    housekeeper.run_after_request()
    assert housekeeper._next_round > time.monotonic() + 5


def test_the_budget_is_kept_by_a_slow_job(database, settings):
    def slow(tx):
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            pass
        return 1

    outcome = Housekeeper(database, settings, [make_job("slow", slow)]).run(budget_seconds=0.5)
    assert 1 <= outcome.total <= 10, "a slice was begun after the end"
    assert 0.5 <= outcome.seconds < 3
    assert outcome.has_more


def test_a_hold_whose_answer_is_lost_is_taken_once(database, queue, database_kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")
    import pymysql
    from sqlalchemy.exc import DBAPIError

    lost = []

    def lose(_connection, _cursor, statement, *_rest):
        if "duties" in statement and not statement.startswith("SELECT") and not lost:
            lost.append(statement)
            raise DBAPIError(statement, {}, pymysql.err.OperationalError(2013, "lost"), connection_invalidated=True)

    queue.do(take_duty, HOUSEKEEPING, "first")
    queue.do(release_duty, HOUSEKEEPING, "first", seconds=0, changed=0)
    event.listen(database.engine, "after_cursor_execute", lose)
    hold = Hold(database)
    assert hold.take()
    assert lost
    hold.release(seconds=0, changed=3)
    assert duty_of(queue)["last_changed"] == 3


def test_the_look_is_answered_by_indexes_however_many_rows_there_are(queue, database, settings, clock):
    queue.register()
    row = queue.create(delay_seconds=999)

    def fill(tx):
        copied = tx.one(tasks.select().where(tasks.c.id == row["id"]))
        copied.pop("id")
        for number in range(2000):
            copied["dedupe_hash"] = f"{number:064x}"
            copied["due_at"] = clock.instant + timedelta(seconds=1000 + number)
            tx.execute(tasks.insert(), copied)
            entry = {"created_at": tx.now, "api_key_id": 0, "actor": "a", "action": "b", "subject": "c", "details": {}}
            tx.execute(audit_entries.insert(), entry)

    database.write(fill)
    look = Rounds(database, all_jobs(settings))._look
    if is_mysql(database):

        def reads(tx):
            rows = tx.all(text("SHOW SESSION STATUS LIKE 'Handler_read%'"))
            return sum(int(row["Value"]) for row in rows if row["Variable_name"] != "Handler_read_rnd_next")

        def work(tx):
            tx.execute(text("FLUSH STATUS"))
            tx.one(look)
            return reads(tx)

        assert database.read(work) < 30
        return
    with database.engine.connect() as connection:
        sql = look.compile(database.engine, compile_kwargs={"literal_binds": True})
        steps = [row["detail"] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").mappings()]
    looks = [step for step in steps if step.startswith(("SCAN", "SEARCH")) and "CONSTANT ROW" not in step]
    assert looks
    assert all(step.startswith("SEARCH") for step in looks), steps
