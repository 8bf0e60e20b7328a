"""How a database means to answer a statement: which indexes it uses, and whether it sorts."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from app.storage.database import Database, Transaction

Statement = tuple[str, Any]


def is_mysql(database: Database) -> bool:
    return database.engine.dialect.name == "mysql"


@contextmanager
def recorded(database: Database, *, with_updates: bool = False) -> Iterator[list[Statement]]:
    """Collect the statements that are really sent, as they are sent."""
    statements: list[Statement] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        is_update = "UPDATE tasks" in statement and with_updates
        if is_update or statement.startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", keep)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", keep)


def plan(database: Database, statement: Statement) -> list[dict[str, Any]]:
    verb = "EXPLAIN" if is_mysql(database) else "EXPLAIN QUERY PLAN"
    with database.engine.connect() as connection:
        # What is said before an update for the time of its locks cannot be explained.
        explained = statement[0].rpartition(" FOR UPDATE tasks")
        sent = f"UPDATE tasks{explained[2]}" if explained[1] else statement[0]
        rows = connection.exec_driver_sql(f"{verb} {sent}", statement[1]).mappings()
        return [dict(row) for row in rows]


def check(database: Database, steps: list[dict[str, Any]], index: str, *, may_sort: bool = False) -> None:
    """Assert that `tasks` is only ever looked at through `index`, and, unless it `may_sort`, that nothing is sorted."""
    assert steps
    if is_mysql(database):
        of_tasks = [step for step in steps if step["table"] in ("tasks", "head")]
        assert of_tasks, steps
        for step in of_tasks:
            is_read = step["type"] in ("const", "eq_ref", "ref", "range", "index_subquery", "unique_subquery")
            assert is_read and step["key"] in (index, "PRIMARY"), step
        assert any(step["key"] == index for step in of_tasks), steps
        extra = "; ".join(step["Extra"] or "" for step in steps)
        assert may_sort or ("filesort" not in extra and "temporary" not in extra), steps
        return
    details = [step["detail"] for step in steps]
    looks = [detail for detail in details if " tasks" in detail or " head" in detail]
    assert looks and all(look.startswith("SEARCH") for look in looks), details
    # By the status and the id SQLite finds the one row as well.
    names = ("INTEGER PRIMARY KEY", "(status=? AND rowid=?)") if index == "PRIMARY" else (f" {index} ",)
    assert any(name in look for look in looks for name in names), details
    assert may_sort or not any("TEMP B-TREE" in detail for detail in details), details


def all_statements_of(database: Database, work: Callable[[Transaction], Any]) -> list[Statement]:
    with recorded(database) as statements:
        database.write(work, atomic=False)
    return statements


def statements_of(database: Database, work: Callable[[Transaction], Any]) -> list[Statement]:
    """Return those that look at tasks."""
    return [
        statement
        for statement in all_statements_of(database, work)
        if "FROM tasks" in statement[0] or "JOIN tasks" in statement[0]
    ]


def check_bounded(database: Database, statement: Statement) -> None:
    """Assert that no table is scanned and nothing is sorted, whatever the statement looks at."""
    steps = plan(database, statement)
    if is_mysql(database):
        # What stands in angle brackets is made by another step, and as long as that step says.
        of_tables = [step for step in steps if step["table"] and not step["table"].startswith("<")]
        scans = [step for step in of_tables if step["type"] in ("ALL", "index")]
        extra = "; ".join(step["Extra"] or "" for step in steps)
        assert not scans and "filesort" not in extra and "temporary" not in extra, (statement[0], steps)
        return
    details = [step["detail"] for step in steps]
    scanned = [detail for detail in details if re.match(r"SCAN (TABLE )?[a-z]+", detail) and not _is_made(detail)]
    assert not scanned and not any("TEMP B-TREE" in detail for detail in details), (statement[0], details)


def _is_made(detail: str) -> bool:
    return re.match(r"SCAN (TABLE )?(anon_\d+|subquery|unmet|admitted|CONSTANT)", detail) is not None
