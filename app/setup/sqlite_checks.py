"""Checks of a SQLite database."""

import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine

from app.settings import Settings
from app.setup.requirements import Check

OLDEST = (3, 8)


def check_file(engine: Engine) -> Iterator[Check]:
    """SQLite writes the file and, for its journal, the folder."""
    name = "database file"
    path = Path(str(engine.url.database))
    folder = next(folder for folder in path.parents if folder.exists())
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        yield Check("error", name, f"this user may not read and write {path}", "give this user the right")
    elif not os.access(folder, os.W_OK | os.X_OK):
        found = f"this user may not write the folder {folder}, where SQLite keeps its journal"
        yield Check("error", name, found, "give this user the right")
    else:
        yield Check("ok", name, f"{path}: the file and its folder can be written")


def check_server(connection: Connection, _settings: Settings) -> Iterator[Check]:
    """Yield the checks of the library's version and of the journal."""
    version = str(connection.exec_driver_sql("SELECT sqlite_version()").scalar_one())
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        advice = "use a Python with a newer SQLite, or MySQL or MariaDB"
        yield Check("error", "database version", f"SQLite {version}; 3.8 or newer is needed", advice)
    else:
        yield Check("ok", "database version", f"SQLite {version}")
    journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if journal == "wal":
        yield Check("ok", "journal", "WAL: readers and the writer do not stop each other")
    else:
        advice = "keep the file on a local disk; network folders cannot be shared safely"
        yield Check("warning", "journal", f"{journal} instead of WAL", advice)
