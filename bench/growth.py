"""Does a request cost more the more tasks, task types and workers there are?

Asks the whole application in this process, on a large table and on a small one in turns, so that a machine that becomes
slower or faster in the meantime changes no ratio.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from flask import Flask

from app import create_app
from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.register import register_type
from app.queue.usage import WATERMARK
from app.settings import Settings
from app.storage.database import Database, Transaction
from app.storage.models import workers
from bench.costs.story import Request
from bench.costs.tellers import Ask, here
from bench.plots import plot_steps
from bench.report import result_file, save
from bench.speed.processes import cpu_seconds
from bench.tables import add_tasks, create_tables, temporary_url
from tests.support.client import make_key
from tests.support.mariadb import PrivateServer

SMALL = 1_000
SIZES = (100_000, 1_000_000, 10_000_000)
TYPES, WORKERS = 1_000, 10_000
CLAIM_GOAL, READ_GOAL = 1.2, 1.5
_CLAIM = {"worker_id": "growth", "types": ["bench"]}
# The tables and their indexes are to be in memory, as far as they are in use: what is measured is not the disk.
_OPTIONS = ("--innodb-buffer-pool-size=6G", "--innodb-log-file-size=1G", "--innodb-sort-buffer-size=64M")


@dataclass(frozen=True)
class Queue:
    """A database and the application on it."""

    database: Database
    app: Flask
    ask: Ask
    is_mysql: bool

    def run(self, statement: str) -> None:
        """Run a statement."""
        with self.database.engine.connect() as connection:
            connection.exec_driver_sql(statement).close()

    def add(self, number: int, status: TaskStatus) -> None:
        """Add so many tasks, and let the planner know."""
        began = time.monotonic()
        add_tasks(self.database, number, status)
        # They are to be counted already, as those are that have come one by one.
        self.run(f"REPLACE INTO counters (name, value) SELECT '{WATERMARK}', MAX(id) FROM tasks")
        self.run("ANALYZE TABLE tasks" if self.is_mysql else "ANALYZE")
        print(f"  {number:,} {status.word} tasks added in {time.monotonic() - began:.0f} s", file=sys.stderr)


@contextmanager
def open_queue(kind: str, server: str | None, folder: Path) -> Iterator[Queue]:
    """Yield a queue with a thousand pending tasks."""
    with temporary_url(kind, server, folder) as url:
        # The disk takes the same time for each commit, and waiting for it would only hide the differences.
        settings = Settings(database_url=url, database_timeout_seconds=60, sqlite_synchronous="normal")
        database = Database(settings)
        create_tables(database)
        app = create_app(settings, database)
        queue = Queue(database, app, here(app, make_key(database, "admin")), kind == "mariadb")
        queue.add(SMALL, TaskStatus.PENDING)
        try:
            yield queue
        finally:
            database.dispose()


def requests_of(queue: Queue, number: int) -> Iterator[tuple[str, list[Request]]]:
    """Yield each kind of request, so many times; what was claimed is completed, and as much created."""
    claimed: list[Any] = []

    def claim() -> Request:
        return Request("POST", "/api/tasks/claim", _CLAIM)

    yield "claim", [claim() for _ in range(number)]
    for _ in range(number):
        claimed.append(json.loads(queue.ask(claim())[1])["data"])
    done = {"worker_id": "growth", "success": True, "result": None}
    complete = [
        Request("POST", f"/api/tasks/{task['id']}/complete", {**done, "lease_token": task["lease_token"]})
        for task in claimed
    ]
    yield "complete", complete
    yield "status", [Request("GET", f"/api/tasks/{task['id']}") for task in claimed]
    few = max(number // 4, 1)
    for name, query in (
        ("list", ""),
        ("list of completed", "&status=completed"),
        ("list of pending", "&status=pending"),
        ("list of failed, none", "&status=failed"),
        ("list of a type", "&type=bench"),
    ):
        yield name, [Request("GET", f"/api/tasks?limit=50{query}")] * few
    yield "statistics", [Request("GET", "/api/task-types/bench/stats")] * few
    new = {"type": "bench", "params": {"path": "x"}}
    yield (
        "create",
        [Request("POST", "/api/tasks", {**new, "params": {"at": time.time_ns(), "n": n}}) for n in range(2 * number)],
    )


def measure(queue: Queue, number: int, database: int | None) -> dict[str, tuple[float, float]]:
    """Return for each kind of request the median of its milliseconds, and the microseconds of CPU of all."""
    found = {}
    for name, requests in requests_of(queue, number):
        times = []
        before = _cpu(database)
        for request in requests:
            began = time.perf_counter()
            status, body = queue.ask(request)
            times.append((time.perf_counter() - began) * 1000)
            if status >= 400:
                raise RuntimeError(f"{name}: {status} {body[:300]!r}")
        found[name] = (median(times), (_cpu(database) - before) / len(requests) * 1_000_000)
    return found


def _cpu(database: int | None) -> float:
    return time.process_time() + (cpu_seconds(database) if database is not None else 0.0)


def compare(
    label: str, small: Queue, large: Queue, number: int, repetitions: int, database: int | None
) -> dict[str, Any]:
    """Measure both in turns, print the ratios, and return the medians."""
    measure(small, number, database)
    measure(large, number, database)
    runs: dict[str, list[dict[str, tuple[float, float]]]] = {"small": [], "large": []}
    for repetition in range(repetitions):
        for name in ("small", "large") if repetition % 2 == 0 else ("large", "small"):
            runs[name].append(measure(small if name == "small" else large, number, database))
    print(f"\n  {label}, against {SMALL:,} pending tasks")
    print(f"    {'':24} {'ms':>8} {'before':>8} {'ratio':>6} {'CPU µs':>8} {'before':>8}")
    found: dict[str, Any] = {}
    for name in runs["small"][0]:
        (small_ms, small_cpu), (large_ms, large_cpu) = (
            tuple(median(run[name][place] for run in runs[size]) for place in (0, 1)) for size in ("small", "large")
        )
        # Of each pair that was measured one after the other: what the machine did meanwhile is in both.
        pairs = zip(runs["small"], runs["large"], strict=True)
        ratio = median(large_run[name][0] / small_run[name][0] for small_run, large_run in pairs)
        goal = CLAIM_GOAL if name == "claim" else READ_GOAL
        is_asked = name not in ("complete", "create")
        verdict = "" if not is_asked else f"goal {goal}: {'reached' if ratio <= goal else 'MISSED'}"
        print(
            f"    {name:24} {large_ms:8.3f} {small_ms:8.3f} {ratio:6.2f} {large_cpu:8,.0f} {small_cpu:8,.0f}  {verdict}"
        )
        found[name] = {
            "milliseconds": round(large_ms, 3), "small_milliseconds": round(small_ms, 3), "ratio": round(ratio, 2),
            "cpu_microseconds": round(large_cpu), "small_cpu_microseconds": round(small_cpu),
        }  # fmt: skip
    sys.stdout.flush()
    return found


def add_types_and_workers(queue: Queue) -> None:
    """Add a thousand types and ten thousand workers that have been seen."""

    def add(tx: Transaction) -> None:
        of_type: dict[str, Any] = {"version": "1", "param_schema": {"type": "object"}, "policies": {}}
        for number in range(TYPES):
            register_type(tx, name=f"type-{number}", defaults=Policies(), **of_type)
        seen = {"first_seen_at": tx.now, "last_seen_at": tx.now}
        tx.execute(workers.insert(), [{"worker_id": f"worker-{number}", **seen} for number in range(WORKERS)])

    queue.database.write(add)
    queue.run("ANALYZE TABLE task_types, workers" if queue.is_mysql else "ANALYZE")


def measure_kind(kind: str, sizes: tuple[int, ...], number: int, repetitions: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tm-bench-")))
        maria = stack.enter_context(PrivateServer(*_OPTIONS)) if kind == "mariadb" else None
        database = maria.process.pid if maria is not None and maria.process is not None else None

        def open_one() -> Queue:
            return stack.enter_context(open_queue(kind, maria.url if maria else None, folder))

        def note(label: str, prepare: Callable[[Queue], None], queue: Queue) -> None:
            prepare(queue)
            found[label] = compare(label, small, queue, number, repetitions, database)

        print(f"\n{kind}")
        small, growing = open_one(), open_one()
        had = SMALL
        for size in sizes:
            more, had = size - had, size
            note(f"{size:,} pending", lambda queue, more=more: queue.add(more, TaskStatus.PENDING), growing)
        note(f"{TYPES:,} types, {WORKERS:,} workers known", add_types_and_workers, open_one())
        note(f"{sizes[-1]:,} finished", lambda queue: queue.add(sizes[-1], TaskStatus.COMPLETED), open_one())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--kind", choices=("mariadb", "sqlite"), action="append", help="(default: both)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of pending tasks")
    parser.add_argument("--requests", type=int, default=100, help="of each kind")
    parser.add_argument("--repetitions", type=int, default=5)
    given = parser.parse_args()
    results: dict[str, Any] = {}
    for kind in given.kind or ("mariadb", "sqlite"):
        results[kind] = found = measure_kind(kind, tuple(given.sizes), given.requests, given.repetitions)
        for name, what, unit in (("latency", "milliseconds", "ms"), ("cpu", "cpu_microseconds", "µs of CPU")):
            first = next(iter(found.values()))
            lines = {
                request: [first[request][f"small_{what}"], *(each[request][what] for each in found.values())]
                for request in first
            }
            title = f"{kind}: {unit} of a request"
            plot_steps(result_file(f"growth-{kind}-{name}.svg"), title, [f"{SMALL:,} pending", *found], lines)
    save("growth", {"requests": given.requests, "repetitions": given.repetitions, **results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
