"""How long does a claim take with few tasks, with a million waiting, and with a million finished ones beside?

Calls `app.queue.claim` straight on the database, without HTTP: what is measured is the database's part.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import event

from app.lifecycle import TaskStatus
from app.queue.claim import claim_task
from app.queue.take import ClaimOrder
from app.settings import Settings
from app.storage.database import Database
from app.storage.models import tasks
from bench.report import save, turns
from bench.tables import add_tasks, create_tables, make_row, temporary_url
from tests.support.mariadb import server_url

GOAL = 1.5
FEW, MANY = 1_000, 1_000_000
ORDER = ClaimOrder(worker_id="bench")


@dataclass(frozen=True)
class Scenario:
    """A table to claim from."""

    name: str
    pending: int
    finished: int


SCENARIOS = (
    Scenario("few", FEW, 0),
    Scenario("many pending", MANY, 0),
    Scenario("many finished", FEW, MANY),
)


@contextmanager
def open_databases(kind: str, url: str | None, folder: Path) -> Iterator[dict[Scenario, Database]]:
    """Yield a prepared database for each scenario, and remove them afterwards."""
    opened: dict[Scenario, Database] = {}
    with ExitStack() as stack:
        for scenario in SCENARIOS:
            own_url = stack.enter_context(temporary_url(kind, url, folder))
            # The disk takes the same time for each, and waiting for it would only hide the differences.
            settings = Settings(database_url=own_url, database_timeout_seconds=60, sqlite_synchronous="normal")
            opened[scenario] = Database(settings)
            stack.callback(opened[scenario].dispose)
            began = time.monotonic()
            fill(opened[scenario], scenario)
            print(f"{kind}: {scenario.name} filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
        yield opened


def fill(database: Database, scenario: Scenario) -> None:
    """Create the tables and put the tasks in: the finished ones are the older ones."""
    create_tables(database)
    add_tasks(database, scenario.finished, TaskStatus.COMPLETED)
    add_tasks(database, scenario.pending, TaskStatus.PENDING)
    _analyse(database)


def _analyse(database: Database) -> None:
    with database.engine.connect() as connection:
        is_mysql = database.engine.dialect.name == "mysql"
        connection.exec_driver_sql("ANALYZE TABLE tasks" if is_mysql else "ANALYZE").close()


def measure_claims(database: Database, claims: int) -> list[float]:
    """Claim that many tasks one by one; return the milliseconds that each took. As many new ones take their place."""
    times = []
    for _ in range(claims):
        began = time.perf_counter()
        task = database.write(lambda tx: claim_task(tx, [1], ORDER), atomic=False)
        times.append((time.perf_counter() - began) * 1000)
        assert task is not None, "there was a task to be claimed"
    database.write(lambda tx: tx.execute(tasks.delete().where(tasks.c.status == int(TaskStatus.CLAIMED))))
    database.write(lambda tx: tx.execute(tasks.insert(), [make_row(tx.now, TaskStatus.PENDING) for _ in range(claims)]))
    return times


def explain_claim(database: Database) -> list[str]:
    """Return what the database plans for the statement that finds the head of the queue."""
    heads: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if statement.startswith("SELECT tasks.id"):
            heads.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", keep)
    database.write(lambda tx: claim_task(tx, [1], ORDER), atomic=False)
    event.remove(database.engine, "before_cursor_execute", keep)
    statement, parameters = heads[0]
    verb = "EXPLAIN" if database.engine.dialect.name == "mysql" else "EXPLAIN QUERY PLAN"
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{verb} {statement}", parameters).mappings().all()
    return [", ".join(f"{name}={value}" for name, value in row.items()) for row in rows]


def measure(kind: str, url: str | None, repetitions: int, claims: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="tm-bench-") as folder,
        open_databases(kind, url, Path(folder)) as databases,
    ):
        for database in databases.values():
            measure_claims(database, claims)  # Caches, prepared statements, pages: what every process has soon.
        found: dict[str, list[float]] = {scenario.name: [] for scenario in databases}
        for scenario in turns(tuple(databases), repetitions):
            found[scenario.name].append(median(measure_claims(databases[scenario], claims)))
        plans = {scenario.name: explain_claim(database) for scenario, database in databases.items()}
    milliseconds = {name: round(median(medians), 3) for name, medians in found.items()}
    ratios = {name: round(milliseconds[name] / milliseconds["few"], 2) for name in milliseconds if name != "few"}
    print(f"\n{kind}: milliseconds per claim, median of {repetitions} medians of {claims} claims")
    for scenario in SCENARIOS:
        name = scenario.name
        ratio = f"  ratio {ratios[name]:.2f}" if name in ratios else ""
        print(
            f"  {scenario.pending:>9,} pending, {scenario.finished:>9,} finished: {milliseconds[name]:6.3f} ms{ratio}"
        )
    print("  plan of the head statement with a million pending:")
    for line in plans["many pending"]:
        print(f"    {line}")
    plan = " ".join(line for lines in plans.values() for line in lines)
    is_sorted = "filesort" in plan or "TEMP B-TREE" in plan
    is_scanned = "type=ALL" in plan or "detail=SCAN" in plan
    print(f"  {'A SORT' if is_sorted else 'no sort'}, {'A FULL SCAN' if is_scanned else 'no full scan'}")
    print(f"  goal, ratios at most {GOAL}: {'reached' if max(ratios.values()) <= GOAL else 'MISSED'}", flush=True)
    return {"milliseconds": milliseconds, "each": found, "ratios": ratios, "plans": plans}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.claim_latency", description=__doc__)
    parser.add_argument("--database-url", help="a MariaDB or MySQL server on which databases may be created, such as "
                        "mysql://root@127.0.0.1:3306/ (default: start a private one)")  # fmt: skip
    parser.add_argument("--kind", choices=("mariadb", "sqlite"), action="append", help="(default: both)")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--claims", type=int, default=200, help="claims per repetition")
    given = parser.parse_args()
    results = {}
    for kind in given.kind or ("mariadb", "sqlite"):
        if kind == "sqlite":
            results[kind] = measure(kind, None, given.repetitions, given.claims)
        elif given.database_url:
            results[kind] = measure(kind, given.database_url, given.repetitions, given.claims)
        else:
            with server_url() as url:
                results[kind] = measure(kind, url, given.repetitions, given.claims)
    save("claim_latency", {"goal": GOAL, "repetitions": given.repetitions, "claims": given.claims, **results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
