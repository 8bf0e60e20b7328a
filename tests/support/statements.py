"""Counts the SQL statements that a piece of a test makes the database run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from app.storage.database import Database


@contextmanager
def counted_statements(database: Database) -> Iterator[list[str]]:
    """Yield a list that fills with every statement, transaction control included."""
    seen: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(" ".join(statement.split()))

    event.listen(database.engine, "before_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", count)
