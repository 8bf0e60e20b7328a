"""How fast does an operation requeue a million dead letters, and how long does its longest slice hold them?

Calls `app.queue.operate` straight on the database, without HTTP, until the operation has ended.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from sqlalchemy import insert, literal, null, select

from app.lifecycle import TaskStatus
from app.queue.filters import TaskFilter
from app.queue.operate import run_operation
from app.queue.operations import PURGE, REQUEUE, NewOperation, read_operation, start_operation
from app.queue.usage import count_usage
from app.queue.walk import SLICE
from app.settings import Settings
from app.storage.database import Database, Transaction
from app.storage.models import tasks
from bench.report import save
from bench.tables import create_tables, temporary_url
from tests.support.mariadb import server_url
from tests.support.rows import add_rows

MANY = 1_000_000
_CHUNK = 1_000


@contextmanager
def open_database(kind: str, server: str | None, folder: Path) -> Iterator[Database]:
    """Yield a database with a task type, and remove it afterwards."""
    with temporary_url(kind, server, folder) as url:
        database = Database(Settings(database_url=url, database_timeout_seconds=60, sqlite_synchronous="normal"))
        create_tables(database)
        yield database
        database.dispose()


def fill(database: Database, number: int) -> None:
    """Add so many dead letters: some with all that they have, then copies of these with later ends."""
    # A millisecond apart, the last one now.
    first_end = database.read(lambda tx: tx.now) - timedelta(milliseconds=number - _CHUNK)
    added = add_rows(database, 1, TaskStatus.FAILED, _CHUNK, completed_at=first_end)
    for chunk in range(1, number // _CHUNK):

        def copy(tx: Transaction, chunk: int = chunk) -> None:
            copied: dict[str, Any] = {column.name: column for column in tasks.c if column.name != "id"}
            copied["dedupe_hash"] = null()
            copied["claim_rank"] = tasks.c.claim_rank + chunk * _CHUNK
            copied["due_at"] = literal(first_end + timedelta(days=30, seconds=chunk), tasks.c.due_at.type)
            rows = select(*copied.values()).where(tasks.c.id.between(added[0], added[-1]))
            tx.execute(insert(tasks).from_select(list(copied), rows))

        database.write(copy)
    while database.write(count_usage, atomic=False):
        pass


def measure(database: Database, kind: str, which: TaskFilter) -> dict[str, Any]:
    """Do the whole operation; return rows per second and the milliseconds of its slices."""
    new = NewOperation(kind=kind, filter=which)
    began = time.perf_counter()
    operation_id = database.write(lambda tx: start_operation(tx, new))["id"]
    begin_ms = (time.perf_counter() - began) * 1000
    times = []
    while True:
        moment = time.perf_counter()
        if not database.write(lambda tx: run_operation(tx, operation_id), atomic=False):
            break
        times.append((time.perf_counter() - moment) * 1000)
    seconds = time.perf_counter() - began
    operation = database.read(lambda tx: read_operation(tx, operation_id))
    assert operation["status"] == "completed", operation
    return {
        "examined": operation["examined"],
        "changed": operation["changed"],
        "seconds": round(seconds, 1),
        "rows_per_second": round(operation["examined"] / seconds),
        "begin_ms": round(begin_ms, 1),
        "slice_ms": {
            "median": round(median(times), 1),
            "p99": round(quantiles(times, n=100, method="inclusive")[98], 1),
            "longest": round(max(times), 1),
        },
    }


def measure_all(database: Database, number: int) -> dict[str, Any]:
    began = time.monotonic()
    fill(database, number)
    print(f"filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
    runs = {
        "requeue, nothing fits": (REQUEUE, TaskFilter(error_contains="nothing has this")),
        "requeue all": (REQUEUE, TaskFilter()),
        "purge all": (PURGE, TaskFilter()),
    }
    found = {}
    for name, (kind, which) in runs.items():
        if kind == PURGE:
            fill(database, number)
        found[name] = result = measure(database, kind, which)
        print(
            f"  {name}: {result['examined']:,} examined, {result['changed']:,} changed, "
            f"{result['rows_per_second']:,} rows per second, slices of {SLICE}: {result['slice_ms']} ms",
            flush=True,
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.operations", description=__doc__)
    parser.add_argument("--database-url", help="a MariaDB or MySQL server on which databases may be created "
                        "(default: start a private one)")  # fmt: skip
    parser.add_argument("--kind", choices=("mariadb", "sqlite"), action="append", help="(default: both)")
    parser.add_argument("--number", type=int, default=MANY, help="dead letters")
    given = parser.parse_args()
    results = {}
    for kind in given.kind or ("mariadb", "sqlite"):
        print(f"{kind}: {given.number:,} dead letters")
        with tempfile.TemporaryDirectory(prefix="tm-bench-") as folder:
            if kind == "sqlite" or given.database_url:
                with open_database(kind, given.database_url, Path(folder)) as database:
                    results[kind] = measure_all(database, given.number)
            else:
                with server_url() as url, open_database(kind, url, Path(folder)) as database:
                    results[kind] = measure_all(database, given.number)
    save("operations", {"number": given.number, **results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
