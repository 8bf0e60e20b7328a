"""How many tasks per second do workers claim and complete over HTTP, by the number of tasks in one request?

One worker process after the other asks for that many tasks, reports all of them, and asks again; `exchange` does both
in one request. granian, on MariaDB and on SQLite.
"""

import argparse
import http.client
import json
import multiprocessing
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import create_engine, make_url

from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.register import register_type
from app.settings import Settings
from app.storage.database import Database
from app.storage.models import metadata
from bench.claim_latency import add_tasks
from bench.report import save, turns
from tests.support.client import make_key
from tests.support.mariadb import server_url
from tests.support.server import start_server, stop_server

WORKERS, PROCESSES = 4, 4
SIZES = (1, 10, 50, 100)
# (How many tasks in one request, whether results and the next tasks share it); None: the requests for one task.
WAYS: tuple[tuple[int | None, bool], ...] = ((None, False), *((size, False) for size in SIZES),
                                             *((size, True) for size in SIZES))  # fmt: skip
# More than any way gets through in a second, on this kind of machine.
_TASKS_PER_SECOND = 12_000


class Worker:
    """A worker on one connection."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._key = key
        self.name = f"bench-{multiprocessing.current_process().pid}"

    def post(self, path: str, **body: Any) -> Any:
        headers = {"X-API-Key": self._key, "Prefer": "return=minimal"}
        self._connection.request("POST", f"/api/tasks{path}", json.dumps({"worker_id": self.name, **body}), headers)
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer["data"]


def work(port: int, key: str, size: int | None, exchanges: bool, seconds: float, results: Any) -> None:
    """Claim and complete until the time is over; report how many tasks were completed."""
    worker = Worker(port, key)
    end = time.monotonic() + seconds
    done = 0
    held: list[Any] = []
    claim = {"types": ["bench"], "max_tasks": size}
    while time.monotonic() < end:
        if size is None:
            task = worker.post("/claim", types=["bench"])
            worker.post(f"/{task['id']}/complete", **_report(task))
            done += 1
        elif exchanges:
            answer = worker.post("/batch/exchange", results=[_item(task) for task in held], claim=claim)
            done += len(held) - answer["refused"]
            held = answer["tasks"]
        else:
            tasks = worker.post("/batch/claim", **claim)["tasks"]
            refused = worker.post("/batch/complete", results=[_item(task) for task in tasks])["refused"]
            done += len(tasks) - refused
    results.put(done)


def _report(task: Any) -> dict[str, Any]:
    return {"lease_token": task["lease_token"], "success": True, "result": {"sha256": "0"}}


def _item(task: Any) -> dict[str, Any]:
    return {"id": task["id"], **_report(task)}


def measure(port: int, key: str, way: tuple[int | None, bool], seconds: float) -> float:
    """Return completed tasks per second."""
    results: Any = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=work, args=(port, key, *way, seconds, results)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    done = sum(results.get(timeout=seconds + 120) for _ in workers)
    for worker in workers:
        worker.join()
    return done / seconds


@contextmanager
def prepared_url(kind: str, server: str | None, folder: Path) -> Iterator[str]:
    """Yield the URL of a new database, and remove it afterwards."""
    name = f"tm_bench_{secrets.token_hex(6)}"
    if kind == "sqlite":
        yield f"sqlite:///{folder / name}.db"
        return
    admin = create_engine(make_url(str(server)).set(drivername="mysql+pymysql"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    try:
        yield make_url(str(server)).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}")
        admin.dispose()


def measure_all(kind: str, server: str | None, repetitions: int, seconds: float) -> dict[str, Any]:
    found: dict[tuple[int | None, bool], list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder, prepared_url(kind, server, Path(folder)) as url:
        database = Database(Settings(database_url=url, sqlite_synchronous="normal", database_timeout_seconds=60))
        metadata.create_all(database.engine)
        key = make_key(database, "worker")
        database.write(
            lambda tx: register_type(
                tx, name="bench", version="1", param_schema={"type": "object"}, policies={}, defaults=Policies()
            )
        )
        live = start_server(url, key, Path(folder) / "log", processes=PROCESSES, sqlite_synchronous="normal")
        port = int(live.url.rsplit(":", 1)[1])
        try:
            for way in turns(WAYS, repetitions):
                _fill(database, seconds)
                found[way].append(measure(port, key, way, seconds))
        finally:
            stop_server(live)
            database.dispose()
    return {
        _name(way): {"tasks_per_second": round(median(rates)), "each": [round(rate) for rate in rates]}
        for way, rates in found.items()
    }


def _fill(database: Database, seconds: float) -> None:
    """Leave nothing but waiting tasks, more than can be done: then every way begins alike."""
    with database.engine.connect() as connection:
        is_mysql = database.engine.dialect.name == "mysql"
        connection.exec_driver_sql("TRUNCATE TABLE attempts" if is_mysql else "DELETE FROM attempts")
        if is_mysql:
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=0")
        connection.exec_driver_sql("TRUNCATE TABLE tasks" if is_mysql else "DELETE FROM tasks")
        if is_mysql:
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=1")
    add_tasks(database, int(_TASKS_PER_SECOND * seconds), TaskStatus.PENDING)


def _name(way: tuple[int | None, bool]) -> str:
    size, exchanges = way
    if size is None:
        return "claim and complete of one task"
    return f"exchange of {size}" if exchanges else f"batch of {size}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.batches", description=__doc__)
    parser.add_argument("--database-url", help="a MariaDB or MySQL server on which databases may be created "
                        "(default: start a private one)")  # fmt: skip
    parser.add_argument("--kind", choices=("mariadb", "sqlite"), action="append", help="(default: both)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    results = {}
    for kind in given.kind or ("mariadb", "sqlite"):
        if kind == "sqlite" or given.database_url:
            results[kind] = measure_all(kind, given.database_url, given.repetitions, given.seconds)
        else:
            with server_url() as url:
                results[kind] = measure_all(kind, url, given.repetitions, given.seconds)
        print(f"{kind}: tasks per second, median of {given.repetitions}")
        for name, result in results[kind].items():
            print(f"  {name:31} {result['tasks_per_second']:6}")
    save("batches", {"workers": WORKERS, "processes": PROCESSES, "seconds": given.seconds, **results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
