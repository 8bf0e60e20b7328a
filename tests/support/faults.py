"""Faults between the server and its database, made on purpose."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from app.storage.database import Database


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
