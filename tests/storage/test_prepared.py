"""Prepared statements do what SQLAlchemy would do with them, and fail as it fails."""

from typing import Any

import pytest
from sqlalchemy import bindparam, event, func, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.errors import DatabaseUnavailable
from app.storage.columns import Instant
from app.storage.database import Database, Row, Transaction
from app.storage.models import tasks
from app.storage.prepared import Prepared

_VALUES = {column.name: bindparam(column.name, type_=column.type) for column in tasks.c if column.name != "id"}
_INSERT = insert(tasks).values(_VALUES).inline()
_IN_LISTS = (
    select(tasks)
    .where(
        tasks.c.id.in_(bindparam("ids", expanding=True)),
        tasks.c.claimed_by.in_(bindparam("names", expanding=True)),
        # Written into the text, or bound, as the database likes it.
        tasks.c.max_attempts == 3,
        tasks.c.claimed_by != "100% of :them %(all)s",
    )
    .order_by(tasks.c.id)
)
_MARK = (
    update(tasks)
    .where(tasks.c.id.in_(bindparam("ids", expanding=True)), tasks.c.status == 3)
    .values(progress=7, claimed_at=bindparam("at", type_=Instant), result=bindparam("done", type_=tasks.c.result.type))
)


def _row(tx: Transaction, number: int) -> Row:
    given = {
        "type_id": 1,
        "status": 3,
        "claim_rank": 0,
        "priority": number,
        "params": {"n": [number, None, "ü"]},
        "progress": 0,
        "attempts": 0,
        "max_attempts": 3,
        "claimed_by": f"w{number}",
        "has_followers": number % 2 == 1,
        "dedupe_hash": f"{number:064x}",
        "dedupe_forever": 0,
        **dict.fromkeys(("available_at", "created_at", "updated_at"), tx.now),
    }
    return {name: given.get(name) for name in _VALUES}


@pytest.fixture
def ids(database: Database) -> list[int]:
    prepared = Prepared(_INSERT)
    return database.write(lambda tx: [tx.insert(prepared, _row(tx, number)) for number in range(5)])


def test_rows_are_those_that_sqlalchemy_reads(database: Database, ids: list[int]) -> None:
    parameters = {"ids": ids[1:], "names": ["w1", "w3", "nobody"]}
    prepared = Prepared(_IN_LISTS)
    for _ in range(2):
        expected = database.read(lambda tx: tx.all(_IN_LISTS, parameters))
        assert [row["id"] for row in expected] == [ids[1], ids[3]]
        found = database.read(lambda tx: tx.all(prepared, parameters))
        assert found == expected
        assert [list(row) for row in found] == [list(row) for row in expected]
        assert {name: type(value) for name, value in found[0].items()} == {
            name: type(value) for name, value in expected[0].items()
        }
    assert database.read(lambda tx: tx.one(prepared, parameters)) == expected[0]
    assert database.read(lambda tx: tx.one(prepared, {**parameters, "names": ["nobody"]})) is None


def test_a_changed_row_counts_and_has_its_values(database: Database, ids: list[int]) -> None:
    prepared = Prepared(_MARK)

    def work(tx: Transaction) -> tuple[int, int, Any]:
        given = {"at": tx.now, "done": {"ok": True}}
        changed = tx.changes(prepared, {"ids": ids[:2], **given})
        # Of a row that has the values already, the update says too that it has hit it.
        again = tx.changes_without_waiting(prepared, {"ids": [*ids[:1], 0], **given})
        return changed, again, tx.now

    changed, again, at = database.write(work)
    assert (changed, again) == (2, 1)
    row = database.read(lambda tx: tx.one(select(tasks).where(tasks.c.id == ids[0])))
    assert row is not None
    assert (row["progress"], row["claimed_at"], row["result"]) == (7, at, {"ok": True})


def test_a_list_that_is_empty_is_refused_and_never_guessed(database: Database) -> None:
    with pytest.raises(ValueError, match="the list names is empty"):
        database.read(lambda tx: tx.all(Prepared(_IN_LISTS), {"ids": [1], "names": []}))


def test_errors_are_those_of_sqlalchemy(database: Database, ids: list[int]) -> None:
    prepared = Prepared(_INSERT)

    def twice(tx: Transaction) -> None:
        row = _row(tx, 1)
        for _ in range(2):
            tx.insert(prepared, row)

    with pytest.raises(IntegrityError):
        database.write(twice)
    wrong = Prepared(select(tasks.c.id).where(tasks.c.id == bindparam("task_id")).prefix_with("NO SUCH WORD"))
    with pytest.raises(DBAPIError):
        database.read(lambda tx: tx.all(wrong, {"task_id": 1}))
    # The connection is as good as before, and the failed transaction is gone.
    assert len(database.read(lambda tx: tx.all(select(tasks.c.id)))) == len(ids)


def test_what_is_wrong_with_a_later_row_is_an_error_of_sqlalchemy_too(database: Database, ids: list[int]) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("the answer of a server comes whole")
    # SQLite looks for a row when it is fetched.
    event.listen(
        database.engine,
        "connect",
        lambda own, _: own.create_function("fail", 1, lambda number: 1 // (ids[-1] - number)),
    )
    database.dispose()
    wrong = Prepared(select(tasks.c.id, func.fail(tasks.c.id).label("x")).where(tasks.c.id > bindparam("above")))
    with pytest.raises(DBAPIError):
        database.read(lambda tx: tx.all(wrong, {"above": 0}))


def test_a_lost_connection_ends_the_transaction_and_the_work_is_run_again(database: Database, ids: list[int]) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("no connection to a server")
    prepared = Prepared(_MARK)
    runs = []

    def work(tx: Transaction) -> int:
        runs.append(tx.run)
        changed = tx.changes(prepared, {"ids": ids[:1], "at": tx.now, "done": tx.run})
        if tx.run == 1:
            own = tx.execute(select(bindparam("x", 1))).connection.connection.driver_connection
            own._force_close()
        return changed + tx.changes(prepared, {"ids": ids[1:2], "at": tx.now, "done": tx.run})

    assert database.write(work) == 2
    assert runs == [1, 2]
    done = database.read(lambda tx: tx.all(select(tasks.c.result).where(tasks.c.id.in_(ids[:2]))))
    assert [row["result"] for row in done] == [2, 2]


def test_a_server_that_is_away_is_said_to_be_away(database: Database, ids: list[int]) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("no connection to a server")
    prepared = Prepared(_MARK)

    def work(tx: Transaction) -> int:
        tx.execute(select(bindparam("x", 1))).connection.connection.driver_connection._force_close()
        return tx.changes(prepared, {"ids": ids, "at": tx.now, "done": 1})

    with pytest.raises(DatabaseUnavailable):
        database.write(work, atomic=False)
    assert database.read(lambda tx: tx.one(Prepared(_OF_ID), {"task_id": ids[0]})) is not None


_OF_ID = select(tasks.c.id).where(tasks.c.id == bindparam("task_id"))


def test_whoever_listens_to_the_engine_hears_prepared_statements(database: Database, ids: list[int]) -> None:
    heard = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: heard.append(("before", given[2])))
    event.listen(database.engine, "after_cursor_execute", lambda *given: heard.append(("after", given[2])))
    database.read(lambda tx: tx.all(Prepared(_OF_ID), {"task_id": ids[0]}))
    assert [when for when, _ in heard] == ["before", "after"]
    assert all("FROM tasks" in statement for _, statement in heard)
