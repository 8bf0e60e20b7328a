"""What attacks ask for by name: a live server of each kind that the README recommends, on a database of its own."""

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine

from app.settings import Settings
from app.storage.database import Database
from app.storage.models import metadata
from tests.hostile.target import Target
from tests.support.client import make_key
from tests.support.factories import Queue

PROGRAMS = ("granian", "gunicorn", "waitress-serve")


@pytest.fixture(scope="session")
def seed() -> int:
    """Where chance begins: the same in each run of `make test`, another one each night."""
    return int(os.environ.get("TASKMANAGER_TEST_SEED", "4"))


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest) -> str:
    """Which server: granian, unless the test says others."""
    return str(getattr(request, "param", "granian"))


@pytest.fixture(scope="module")
def target(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server that all tests of a module attack one after the other; it must survive them all."""
    folder = tmp_path_factory.mktemp(program)
    url = f"sqlite:///{folder / 'taskmanager.db'}"
    engine = create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    database = Database(Settings(database_url=url))
    key = make_key(database, "admin", name="admin")
    for name in ("work", "after"):
        Queue(database).register(name, dedupe="never")
    server = Target(program, database, key, folder / "log")
    yield server
    server.stop()
    database.dispose()


@pytest.fixture
def unharmed(target: Target) -> Iterator[Target]:
    """The server, which after the test must do a task's whole way, have grown little and have logged no error."""
    target.must_work()
    before, logged = target.resident_bytes(), len(target.log_text())
    yield target
    target.must_work()
    grown = target.resident_bytes() - before
    assert grown < 100_000_000, f"grown by {grown / 1e6:.0f} MB"
    log = target.log_text()[logged:]
    assert "Traceback" not in log, log[-5000:]
    assert " ERROR " not in log and "panicked" not in log, log[-5000:]
