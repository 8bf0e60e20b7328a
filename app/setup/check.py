"""Checks a whole installation and tells for each thing whether it is right, and what to do if it is not."""

import argparse
import sys
from collections.abc import Iterator, Sequence

from app.settings import Settings, SettingsError
from app.setup import mysql_checks, sqlite_checks
from app.setup.connection import connect_to, is_missing_file
from app.setup.failures import SET_UP, explain
from app.setup.host_checks import check_auth, check_disk, check_instance_folder, check_settings_file
from app.setup.requirements import Check, check_requirements, report
from app.setup.run import load_settings
from app.setup.schema_checks import check_admin_key, check_rights, check_schema


def main(arguments: Sequence[str] | None = None, program: str = "check_setup.py") -> int:
    """Print the checks; return the exit code: 1 if something must be put right."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Check Python, packages, settings, database and permissions. Nothing is changed. "
        "The exit code is 1 if something must be put right.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object with ok and the list of checks")
    given = parser.parse_args(arguments)
    try:
        return report(list(check_installation()), given.json)
    except Exception as error:
        print(f"The checks could not be finished. {explain(error)}", file=sys.stderr)
        return 1


def check_installation() -> Iterator[Check]:
    """Yield all checks; what cannot be looked at for an earlier fault is left out."""
    yield from check_requirements()
    yield check_settings_file()
    try:
        settings = load_settings()
    except SettingsError as error:
        yield Check("error", "settings", str(error), "correct this setting; the README has a table of all of them")
        return
    yield Check("ok", "settings", "all known and valid")
    yield check_auth(settings)
    yield check_instance_folder()
    yield check_disk()
    yield from _check_database(settings)


def _check_database(settings: Settings) -> Iterator[Check]:
    name = "database connection"
    try:
        engine, dialect = connect_to(settings)
    except SettingsError as error:
        yield Check("error", name, str(error), "correct this setting")
        return
    is_sqlite = engine.dialect.name == "sqlite"
    try:
        if is_sqlite:
            yield from sqlite_checks.check_file(engine)
        if is_missing_file(engine):
            yield Check("error", name, f"{engine.url.database} does not exist yet", SET_UP)
            return
        with engine.connect() as connection:
            yield Check("ok", name, "works")
            yield from (sqlite_checks if is_sqlite else mysql_checks).check_server(connection, settings)
            schema = check_schema(connection)
            yield schema
            if schema.status == "ok":
                yield from check_rights(connection, dialect.begin)
                yield check_admin_key(settings)
    except Exception as error:
        yield Check("error", name, explain(error), "correct this, then check again")
    finally:
        engine.dispose()
