"""Workers: written down seldom, listed cheaply, commanded, forgotten."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, text

from app.errors import WorkerNotFound
from app.housekeeping import Housekeeper
from app.queue import signals
from app.queue.complete import complete_task
from app.queue.sightings import SLICE, note_worker, remove_unseen_workers
from app.queue.workers import MAX_SHOWN_TASKS, command_all_workers, command_worker, list_workers, read_worker
from app.storage.models import audit_entries, tasks, worker_types, workers
from tests.support.factories import Queue
from tests.support.statements import counted_statements

WEEK = 7 * 86400


def _note(queue, worker_id="w1", version=None, types=(), at=None):
    """Note the worker, with the types that it asked for just now."""

    def work(tx):
        return note_worker(tx, worker_id, version=version, asked=dict.fromkeys(types, at or tx.now))

    return queue.database.write(work, atomic=False)


def _stored(queue, table=workers):
    return queue.do(lambda tx: tx.all(select(table).order_by(*table.primary_key.columns)))


def _list(queue, limit=50, **filters):
    return queue.do(list_workers, limit=limit, alive_seconds=75, **filters)


def _ids(queue, **filters):
    return [row["worker_id"] for row in _list(queue, **filters)[0]]


def _kinds(statements):
    return [statement.split()[0] for statement in statements]


def _add_workers(queue, number, **values):
    def work(tx):
        seen = {"first_seen_at": tx.now, "last_seen_at": tx.now, "command": None, **values}
        tx.execute(insert(workers), [{"worker_id": f"w{n:05}", **seen} for n in range(number)])

    queue.database.write(work)


def test_a_sighting_is_written_at_most_every_30_seconds(queue, clock):
    assert _note(queue)
    began = clock.instant
    written = 0
    for _ in range(300):
        clock.advance(seconds=0.5)
        written += _note(queue)
    assert written == 5
    (row,) = _stored(queue)
    assert (row["first_seen_at"], row["last_seen_at"]) == (began, began + timedelta(seconds=150))


def test_two_processes_together_write_no_more_often(queue, open_database, clock):
    other = Queue(open_database())
    written = [_note(queue), _note(other)]
    for _ in range(60):
        clock.advance(seconds=1)
        written += [_note(other), _note(queue)]
    assert sum(written) == 1 + 60 // 30


def test_a_sighting_that_is_not_due_writes_nothing(queue):
    kind = queue.register()
    _note(queue, types=[kind])
    with counted_statements(queue.database) as seen:
        assert not _note(queue, types=[kind])
    assert _kinds(seen) == ["SELECT"]


def test_a_sighting_that_is_due_is_three_statements_for_any_number_of_types(queue, clock):
    kinds = [queue.register(f"type {number}") for number in range(100)]
    with counted_statements(queue.database) as seen:
        assert _note(queue, types=kinds)
    assert _kinds(seen) == ["SELECT", "INSERT", "REPLACE"]
    clock.advance(seconds=30)
    with counted_statements(queue.database) as seen:
        assert _note(queue, types=[*kinds, queue.register("one more")])
    assert _kinds(seen)[-3:] == ["SELECT", "UPDATE", "REPLACE"]
    asked = _stored(queue, worker_types)
    assert len(asked) == 101
    assert {row["last_asked_at"] for row in asked} == {clock.instant}


def test_a_type_keeps_the_instant_at_which_it_was_asked_for(queue, clock):
    kind = queue.register()
    asked_at = clock.instant - timedelta(seconds=9)
    _note(queue, types=[kind], at=asked_at)
    assert [row["last_asked_at"] for row in _stored(queue, worker_types)] == [asked_at]


def test_a_heartbeat_keeps_the_version_that_the_claim_told(queue, clock):
    _note(queue)
    versions = []
    for version in (None, "1.0", None, "2.0"):
        clock.advance(seconds=30)
        _note(queue, version=version)
        versions.append(_stored(queue)[0]["version"])
    assert versions == [None, "1.0", "1.0", "2.0"]


def test_many_who_meet_a_worker_at_once_write_it_down_once(queue, open_database):
    kind = queue.register()
    barrier = threading.Barrier(6)
    written, errors = [], []

    def meet():
        mine = Queue(open_database())
        try:
            barrier.wait()
            for number in range(20):
                written.append((number, _note(mine, f"w{number}", types=[kind])))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=meet) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert [sum(was for of, was in written if of == number) for number in range(20)] == [1] * 20
    assert len(_stored(queue)) == len(_stored(queue, worker_types)) == 20


def test_a_sighting_whose_answer_was_lost_is_written_once(queue):
    kind = queue.register()

    def twice(tx):
        first = note_worker(tx, "w1", version="1", asked={kind: tx.now})
        tx.run = 2
        return first, note_worker(tx, "w1", version="1", asked={kind: tx.now})

    assert queue.database.write(twice, atomic=False) == (True, False)


def test_a_worker_is_shown_with_what_it_does(queue, clock):
    first, second = queue.register("b", retry_delay_seconds=0), queue.register("a")
    queue.register("never asked for")
    for name in ("a", "b", "b"):
        queue.create(name)
    _note(queue, "w1", version="1.0", types=[first, second])
    held = [queue.must_claim(first)["id"], queue.must_claim(second)["id"]]
    done = queue.must_claim(first)
    queue.do(complete_task, done["id"], worker_id="w1", lease_token=done["lease_token"], result=None)
    row = queue.do(read_worker, "w1", alive_seconds=75)
    shown = {name: row[name] for name in ("worker_id", "version", "types", "running_tasks", "running_task_ids")}
    assert shown == {
        "worker_id": "w1",
        "version": "1.0",
        "types": ["b", "a"],
        "running_tasks": 2,
        "running_task_ids": sorted(held),
    }
    assert _list(queue) == ([row], None)
    with pytest.raises(WorkerNotFound):
        queue.do(read_worker, "W1", alive_seconds=75)


def test_a_worker_is_alive_while_it_is_heard_of_or_holds_a_lease(queue, clock):
    kind = queue.register(lease_seconds=600)
    queue.create()
    _note(queue, "idle")
    _note(queue, "busy")
    queue.must_claim(kind, worker_id="busy")

    def alive():
        return {row["worker_id"] for row in _list(queue)[0] if row["is_alive"]}

    clock.advance(seconds=74)
    assert alive() == {"idle", "busy"}
    clock.advance(seconds=1)
    assert alive() == {"busy"}
    clock.advance(seconds=525)
    assert alive() == set()


# MySQL cuts a long list of ids off in the middle of one.
@pytest.mark.parametrize("number", [MAX_SHOWN_TASKS, 600])
def test_of_many_running_tasks_all_are_counted_and_some_are_named(queue, number):
    kind = queue.register()
    ids = sorted(queue.create()["id"] for _ in range(number))
    queue.database.write(
        lambda tx: tx.execute(tasks.update().where(tasks.c.type_id == kind).values(status=4, claimed_by="w1"))
    )
    _note(queue)
    row = queue.do(read_worker, "w1", alive_seconds=75)
    assert row["running_tasks"] == number
    shown = row["running_task_ids"]
    assert len(shown) == MAX_SHOWN_TASKS
    assert shown == sorted(shown)
    assert set(shown) <= set(ids)


def test_workers_are_filtered_by_type_and_by_when_they_were_heard_of(queue, clock):
    one, two = queue.register("one"), queue.register("two")
    _note(queue, "old", types=[one])
    clock.advance(seconds=100)
    _note(queue, "new", types=[one, two])
    _note(queue, "beats only")
    assert _ids(queue) == ["beats only", "new", "old"]
    assert _ids(queue, type_id=one) == ["new", "old"]
    assert _ids(queue, type_id=two) == ["new"]
    assert _ids(queue, type_id=one, after="new") == ["old"]
    assert _ids(queue, type_id=one, seen_within_seconds=99) == ["new"]
    assert _ids(queue, seen_within_seconds=100) == ["beats only", "new", "old"]
    assert _ids(queue, seen_within_seconds=99) == ["beats only", "new"]
    assert _ids(queue, type_id=987654321) == []


def test_a_type_that_was_not_asked_for_in_a_week_is_no_longer_shown(queue, clock):
    kind = queue.register()
    _note(queue, types=[kind])
    clock.advance(seconds=WEEK)
    _note(queue)
    assert queue.do(read_worker, "w1", alive_seconds=75)["types"] == []
    assert _ids(queue, type_id=kind) == []


def test_ten_thousand_workers_are_listed_in_pages_each_of_a_few_statements(queue):
    kind = queue.register()
    _add_workers(queue, 10_000)
    queue.database.write(
        lambda tx: tx.execute(
            insert(worker_types),
            [{"type_id": kind, "worker_id": f"w{n:05}", "last_asked_at": tx.now} for n in range(10_000)],
        )
    )
    for filters in ({}, {"type_id": kind}, {"type_id": kind, "seen_within_seconds": 60}):
        seen_ids, after = [], None
        while True:
            with counted_statements(queue.database) as seen:
                page, after = _list(queue, limit=1000, after=after, **filters)
            assert len(seen) <= 4  # The workers, their types, their tasks, and now and then the names of all types.
            assert all(row["types"] == ["work"] for row in page)
            seen_ids += [row["worker_id"] for row in page]
            if after is None:
                break
        assert seen_ids == [f"w{n:05}" for n in range(10_000)]


def test_a_page_reads_only_its_own_workers(queue):
    _add_workers(queue, 2_000)
    statement = str(
        select(workers)
        .where(workers.c.worker_id > "w01000")
        .order_by(workers.c.worker_id)
        .limit(51)
        .compile(queue.database.engine, compile_kwargs={"literal_binds": True})
    )
    explain = "EXPLAIN QUERY PLAN " if queue.database.dialect.name == "sqlite" else "EXPLAIN "
    plan = queue.do(lambda tx: tx._connection.exec_driver_sql(explain + statement.replace("%", "%%")).all())
    shown = str(plan)
    assert "TEMP B-TREE" not in shown
    assert "filesort" not in shown


def test_a_command_is_given_and_taken_back(queue, clock):
    _note(queue, "w1")
    _note(queue, "w2")
    clock.advance(seconds=5)
    queue.database.write(lambda tx: command_worker(tx, "w1", "quiet"))
    told_at = clock.instant
    clock.advance(seconds=5)
    queue.database.write(lambda tx: command_worker(tx, "w1", "quiet"))  # Saying it again changes nothing.
    assert [(row["command"], row["commanded_at"]) for row in _stored(queue)] == [("quiet", told_at), (None, None)]
    queue.database.write(lambda tx: command_worker(tx, "w1", None))
    assert [(row["command"], row["commanded_at"]) for row in _stored(queue)] == [(None, None)] * 2
    with pytest.raises(WorkerNotFound):
        queue.database.write(lambda tx: command_worker(tx, "nobody", "quiet"))


def test_all_workers_are_commanded_in_slices_and_only_those_who_are_not_yet(queue):
    _add_workers(queue, 1_203)
    queue.database.write(lambda tx: command_worker(tx, "w00007", "quiet"))
    with counted_statements(queue.database) as seen:
        assert command_all_workers(queue.database, "quiet") == 1_202
    assert _kinds(seen).count("UPDATE") == 3
    assert command_all_workers(queue.database, "quiet") == 0
    assert command_all_workers(queue.database, "terminate") == 1_203
    assert command_all_workers(queue.database, None) == 1_203
    assert command_all_workers(queue.database, None) == 0
    assert {row["command"] for row in _stored(queue)} == {None}
    told = [entry["details"]["command"] for entry in _stored(queue, audit_entries) if entry["subject"] == "workers"]
    assert told == ["quiet", "terminate", None]  # One entry for all slices, none for what changed nothing.


def test_the_signals_are_read_through_indexes_however_many_workers_there_are(queue):
    _add_workers(queue, 3_000)
    queue.database.write(lambda tx: command_worker(tx, "w00007", "quiet"))
    if queue.database.dialect.name == "sqlite":
        sql = str(signals._READ.compile(queue.database.engine, compile_kwargs={"literal_binds": True}))
        plan = queue.do(lambda tx: [row["detail"] for row in tx.all(text("EXPLAIN QUERY PLAN " + sql))])
        assert not [step for step in plan if step.startswith("SCAN")], plan
        return

    def work(tx):
        tx.execute(text("FLUSH STATUS"))
        assert signals.read_signals(tx).commands == {"w00007": "quiet"}
        rows = tx.all(text("SHOW SESSION STATUS LIKE 'Handler_read%'"))
        return sum(int(row["Value"]) for row in rows)

    assert queue.do(work) < 30


def test_a_sighting_keeps_the_command(queue, clock):
    _note(queue)
    queue.database.write(lambda tx: command_worker(tx, "w1", "terminate"))
    clock.advance(seconds=30)
    _note(queue, version="2")
    (row,) = _stored(queue)
    assert (row["command"], row["version"]) == ("terminate", "2")


def test_workers_that_were_not_heard_of_for_seven_days_are_forgotten_in_slices(queue, clock):
    kind = queue.register()
    _add_workers(queue, SLICE + 1)
    _note(queue, "gone", types=[kind])
    clock.advance(seconds=WEEK - 0.001)
    _note(queue, "here", types=[kind])
    assert queue.do(remove_unseen_workers) == 0
    clock.advance(seconds=0.001)
    assert queue.do(remove_unseen_workers) == SLICE
    assert queue.do(remove_unseen_workers) == 2
    assert queue.do(remove_unseen_workers) == 0
    assert [row["worker_id"] for row in _stored(queue)] == ["here"]
    assert [row["worker_id"] for row in _stored(queue, worker_types)] == ["here"]


def test_housekeeping_forgets_them(queue, settings, clock):
    _add_workers(queue, SLICE + 1)
    clock.advance(seconds=WEEK)
    Housekeeper(queue.database, settings).run(budget_seconds=5)
    assert _stored(queue) == []


def test_two_processes_that_forget_at_once_do_not_hinder_each_other(queue, open_database, clock):
    _add_workers(queue, 300)
    clock.advance(seconds=WEEK + 1)
    removed, errors = [], []

    def remove(database):
        try:
            removed.append(database.write(remove_unseen_workers, atomic=False))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=remove, args=(open_database(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    queue.do(remove_unseen_workers)
    assert sum(removed) <= 300
    assert _stored(queue) == []
