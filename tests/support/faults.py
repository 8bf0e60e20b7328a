"""Faults between the server and its database, made on purpose."""

from collections.abc import Callable
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
