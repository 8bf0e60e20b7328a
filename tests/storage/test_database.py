"""Database: work is run again when that is right, and an unreachable database is said to be so."""

import os
import socket
import threading
import time
from contextlib import closing, suppress
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, make_url, select, text
from sqlalchemy.exc import OperationalError

from app.errors import DatabaseUnavailable
from app.queue.attempts import list_attempts
from app.queue.complete import complete_task
from app.queue.create import create_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.new_task import NewTask
from app.queue.tasks import list_tasks, read_task
from app.settings import Settings
from app.storage.database import MAX_RUNS, Database
from app.storage.models import counters
from tests.support.factories import Queue


class _Passing(Exception):
    args = (1213, "Deadlock found when trying to get lock")


def _passing_error(kind: str) -> OperationalError:
    original: Exception = _Passing()
    if kind == "sqlite":
        original = Exception("database is locked")
    return OperationalError("UPDATE …", {}, original)


def test_work_is_run_again_after_a_passing_error(database, database_kind, clock):
    runs = []

    def work(tx):
        runs.append((tx.is_rerun, tx.now, tx.nonce))
        clock.advance(seconds=1)
        if len(runs) < 3:
            raise _passing_error(database_kind)
        return "done"

    assert database.write(work) == "done"
    assert [is_rerun for is_rerun, _, _ in runs] == [False, True, True]
    assert len({(now, nonce) for _, now, nonce in runs}) == 1


def test_what_a_failed_run_wrote_is_rolled_back(queue, database, database_kind):
    queue.register()
    runs = []

    def work(tx):
        tx.execute(
            text(
                "UPDATE task_types SET version = version || 'x'"
                if database_kind == "sqlite"
                else "UPDATE task_types SET version = CONCAT(version, 'x')"
            )
        )
        runs.append(1)
        if len(runs) == 1:
            raise _passing_error(database_kind)

    database.write(work)
    assert database.read(lambda tx: tx.execute(text("SELECT version FROM task_types")).scalar_one()) == "1x"


def _counters(database):
    return database.read(lambda tx: [row["name"] for row in tx.all(select(counters.c.name))])


def _count(tx, name):
    tx.execute(insert(counters), {"name": name, "value": 1})


def test_what_a_transaction_joins_is_undone_with_it(database):
    def work(tx):
        with tx.atomic():
            _count(tx, "outer")
            with tx.atomic():
                _count(tx, "inner")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(work, atomic=False)
    assert _counters(database) == []


def test_a_part_that_is_undone_leaves_the_rest(database):
    def work(tx):
        _count(tx, "before")
        with suppress(ZeroDivisionError), tx.undoable():
            _count(tx, "undone")
            raise ZeroDivisionError
        _count(tx, "after")

    database.write(work)
    assert sorted(_counters(database)) == ["after", "before"]


def test_work_that_never_gets_through_ends_in_unavailable(database, database_kind):
    runs = []

    def work(tx):
        runs.append(1)
        raise _passing_error(database_kind)

    with pytest.raises(DatabaseUnavailable) as caught:
        database.write(work)
    assert len(runs) == MAX_RUNS
    assert caught.value.retry_after_seconds is not None


def test_another_error_is_not_run_again(database):
    runs = []

    def work(tx):
        runs.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(work)
    assert len(runs) == 1
    assert database.read(lambda tx: tx.execute(text("SELECT 1")).scalar_one()) == 1


def test_two_real_transactions_in_a_deadlock_both_get_through(queue, open_database, database_kind):
    if database_kind == "sqlite":
        pytest.skip("one writer at a time: no deadlocks")
    kinds = [queue.register(name) for name in ("a", "b")]
    meet = threading.Barrier(2)
    runs = []

    def transact(database, first, second):
        def work(tx):
            runs.append(first)
            tx.execute(text("UPDATE task_types SET version = CONCAT(version, '.') WHERE id = :id"), {"id": first})
            if not tx.is_rerun:
                meet.wait(10)
            tx.execute(text("UPDATE task_types SET version = CONCAT(version, '.') WHERE id = :id"), {"id": second})

        database.write(work)

    threads = [threading.Thread(target=transact, args=(open_database(), *order)) for order in (kinds, reversed(kinds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(runs) == 3
    versions = queue.database.read(lambda tx: tx.execute(text("SELECT version FROM task_types")).scalars().all())
    assert list(versions) == ["1..", "1.."]


def test_a_connection_that_the_server_has_closed_is_replaced(database, open_database, database_kind):
    if database_kind == "sqlite":
        pytest.skip("no server")
    own = database.read(lambda tx: tx.execute(text("SELECT CONNECTION_ID()")).scalar_one())
    with open_database().engine.connect() as connection:
        connection.exec_driver_sql(f"KILL {own}")
    assert database.read(lambda tx: tx.execute(text("SELECT CONNECTION_ID()")).scalar_one()) != own


def test_a_connection_that_is_lost_behind_a_savepoint_is_replaced(database, open_database, database_kind):
    if database_kind == "sqlite":
        pytest.skip("no server")
    runs = []

    def work(tx):
        with tx.undoable():
            runs.append(tx.is_rerun)
            own = tx.execute(text("SELECT CONNECTION_ID()")).scalar_one()
            if not tx.is_rerun:
                with open_database().engine.connect() as connection:
                    connection.exec_driver_sql(f"KILL {own}")
            return tx.execute(text("SELECT 1")).scalar_one()

    assert database.write(work) == 1
    assert runs == [False, True]


def _closed_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_database_that_is_away_is_unavailable_within_seconds():
    database = Database(Settings(database_url=f"mysql://u:p@127.0.0.1:{_closed_port()}/x", database_timeout_seconds=1))
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        database.read(lambda tx: None)
    assert time.monotonic() - began < 10


def test_a_database_that_never_answers_is_unavailable_within_seconds():
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        database = Database(Settings(database_url=f"mysql://u:p@127.0.0.1:{port}/x", database_timeout_seconds=1))
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            database.read(lambda tx: None)
        assert time.monotonic() - began < 20


def test_a_refused_login_and_a_missing_folder_are_unavailable_too(mariadb_admin_url, tmp_path):
    wrong = make_url(mariadb_admin_url).set(username="nobody", password="secret-password", database="x")
    for url in (wrong.render_as_string(hide_password=False), f"sqlite:///{tmp_path}/missing/file.db"):
        with pytest.raises(DatabaseUnavailable) as caught:
            Database(Settings(database_url=url, database_timeout_seconds=1)).read(lambda tx: None)
        assert "secret-password" not in str(caught.value)


def test_a_process_without_a_free_connection_says_so(prepared_url):
    database = Database(Settings(database_url=prepared_url, database_timeout_seconds=1))

    def work(tx):
        with pytest.raises(DatabaseUnavailable):
            database.read(lambda inner: None)

    database.read(work)
    database.dispose()


def test_a_held_write_lock_ends_in_unavailable_not_in_a_hang(queue, prepared_url, database_kind):
    queue.register()
    impatient = Database(Settings(database_url=prepared_url, database_timeout_seconds=1))

    def hold(_tx):
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            impatient.write(lambda tx: tx.execute(text("UPDATE task_types SET version = '2'")))
        assert time.monotonic() - began < 15

    def work(tx):
        tx.execute(text("UPDATE task_types SET version = '3'"))
        hold(tx)

    queue.database.write(work)
    impatient.dispose()


def _lose_the_answer(database: Database, part: str) -> list[str]:
    """Let the first statement with `part` in it be done, and its answer be lost."""
    lost: list[str] = []

    def lose(_connection, _cursor, statement, *_rest):
        if part in statement and not lost:
            lost.append(statement)
            original: Exception = _Lost()
            if database.dialect.name == "sqlite":
                original = Exception("database is locked")
            raise OperationalError(statement, {}, original)

    event.listen(database.engine, "after_cursor_execute", lose)
    return lost


class _Lost(Exception):
    args = (2013, "Lost connection to server during query")


@pytest.mark.parametrize("dedupe", ["never", "unfinished", "forever"])
def test_a_create_whose_answer_was_lost_is_done_once(queue, dedupe):
    queue.register(dedupe=dedupe)
    lost = _lose_the_answer(queue.database, "INSERT INTO tasks")
    task, is_duplicate, _ = queue.do(create_task, NewTask(type_name="work", params={"a": 1}))
    assert lost
    assert not is_duplicate
    assert [row["id"] for row in queue.do(list_tasks, limit=10)] == [task["id"]]


@pytest.mark.parametrize("is_followed", [False, True])
def test_a_claim_whose_answer_was_lost_is_done_once(queue, database_kind, is_followed):
    if database_kind == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")
    kind = queue.register()
    first, second = queue.create(), queue.create()
    if is_followed:
        queue.create(depends_on=[first["id"]])
    lost = _lose_the_answer(queue.database, "UPDATE tasks")
    task = queue.must_claim(kind)
    assert lost
    assert (task["id"], task["attempts"]) == (first["id"], 1)
    assert queue.must_claim(kind)["id"] == second["id"]


@pytest.mark.parametrize("max_tasks", [1, 2])
@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_a_claim_whose_lease_ended_before_it_was_run_again_begins_anew(queue, open_database, clock, max_tasks):
    kind = queue.register(lease_seconds=2)
    task_id = queue.create()["id"]
    others = Queue(open_database())
    lost = []

    def lose(_connection, _cursor, statement, *_rest):
        if "UPDATE tasks" not in statement or len(lost) == 3:
            return
        lost.append(statement)
        if len(lost) < 3:
            clock.advance(seconds=3)
            others.do(do_what_is_due)
        raise OperationalError(statement, {}, _Lost())

    event.listen(queue.database.engine, "after_cursor_execute", lose)
    [task] = queue.claim_batch(kind, max_tasks=max_tasks)
    # Two leases ended unanswered; the third, whose answer was lost too, is found again.
    assert (task["id"], task["attempts"], len(lost)) == (task_id, 3, 3)
    assert task["due_at"] == clock.instant + timedelta(seconds=2)
    tokens = [attempt["lease_token"] for attempt in others.do(list_attempts, task_id)]
    assert len({task["lease_token"], *tokens}) == 3


def test_a_completion_whose_answer_was_lost_is_done_once(queue):
    kind = queue.register()
    queue.create()
    task = queue.must_claim(kind)
    lost = _lose_the_answer(queue.database, "UPDATE tasks")
    queue.do(complete_task, task["id"], worker_id="w1", lease_token=task["lease_token"], result=7)
    assert lost
    assert queue.do(read_task, task["id"])["result"] == 7


def test_a_failure_whose_commit_was_not_answered_is_counted_once(queue):
    kind = queue.register()
    queue.create()
    task = queue.must_claim(kind)
    lost = _lose_the_answer(queue.database, "COMMIT")
    failed = queue.do(
        fail_task,
        task["id"],
        worker_id="w1",
        lease_token=task["lease_token"],
        error="bad",
        retryable=True,
        retry_after_seconds=None,
    )
    assert lost
    assert failed["attempts"] == 1
    assert len(queue.do(list_attempts, task["id"])) == 1


def test_a_wrong_wall_clock_changes_nothing(open_database, monkeypatch, database_kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite's clock is its host's")
    right = Queue(open_database(clock=None))
    kind = right.register(lease_seconds=60)
    hours = time.time() + 5 * 3600
    monkeypatch.setattr(time, "time", lambda: hours)
    wrong = Queue(open_database(clock=None))
    created = [wrong.create(params={"of": "wrong"}), right.create(params={"of": "right"})]
    assert abs((created[0]["created_at"] - created[1]["created_at"]).total_seconds()) < 5
    first = wrong.must_claim(kind)
    assert right.do(do_what_is_due) == 0
    assert wrong.do(do_what_is_due) == 0
    assert abs((first["due_at"] - right.must_claim(kind)["due_at"]).total_seconds()) < 5


def test_the_clock_is_that_of_the_database(open_database, database_kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite's clock is its host's")
    database = open_database(clock=None)
    ahead = int(time.time()) + 5 * 3600

    @event.listens_for(database.engine, "connect")
    def put_forward(connection, _record):
        with connection.cursor() as cursor:
            cursor.execute(f"SET timestamp = {ahead}")

    assert abs(database.read(lambda tx: tx.now).timestamp() - ahead) < 5


def test_on_sqlite_nobody_writes_between_what_a_transaction_reads_and_what_it_writes(
    database, open_database, database_kind
):
    if database_kind == "mariadb":
        pytest.skip("MariaDB locks rows, and the rules say which")
    other = open_database()
    writer = threading.Thread(target=lambda: other.write(lambda tx: _count(tx, "other")))
    runs = []

    def work(tx):
        runs.append(tx.all(select(counters.c.name)))
        if len(runs) == 1:
            writer.start()
            # It waits for us, or, were it not made to, would be done in a moment.
            writer.join(timeout=0.5)
        _count(tx, "own")

    database.write(work)
    writer.join()
    assert runs == [[]]
    assert sorted(_counters(database)) == ["other", "own"]


def test_a_child_of_a_fork_does_not_speak_on_its_parents_connection(open_database, database_kind):
    if database_kind == "sqlite":
        pytest.skip("no connection to a server")
    database = open_database()
    ask = text("SELECT CONNECTION_ID()")
    own = database.read(lambda tx: tx.execute(ask).scalar_one())
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, str(database.read(lambda tx: tx.execute(ask).scalar_one())).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(read_end, 100)) != own
    assert database.read(lambda tx: tx.execute(ask).scalar_one()) == own
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize(
    ("database_kind", "error", "may_succeed"),
    [
        ("mariadb", (1213, "Deadlock found"), True),
        ("mariadb", (1045, "Access denied"), True),
        ("mariadb", (1021, "Disk full"), True),
        ("mariadb", (3024, "Query execution was interrupted, maximum statement execution time exceeded"), False),
        ("mariadb", (1054, "Unknown column"), False),
        ("sqlite", ("database is locked",), True),
        ("sqlite", ("database or disk is full",), True),
        ("sqlite", ("database disk image is malformed",), False),
        ("sqlite", ("no such column: a",), False),
    ],
)
def test_work_that_goes_on_later_is_given_up_where_it_cannot_succeed(database, error, may_succeed):
    """A statement that takes too long takes as long the next time; a broken file stays broken."""
    failed = OperationalError("UPDATE …", {}, Exception(*error))
    assert database.read(lambda tx: tx.may_succeed_later(failed)) is may_succeed
