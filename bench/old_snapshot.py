"""Does a backup that is being taken make claims slow?

Two databases with the same tasks. On one of them a session has opened an old view and keeps it, as a backup does; the
other has none. Then 200,000 tasks of each type are claimed and completed on both. InnoDB cannot remove the entries of
these from its indexes while the old view is open, and SQLite cannot shorten its log.

What is measured is the mean of many requests, since only some of them pay for what all of them gain.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pymysql
from sqlalchemy import Connection, create_engine, make_url

from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.claim import claim_task
from app.queue.claim_batch import claim_tasks
from app.queue.due import do_what_is_due
from app.queue.register import register_type
from app.queue.report_batch import Report, apply_reports
from app.queue.statistics import read_statistics
from app.queue.take import ClaimOrder
from app.queue.tasks import list_tasks
from app.settings import Settings
from app.storage.database import Database
from app.storage.models import metadata, tasks
from bench.report import save, turns
from bench.tables import add_tasks, temporary_url
from tests.support.mariadb import PrivateServer

GOAL = 1.5
LEFT = 40_000
# Behind the view: leases that end soon, so that the alarms that they leave behind are in the past.
SOON = ClaimOrder(worker_id="bench", lease_seconds=1)
LATER = ClaimOrder(worker_id="bench", lease_seconds=86_400)
ORDINARY, LIMITED, EMPTIED = 1, 2, 3
OLD_VIEW, NONE = "old view", "none"
CLOSED_SECONDS = 120


@dataclass(frozen=True)
class Request:
    """What is measured, and how often in a row."""

    name: str
    do: Callable[[Database], Any]
    number: int


def write(work: Callable[..., Any], *arguments: Any) -> Callable[[Database], Any]:
    return lambda database: database.write(lambda tx: work(tx, *arguments), atomic=False)


REQUESTS = (
    Request("claim", write(claim_task, [ORDINARY], LATER), 300),
    Request("claim of two types", write(claim_task, [ORDINARY, EMPTIED], LATER), 300),
    Request("claim with a limit", write(claim_task, [LIMITED], LATER), 50),
    Request("claim of 100", write(claim_tasks, [ORDINARY], LATER, 100), 20),
    Request("empty claim", write(claim_task, [EMPTIED], LATER), 100),
    Request("list", write(lambda tx: list_tasks(tx, limit=50)), 20),
    Request("statistics", write(read_statistics, "ordinary"), 10),
    Request("what is due", write(do_what_is_due), 100),
)


@contextmanager
def open_database(kind: str, folder: Path, waiting: int) -> Iterator[Database]:
    """Yield a database with so many tasks of each type to be claimed, and remove it afterwards."""
    with ExitStack() as stack:
        # Each has a server of its own: an old view holds up the removal of old entries in all its databases.
        server = None if kind == "sqlite" else stack.enter_context(PrivateServer()).url
        url = stack.enter_context(temporary_url(kind, server, folder))
        database = Database(Settings(database_url=url, database_timeout_seconds=60, sqlite_synchronous="normal"))
        stack.callback(database.dispose)
        metadata.create_all(database.engine)
        for name, policies in (("ordinary", {}), ("limited", {"max_concurrency": 10**6}), ("emptied", {})):
            register = write(_register, name, policies)
            register(database)
        add_tasks(database, 3 * waiting, TaskStatus.PENDING)
        for type_id in (LIMITED, EMPTIED):
            chosen = tasks.update().where(tasks.c.id % 3 == type_id - 1).values(type_id=type_id)
            database.write(lambda tx, chosen=chosen: tx.execute(chosen))
        yield database


def _register(tx: Any, name: str, policies: dict[str, Any]) -> None:
    register_type(tx, name=name, version="1", param_schema={"type": "object"}, policies=policies, defaults=Policies())


@contextmanager
def old_view(url: str, *, writes: bool) -> Iterator[Callable[[], None]]:
    """Open a view of the database as it is now, and yield what closes it.

    With `writes` its transaction has also changed something, as that of a long import has.
    """
    parsed = make_url(url)
    if parsed.drivername.startswith("sqlite"):
        engine = create_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql("SELECT COUNT(*) FROM tasks").all()
            yield lambda: _roll_back(connection)
        engine.dispose()
        return
    session = pymysql.connect(
        host=parsed.host,
        port=parsed.port or 3306,
        user=parsed.username,
        password=parsed.password or "",
        database=parsed.database,
    )
    cursor = session.cursor()
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    cursor.execute("SELECT COUNT(*) FROM tasks")
    if writes:
        cursor.execute("INSERT INTO counters (name, value) VALUES ('an import', 1)")
    yield session.rollback
    session.close()


def _roll_back(connection: Connection) -> None:
    connection.exec_driver_sql("ROLLBACK")


def claim_behind(database: Database, type_id: int, number: int) -> None:
    """Claim and complete so many tasks: a hundredth of them one by one, the others in batches."""
    done = 0
    while done < number:
        size = 1 if done < number // 100 else min(100, number - done)
        rows = database.write(lambda tx, size=size: claim_tasks(tx, [type_id], SOON, size), atomic=False)
        reports = [
            Report(task_id=row["id"], lease_token=row["lease_token"], is_success=True, result={"n": 1}) for row in rows
        ]
        database.write(lambda tx, reports=reports: apply_reports(tx, "bench", reports), atomic=False)
        done += len(rows)
        if done % 50_000 < size:
            print(f"  type {type_id}: {done:,} claimed", file=sys.stderr)


def milliseconds(database: Database, request: Request) -> float:
    """Return the mean of its requests."""
    began = time.perf_counter()
    for _ in range(request.number):
        request.do(database)
    return (time.perf_counter() - began) * 1000 / request.number


def wait_for_purge(database: Database) -> float:
    """Wait until claims are as quick as they become, and return how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < CLOSED_SECONDS:
        if database.engine.dialect.name != "mysql":
            break
        with database.engine.connect() as connection:
            found = connection.exec_driver_sql(
                "SELECT variable_value FROM information_schema.global_status "
                "WHERE variable_name = 'Innodb_history_list_length'"
            )
            if int(found.scalar_one()) < 1000:
                break
        time.sleep(0.2)
    return round(time.monotonic() - began, 1)


def measure(kind: str, writes: bool, claims: int, repetitions: int) -> dict[str, Any]:
    """Measure one kind of database with one kind of old view, and print it."""
    with tempfile.TemporaryDirectory(prefix="tm-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        databases = {}
        for which in (NONE, OLD_VIEW):
            databases[which] = stack.enter_context(open_database(kind, folder, claims + LEFT))
            print(f"{kind}, {which}: filled", file=sys.stderr)
        held = databases[OLD_VIEW]
        wait_for_purge(held)
        url = held.engine.url.render_as_string(hide_password=False)
        close = stack.enter_context(old_view(url, writes=writes))
        for which, database in databases.items():
            print(f"{kind}, {which}: claims", file=sys.stderr)
            for type_id, number in ((ORDINARY, claims), (LIMITED, claims), (EMPTIED, claims + LEFT)):
                claim_behind(database, type_id, number)
        wait_for_purge(databases[NONE])
        found: dict[str, dict[str, list[float]]] = {
            request.name: {which: [] for which in databases} for request in REQUESTS
        }
        for database in databases.values():
            for request in REQUESTS:
                milliseconds(database, request)  # Caches, pages, and where live entries begin.
        for which in turns(tuple(databases), repetitions):
            for request in REQUESTS:
                found[request.name][which].append(milliseconds(databases[which], request))
        sizes = {which: _log_size(database) for which, database in databases.items()} if kind == "sqlite" else {}
        close()
        purged = wait_for_purge(held)
        after = {request.name: milliseconds(held, request) for request in REQUESTS}
    title = f"{kind}, a view that {'has written' if writes else 'reads'}, {claims:,} claims of each type behind it"
    print(f"\n{title}: milliseconds, median of {repetitions}")
    print(f"  {'':20} {'without':>9} {'with':>9} {'ratio':>6}   after it was closed")
    results = {}
    for request in REQUESTS:
        medians = {which: round(median(values), 3) for which, values in found[request.name].items()}
        ratio = round(medians[OLD_VIEW] / medians[NONE], 2)
        results[request.name] = {**medians, "ratio": ratio, "after": round(after[request.name], 3)}
        print(
            f"  {request.name:20} {medians[NONE]:9.3f} {medians[OLD_VIEW]:9.3f} {ratio:6.2f} {after[request.name]:9.3f}"
        )
    print(f"  old entries were gone {purged} s after the view was closed" if not sizes else f"  log, bytes: {sizes}")
    claim = results["claim"]["ratio"]
    print(f"  goal, a claim at most {GOAL} times as long: {'reached' if claim <= GOAL else 'MISSED'}", flush=True)
    return {"requests": results, "purged_seconds": purged, "log_bytes": sizes}


def _log_size(database: Database) -> int:
    return Path(f"{database.engine.url.database}-wal").stat().st_size


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.old_snapshot", description=__doc__)
    parser.add_argument("--kind", choices=("mariadb", "sqlite"), action="append", help="(default: both)")
    parser.add_argument("--view", choices=("reads", "writes"), action="append", help="(default: both)")
    parser.add_argument(
        "--claims",
        type=int,
        default=200_000,
        help="how many of each type come behind the view, a tenth of them behind one that has written",
    )
    parser.add_argument("--repetitions", type=int, default=5)
    given = parser.parse_args()
    results = {}
    for kind in given.kind or ("mariadb", "sqlite"):
        # On SQLite one that writes would keep everybody else from writing.
        for view in ("reads",) if kind == "sqlite" else given.view or ("reads", "writes"):
            # Where the view has written, InnoDB looks up the row of each entry: behind as many it would take too long.
            claims = given.claims // 10 if view == "writes" else given.claims
            results[f"{kind} {view}"] = measure(kind, view == "writes", claims, given.repetitions)
    save("old_snapshot", {"goal": GOAL, "claims": given.claims, "repetitions": given.repetitions, **results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
