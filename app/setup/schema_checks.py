"""Checks of what is in the database: the schema's revision, the rights on each table, an admin key."""

from collections.abc import Iterator
from secrets import token_hex

from sqlalchemy import Connection, Executable, delete, false, insert, literal, select, update
from sqlalchemy.exc import DBAPIError

from app.queue.keys import has_admin_key
from app.settings import Settings
from app.setup.failures import SET_UP, explain
from app.setup.migrations import head_revision, is_known, revision_of
from app.setup.requirements import Check
from app.storage.database import Database
from app.storage.models import counters, metadata


def check_schema(connection: Connection) -> Check:
    """The tables must be those that this code was written for."""
    name = "migrations"
    current, head = revision_of(connection), head_revision()
    if current == head:
        return Check("ok", name, f"at the newest revision, {head}")
    if current is None:
        return Check("error", name, "the database has no tables of TaskManager yet", SET_UP)
    if not is_known(current):
        found = f"the database is at revision {current}, this code only at {head}"
        return Check("error", name, found, "update this code, or name the right database")
    return Check("error", name, f"the database is at revision {current}, this code needs {head}", SET_UP)


def check_rights(connection: Connection, begin: str) -> Iterator[Check]:
    """Try everything that the server does to each table, on no row, and one real row that is rolled back."""
    name = "rights on the tables"
    refused = []
    connection.exec_driver_sql(begin)
    try:
        for table in metadata.sorted_tables:
            first = next(iter(table.columns))
            trials: dict[str, Executable] = {
                "SELECT": select(first).where(false()),
                "INSERT": insert(table).from_select(
                    [column.name for column in table.columns], select(*table.columns).where(false())
                ),
                "UPDATE": update(table).where(false()).values({first: first}),
                "DELETE": delete(table).where(false()),
            }
            for verb, statement in trials.items():
                try:
                    connection.execute(statement)
                except DBAPIError as error:
                    refused.append(f"{verb} on {table.name} ({explain(error).rstrip('.')})")
        if not refused:
            mark = f"check_setup {token_hex(8)}"
            connection.execute(insert(counters).values(name=mark, value=literal(0)))
            connection.execute(delete(counters).where(counters.c.name == mark))
    except DBAPIError as error:
        refused.append(f"writing a row ({explain(error).rstrip('.')})")
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql("ROLLBACK")
    if refused:
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        advice = "give the database user SELECT, INSERT, UPDATE and DELETE on all tables of TaskManager"
        yield Check("error", name, f"refused: {refused[0]}{more}", advice)
    else:
        yield Check("ok", name, "SELECT, INSERT, UPDATE and DELETE work on all tables")


def check_admin_key(settings: Settings) -> Check:
    """Without an admin key nobody can register task types or make other keys."""
    database = Database(settings)
    try:
        if database.read(has_admin_key):
            return Check("ok", "admin key", "there is one")
    finally:
        database.dispose()
    if not settings.auth:
        return Check("ok", "admin key", "there is none, and none is needed while authentication is off")
    return Check("error", "admin key", "no usable one exists", f"{SET_UP}; it makes one and prints it")
