"""What tests ask for by name: a database of each kind, a clock that stands still, the application, a live server."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import DBAPIError

from app import create_app
from app.settings import Settings
from app.storage.clock import Clock
from app.storage.database import Database
from app.storage.models import metadata
from tests.support.browser import find_browser, open_browser
from tests.support.client import Client, make_key
from tests.support.clock import ManualClock
from tests.support.mariadb import URL_VARIABLE, NoServer, PrivateServer, server_url
from tests.support.server import LiveServer, start_server, stop_server

OpenDatabase = Callable[..., Database]

# A busy machine is no failure of ours.
hypothesis.settings.register_profile("taskmanager", deadline=None, print_blob=True)
# With --hypothesis-profile=nightly: many more examples, and others each time (--hypothesis-seed repeats them).
hypothesis.settings.register_profile("nightly", hypothesis.settings.get_profile("taskmanager"), max_examples=500)
hypothesis.settings.load_profile("taskmanager")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """With several workers (pytest -n), start one server for all of them before they start."""
    config = session.config
    starts_workers = not hasattr(config, "workerinput") and getattr(config.option, "dist", "no") != "no"
    if not starts_workers or config.option.collectonly or os.environ.get(URL_VARIABLE):
        return
    try:
        server = PrivateServer()
    except NoServer:
        # Each test that needs one says so by itself.
        return
    os.environ[URL_VARIABLE] = server.url

    def stop() -> None:
        del os.environ[URL_VARIABLE]
        server.stop()

    config.add_cleanup(stop)


def _is_required(what: str) -> bool:
    return os.environ.get("CI") == "true" or bool(os.environ.get(f"TASKMANAGER_TEST_REQUIRE_{what}"))


@pytest.fixture(scope="session")
def mariadb_admin_url() -> Iterator[str]:
    """The URL of a MariaDB or MySQL server on which databases may be created; without one the test is skipped."""
    try:
        with server_url() as url:
            yield url
    except NoServer as error:
        if _is_required("MARIADB"):
            pytest.fail(f"MariaDB is required here: {error}")
        pytest.skip(f"no MariaDB: {error}")


@pytest.fixture(params=["sqlite", "mariadb"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Run the test once for each kind of database; it names the one of this run."""
    return str(request.param)


@pytest.fixture
def database_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an EMPTY database of its own, for tests that make tables themselves."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    admin_url = request.getfixturevalue("mariadb_admin_url")
    yield from _temporary_schema(admin_url)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables, to be copied: a tenth of the time of making them."""
    path = tmp_path_factory.mktemp("template") / "tables.db"
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def _mariadb_schema(mariadb_admin_url: str) -> Iterator[tuple[str, Engine]]:
    """A database with all tables, which the tests of one process use one after the other."""
    for url in _temporary_schema(mariadb_admin_url):
        engine = create_engine(_driver_url(url), isolation_level="AUTOCOMMIT")
        metadata.create_all(engine)
        yield url, engine
        engine.dispose()


@pytest.fixture
def prepared_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a database with all tables and no rows."""
    if database_kind == "sqlite":
        path = tmp_path / "taskmanager.db"
        shutil.copyfile(request.getfixturevalue("_sqlite_template"), path)
        return f"sqlite:///{path}"
    url, engine = request.getfixturevalue("_mariadb_schema")
    with engine.connect() as connection:
        # What a failed test left open must not hold the next one up.
        for (identifier,) in connection.exec_driver_sql(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        ).all():
            with suppress(DBAPIError):  # It may have gone meanwhile.
                connection.exec_driver_sql(f"KILL {identifier}")
        # Quicker than TRUNCATE by far; ids go on from test to test.
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return str(url)


@pytest.fixture
def settings(prepared_url: str) -> Settings:
    """The settings of the application under test: the defaults, on a database with all tables."""
    return Settings(database_url=prepared_url, sqlite_synchronous="normal")


@pytest.fixture
def clock() -> ManualClock:
    """The database's clock: 2026-01-01T12:00:00Z until the test advances it."""
    return ManualClock()


@pytest.fixture
def open_database(settings: Settings, clock: ManualClock) -> Iterator[OpenDatabase]:
    """Open one more connection pool on the same database, as another process would: `open_database()`.

    It follows the test's clock unless it is given another: `open_database(clock=None)` has the real one.
    """
    opened: list[Database] = []

    def open_another(clock: Clock | None = clock) -> Database:
        opened.append(Database(settings, clock=clock))
        return opened[-1]

    yield open_another
    for database in opened:
        database.dispose()


@pytest.fixture
def database(open_database: OpenDatabase) -> Database:
    """The database of the application under test, with all tables and no rows."""
    return open_database()


@pytest.fixture
def admin_key(database: Database) -> str:
    """An API key that may do everything."""
    return make_key(database, "admin", name="admin")


@pytest.fixture
def app(settings: Settings, database: Database) -> Flask:
    """The application under test."""
    return create_app(settings, database=database)


@pytest.fixture
def client(app: Flask, database: Database, admin_key: str) -> Client:
    """Sends requests to the application with a key that may do everything."""
    return Client(app, database, admin_key)


@pytest.fixture
def live_server(prepared_url: str, open_database: OpenDatabase, tmp_path: Path) -> Iterator[LiveServer]:
    """The production server with two processes, on the real clock and a database with nothing but a key."""
    key = make_key(open_database(clock=None), "admin", name="admin")
    server = start_server(prepared_url, key, tmp_path / "server.log", sqlite_synchronous="normal")
    yield server
    stop_server(server)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, as Selenium's driver; without one the test is skipped."""
    if find_browser() is None:
        if _is_required("BROWSER"):
            pytest.fail("Chromium with chromedriver is required here")
        pytest.skip("no Chromium with chromedriver")
    driver = open_browser()
    yield driver
    driver.quit()


def _temporary_schema(admin_url: str) -> Iterator[str]:
    """Create a database, yield its URL, drop it."""
    name = f"tm_test_{uuid.uuid4().hex[:16]}"
    server = create_engine(_driver_url(admin_url), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    server.dispose()
    try:
        yield make_url(admin_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        server.dispose()


def _driver_url(url: str) -> str:
    return make_url(url).set(drivername="mysql+pymysql").render_as_string(hide_password=False)
