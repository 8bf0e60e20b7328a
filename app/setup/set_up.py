"""Sets a database up: creates it if that is allowed, brings it to the present schema, makes the first admin key."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from app.queue.audit import Actor
from app.queue.keys import create_key, has_admin_key
from app.settings import Settings
from app.setup.connection import connect_to
from app.setup.failures import NO_DDL_CODES, UNKNOWN_DATABASE, SetupError, database_code
from app.setup.migrations import migrate, migration_sql
from app.setup.run import run
from app.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an installation has after it was set up; `admin_key` is None when one existed already."""

    database_url: str
    revision: str
    admin_key: str | None


def set_up(settings: Settings) -> Outcome:
    """Do whatever of the setup is not done yet; raises SetupError or the database's own errors."""
    create_missing_database(settings)
    revision = migrate(settings)
    database = Database(settings)
    try:
        admin_key = database.write(_create_first_key)
    finally:
        database.dispose()
    return Outcome(url_without_password(settings.database_url), revision, admin_key)


def create_missing_database(settings: Settings) -> None:
    """Create the database, or the folder of the SQLite file, if it does not exist."""
    engine, dialect = connect_to(settings)
    try:
        if engine.dialect.name == "sqlite":
            dialect.create_database(engine.url)
            return
        if not engine.url.database:
            raise SetupError("TASKMANAGER_DATABASE_URL names no database: add its name after the last slash.")
        try:
            engine.connect().close()
        except DBAPIError as error:
            if database_code(error) not in NO_DDL_CODES | {UNKNOWN_DATABASE}:
                raise
            _create_on_server(settings)
    finally:
        engine.dispose()


def _create_on_server(settings: Settings) -> None:
    engine, dialect = connect_to(settings)
    try:
        dialect.create_database(engine.url)
    except DBAPIError as error:
        if database_code(error) not in NO_DDL_CODES:
            raise
        raise SetupError(
            f"The database {engine.url.database} does not exist or is closed to this user, who may not create it: "
            "create it in your host's control panel and give the user all rights on it, then try again."
        ) from error
    finally:
        engine.dispose()


def url_without_password(text: str) -> str:
    """Return the database URL with everything in it but a password."""
    url = make_url(text)
    public = url._replace(password=None).difference_update_query(["password", "passwd"])
    return public.render_as_string(hide_password=False)


def _create_first_key(tx: Transaction) -> str | None:
    if has_admin_key(tx):
        return None
    return create_key(tx, name="first admin key", scopes=["admin"], actor=Actor(0, "taskmanager setup"))[0]


def main(arguments: Sequence[str] | None = None, program: str = "setup_database.py") -> int:
    """Set the database up, or print the SQL for it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Create the database if that is allowed, bring its tables up to date, and print the first admin "
        "key once. It may be run again at any time: what is there stays as it is.",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object: database_url (without password), revision, admin_key (null if one existed)",
    )
    output.add_argument(
        "--sql",
        action="store_true",
        help="change nothing; print the SQL that is still missing, for phpMyAdmin or whoever may run it",
    )
    given = parser.parse_args(arguments)

    def command(settings: Settings) -> int:
        if given.sql:
            print(migration_sql(settings), end="")
            return 0
        outcome = set_up(settings)
        print(json.dumps(asdict(outcome)) if given.json else _for_people(outcome))
        return 0

    return run(command)


def _for_people(outcome: Outcome) -> str:
    lines = [f"The database {outcome.database_url} is ready (revision {outcome.revision})."]
    if outcome.admin_key is None:
        lines.append("There is an admin key already; `taskmanager keys create --scope admin` makes another.")
    else:
        lines.append(f"The admin key, shown only this once: {outcome.admin_key}")
    return "\n".join(lines)
