"""Faults between the server and its database, made on purpose."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from app.storage.database import Database

#: How a transaction begins, on either kind of database.
BEGIN = ("BEGIN", "START TRANSACTION")


def lose_the_answer(database: Database, part: str, at: int = 1) -> list[str]:
    """Let the `at`-th statement with `part` in it be done, and its answer be lost; it is then in the returned list."""
    lost: list[str] = []
    met: list[str] = []

    def lose(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if part in statement:
            met.append(statement)
            if len(met) == at:
                lost.append(statement)
                raise OperationalError(statement, {}, Exception(2013, "Lost connection to server during query"))

    event.listen(database.engine, "after_cursor_execute", lose)
    return lost


def interrupt(database: Database, parts: str | tuple[str, ...], work: Callable[[], object]) -> list[str]:
    """Do `work` once, just before the first statement that begins with one of `parts`; it is then in the list."""
    met: list[str] = []

    def do(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith(parts) and not met:
            met.append(statement)
            work()

    event.listen(database.engine, "before_cursor_execute", do)
    return met


@contextmanager
def full_disk(database: Database) -> Iterator[None]:
    """Let an SQLite database find no room for another page; its only connection is the one that is told so."""
    with database.engine.connect() as connection:
        before = connection.exec_driver_sql("PRAGMA max_page_count").scalar_one()
        # No page has room left.
        connection.exec_driver_sql("VACUUM")
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").all()
    yield
    with database.engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {before}").all()
