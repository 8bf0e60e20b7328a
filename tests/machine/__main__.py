"""The long profile of the model test.

    python -m tests.machine --database sqlite --steps 250000 --seed 1

runs that many steps in chunks, each with a seed of its own that is printed, and then says how often each rule ended in
which way. The exit code is 0 if everything held; otherwise Hypothesis' shortest example is printed.
"""

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine

from app.storage.models import metadata
from tests.conftest import _temporary_schema
from tests.machine.driver import run_machine
from tests.machine.machine import STEPS
from tests.machine.server import Server
from tests.machine.steps import OUTCOMES
from tests.support.mariadb import server_url

_EXAMPLES_OF_A_CHUNK = 100


@contextmanager
def open_server(database):
    """Yield the program on an empty database of this kind."""
    if database == "sqlite":
        memory = Path("/dev/shm")
        folder = tempfile.mkdtemp(prefix="taskmanager-", dir=memory if memory.is_dir() else None)
        try:
            yield from _prepared(f"sqlite:///{folder}/tables.db")
        finally:
            shutil.rmtree(folder)
        return
    with server_url() as admin_url:
        for url in _temporary_schema(admin_url):
            yield from _prepared(url)


def _prepared(url):
    engine = create_engine(url.replace("mysql://", "mysql+pymysql://"))
    metadata.create_all(engine)
    engine.dispose()
    server = Server(url)
    try:
        yield server
    finally:
        server.close()


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.machine", description=__doc__.split("\n")[0])
    parser.add_argument("--database", choices=("sqlite", "mariadb"), default="sqlite")
    parser.add_argument("--steps", type=int, default=250_000, help="how many steps to do at least")
    parser.add_argument("--seed", type=int, default=1, help="of the first chunk; each following has the next")
    parser.add_argument("--long", action="store_true", help="show a failing example as it was found, not the shortest")
    arguments = parser.parse_args()
    with open_server(arguments.database) as server:
        is_good = _run(server, arguments)
    _print_outcomes()
    return 0 if is_good else 1


def _run(server, arguments):
    began = time.monotonic()
    seed = arguments.seed
    while STEPS["number"] < arguments.steps:
        try:
            run_machine(server, seed=seed, examples=_EXAMPLES_OF_A_CHUNK, shrinks=not arguments.long)
        except Exception as error:
            traceback.print_exception(error)
            print(f"failed on {arguments.database} with seed {seed}; the example is above")
            print(f"again: python -m tests.machine --database {arguments.database} --seed {seed} --steps 1")
            return False
        rate = STEPS["number"] / (time.monotonic() - began)
        print(f"seed {seed}: {STEPS['number']} steps on {arguments.database}, {rate:.0f} steps/s", flush=True)
        seed += 1
    return True


def _print_outcomes():
    rules = sorted({rule for rule, _ in OUTCOMES})
    for rule in rules:
        ends = ", ".join(f"{end} {count}" for (name, end), count in OUTCOMES.most_common() if name == rule)
        print(f"{rule:32} {ends}")


if __name__ == "__main__":
    sys.exit(main())
