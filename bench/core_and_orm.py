"""What does the ORM cost beside Core: at import, and for reading one task by its id?"""

import argparse
import sys
import time
from collections.abc import Callable
from datetime import datetime
from statistics import median
from typing import Any

from sqlalchemy import bindparam, create_engine, insert, select
from sqlalchemy.orm import Session, registry
from sqlalchemy.pool import StaticPool

from app.lifecycle import TaskStatus
from app.storage.columns import UTC
from app.storage.models import metadata, tasks
from bench.cold_start import run
from bench.report import save, turns
from bench.tables import make_row

IMPORTS = {
    "core": "import sqlalchemy, pymysql",
    "orm": "import sqlalchemy.orm, pymysql",
}
CALLS = 2000


class MappedTask:
    """What a model would be."""


def prepare() -> dict[str, Callable[[], Any]]:
    """Return the ways of reading a task, on one connection to a SQLite database in memory: no disk, no network."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    metadata.create_all(engine)
    registry().map_imperatively(MappedTask, tasks)
    connection = engine.connect()
    rows = [make_row(datetime.now(UTC), TaskStatus.PENDING) for _ in range(100)]
    connection.execute(insert(tasks), rows)
    connection.commit()
    prebuilt = select(tasks).where(tasks.c.id == bindparam("task_id"))

    def core() -> Any:
        return dict(connection.execute(prebuilt, {"task_id": 50}).mappings().one())

    def core_built_each_time() -> Any:
        return dict(connection.execute(select(tasks).where(tasks.c.id == 50)).mappings().one())

    def orm() -> Any:
        with Session(bind=connection) as session:
            return session.get(MappedTask, 50)

    return {"core": core, "core, built each time": core_built_each_time, "orm": orm}


def measure_cpu(way: Callable[[], Any]) -> float:
    """Return microseconds of this process's CPU time per call."""
    began = time.process_time()
    for _ in range(CALLS):
        way()
    return (time.process_time() - began) / CALLS * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.core_and_orm", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=11)
    repetitions = parser.parse_args().repetitions
    for program in IMPORTS.values():
        run([sys.executable, "-c", program])
    milliseconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for name in turns(tuple(IMPORTS), repetitions):
        milliseconds[name].append(run([sys.executable, "-c", IMPORTS[name]])[0])
    ways = prepare()
    for way in ways.values():
        measure_cpu(way)
    microseconds: dict[str, list[float]] = {name: [] for name in ways}
    for name in turns(tuple(ways), repetitions):
        microseconds[name].append(measure_cpu(ways[name]))
    imports = {name: round(median(times), 1) for name, times in milliseconds.items()}
    calls = {name: round(median(times), 1) for name, times in microseconds.items()}
    for name, value in imports.items():
        print(f"import, {name:5} {value:7.1f} ms   ratio {value / imports['core']:.2f}")
    for name, value in calls.items():
        print(f"read a task, {name:22} {value:7.1f} µs of CPU   ratio {value / calls['core']:.2f}")
    save("core_and_orm", {"import_milliseconds": imports, "read_microseconds": calls, "repetitions": repetitions})
    return 0


if __name__ == "__main__":
    sys.exit(main())
