"""How many tasks per second do workers claim and complete over HTTP? granian, MariaDB, one task per claim."""

import argparse
import http.client
import json
import multiprocessing
import secrets
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
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

WORKERS, PROCESSES = 8, 4
# With the whole task in the answer to complete, as older workers get it, and without.
ANSWERS = {"minimal": {"Prefer": "return=minimal"}, "whole": {}}


def work(port: int, key: str, headers: dict[str, str], seconds: float, results: Any) -> None:
    """Claim and complete until the time is over; report the milliseconds of every cycle."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection.request("POST", f"/api/tasks{path}", json.dumps(body), {"X-API-Key": key, **headers})
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        assert response.status == 200, answer
        return answer["data"]

    worker = f"bench-{multiprocessing.current_process().pid}"
    end = time.monotonic() + seconds
    times = []
    while time.monotonic() < end:
        began = time.perf_counter()
        task = post("/claim", {"worker_id": worker, "types": ["bench"]})
        report = {"worker_id": worker, "lease_token": task["lease_token"], "success": True, "result": {"sha256": "0"}}
        post(f"/{task['id']}/complete", report)
        times.append((time.perf_counter() - began) * 1000)
    results.put(times)


def measure(port: int, key: str, headers: dict[str, str], seconds: float) -> tuple[float, float]:
    """Return cycles per second and the 99th percentile of their milliseconds."""
    results: Any = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=work, args=(port, key, headers, seconds, results)) for _ in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    times = [time for _ in workers for time in results.get(timeout=seconds + 60)]
    for worker in workers:
        worker.join()
    return len(times) / seconds, quantiles(times, n=100)[98]


def measure_all(server: str, repetitions: int, seconds: float) -> dict[str, Any]:
    name = f"tm_bench_{secrets.token_hex(6)}"
    admin = create_engine(make_url(server).set(drivername="mysql+pymysql"), isolation_level="AUTOCOMMIT")
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    database = Database(Settings(database_url=url))
    try:
        metadata.create_all(database.engine)
        key = make_key(database, "worker")
        schema = {"type": "object"}
        database.write(
            lambda tx: register_type(
                tx, name="bench", version="1", param_schema=schema, policies={}, defaults=Policies()
            )
        )
        add_tasks(database, int(3000 * seconds * (repetitions + 1) * len(ANSWERS)), TaskStatus.PENDING)
        with tempfile.TemporaryDirectory() as folder:
            live = start_server(url, key, Path(folder) / "log", processes=PROCESSES)
            port = int(live.url.rsplit(":", 1)[1])
            try:
                measure(port, key, ANSWERS["minimal"], seconds)
                found: dict[str, list[tuple[float, float]]] = {name: [] for name in ANSWERS}
                for answer in turns(tuple(ANSWERS), repetitions):
                    found[answer].append(measure(port, key, ANSWERS[answer], seconds))
            finally:
                stop_server(live)
    finally:
        database.dispose()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}")
        admin.dispose()
    return {
        answer: {
            "cycles_per_second": round(median(rate for rate, _ in runs)),
            "p99_milliseconds": round(median(p99 for _, p99 in runs), 1),
            "each": [[round(rate), round(p99, 1)] for rate, p99 in runs],
        }
        for answer, runs in found.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.round_trip", description=__doc__)
    parser.add_argument("--database-url", help="a MariaDB or MySQL server on which databases may be created "
                        "(default: start a private one)")  # fmt: skip
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    if given.database_url:
        results = measure_all(given.database_url, given.repetitions, given.seconds)
    else:
        with server_url() as url:
            results = measure_all(url, given.repetitions, given.seconds)
    for answer, result in results.items():
        print(
            f"{answer:8} answers: {result['cycles_per_second']:5} claims and completes per second, "
            f"99 % within {result['p99_milliseconds']} ms"
        )
    save("round_trip", {"workers": WORKERS, "processes": PROCESSES, "seconds": given.seconds, **results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
