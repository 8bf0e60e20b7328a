"""`taskmanager backup`: copies a SQLite database while it is being used, or says how MySQL and MariaDB are copied."""

import argparse
import os
import shlex
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, make_url

from app.settings import Settings
from app.setup.run import FAILED, WRONG_USAGE, run

_PAGES = 2_000
_REPORT_SECONDS = 2.0


def main(arguments: Sequence[str], program: str) -> int:
    """Write the backup and return the exit code."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Copy the SQLite database into a new file while the server goes on, as it is at one moment, and "
        "check the copy. For MySQL and MariaDB it prints the command that does the same.",
    )
    parser.add_argument("file", type=Path, help="the new file; one that exists is not overwritten")
    file = parser.parse_args(arguments).file

    def command(settings: Settings) -> int:
        from app.storage.database import Database

        database = Database(settings)
        url = make_url(database.engine.url)
        database.dispose()
        if database.dialect.name != "sqlite":
            print(f"This database is copied by a program of its own:\n\n  {dump_command(url, file)}", file=sys.stderr)
            print("\nIt asks for the password. docs/backup.md says more.", file=sys.stderr)
            return WRONG_USAGE
        return _copy(Path(str(url.database)), file)

    return run(command)


def dump_command(url: URL, file: Path) -> str:
    """Return the command that writes one consistent state of a MySQL or MariaDB database into the file."""
    words = ["mariadb-dump", "--single-transaction", "--quick", "--skip-lock-tables", "--no-tablespaces"]
    words += ["--default-character-set=utf8mb4"]
    if "unix_socket" in url.query:
        words += [f"--socket={url.query['unix_socket']}"]
    else:
        words += [f"--host={url.host or 'localhost'}", *([f"--port={url.port}"] if url.port else [])]
    words += [f"--user={url.username or ''}", "--password", str(url.database)]
    return f"{shlex.join(words)} > {shlex.quote(str(file))}"


def _copy(source: Path, target: Path) -> int:
    if not source.exists():
        print(f"There is no database {source} yet; run `python setup_database.py`.", file=sys.stderr)
        return FAILED
    if target.exists():
        print(f"{target} exists and is not overwritten; choose another name.", file=sys.stderr)
        return FAILED
    # Killed, it leaves nothing under the name of a backup.
    part = target.with_name(f"{target.name}.part")
    try:
        # For nobody else: it holds what the tasks hold.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        print(f"{part} exists: another backup is being made, or was killed. Remove it then.", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"{target} cannot be made: {error.strerror}.", file=sys.stderr)
        return FAILED
    try:
        faults = _copy_and_check(source, part)
        if faults:
            print(f"The copy is not whole, so it was removed: {faults}", file=sys.stderr)
            return FAILED
        part.replace(target)
    except sqlite3.Error as error:
        print(f"The copy failed and was removed: {error}.", file=sys.stderr)
        return FAILED
    finally:
        part.unlink(missing_ok=True)
    print(f"{target}: {target.stat().st_size:,} bytes, checked")
    return 0


def _copy_and_check(source: Path, target: Path) -> str:
    """Copy what one moment has and return what is wrong with the copy, or nothing."""
    told_at = time.monotonic()

    def tell(_status: int, remaining: int, total: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= _REPORT_SECONDS:
            told_at = time.monotonic()
            print(f"{(total - remaining) * 100 // max(total, 1)} % copied", flush=True)

    with (
        closing(sqlite3.connect(source.absolute().as_uri() + "?mode=rw", uri=True, isolation_level=None)) as original,
        closing(sqlite3.connect(target.absolute(), isolation_level=None)) as copy,
    ):
        # In a transaction of its own the copy does not begin anew whenever somebody else has written.
        original.execute("BEGIN")
        original.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        original.backup(copy, pages=_PAGES, progress=tell)
        original.execute("ROLLBACK")
        # One file and no log beside it; the server turns the log on again.
        copy.execute("PRAGMA journal_mode=DELETE").fetchall()
        print("copied; it is being checked", flush=True)
        found = [row[0] for row in copy.execute("PRAGMA integrity_check(10)")]
        found += [
            f"a row of {row[0]} names a missing row of {row[2]}" for row in copy.execute("PRAGMA foreign_key_check")
        ]
    return "" if found == ["ok"] else "; ".join(found)
