"""Stage: a private database, the README's production server on it, and tasks to work on."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from app.lifecycle import TaskStatus
from app.settings import Settings
from app.storage.database import Database
from bench.speed.load import Program, Requests, Tally, run
from bench.speed.processes import cpu_seconds
from bench.speed.programs import empty_view
from bench.tables import add_tasks, create_tables, temporary_url
from tests.support.client import make_key
from tests.support.mariadb import PrivateServer
from tests.support.server import LiveServer, start_server, stop_server

#: What the README advises for two cores.
PROCESSES = 2
_LIMITED = "limited"
# What MariaDB and MySQL have by default; the server of the tests has less.
_BUFFER = "--innodb-buffer-pool-size=128M"
SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "minLength": 1, "maxLength": 500},
        "algorithm": {"enum": ["sha256", "sha512"]},
        "number": {"type": "integer", "minimum": 0},
    },
    "required": ["path", "algorithm"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Cost:
    """What a run was, and what it cost besides."""

    tally: Tally
    server_cpu: float
    database_cpu: float


@dataclass(frozen=True)
class Stage:
    """What scenarios are played on."""

    kind: str
    database: Database
    url: str
    server: LiveServer
    maria: PrivateServer | None
    requests: Requests

    @property
    def port(self) -> int:
        """Where the server listens."""
        return int(self.server.url.rsplit(":", 1)[1])

    @property
    def sessions(self) -> list[int]:
        """Those of the server and of its database."""
        process = self.maria.process if self.maria is not None else None
        return [self.server.process.pid, *([process.pid] if process is not None else [])]

    def play(self, program: Program, workers: int, seconds: float) -> Cost:
        """Let so many workers do their steps, and return what came of it and what it cost."""
        return self.watch(lambda: run(self.port, program, workers, seconds))

    def watch(self, play: Callable[[], Tally]) -> Cost:
        """Play, and return what came of it and what it cost."""
        before = self._cpu()
        tally = play()
        return Cost(tally, *(after - was for after, was in zip(self._cpu(), before, strict=True)))

    def fill(self, pending: int) -> None:
        """Leave nothing but so many pending tasks, so that every run begins alike."""
        is_mysql = self.maria is not None
        with self.database.engine.connect() as connection:
            for table in ("attempts", "tasks"):
                if is_mysql:
                    connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=0")
                    connection.exec_driver_sql(f"TRUNCATE TABLE {table}")
                    connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=1")
                else:
                    connection.exec_driver_sql(f"DELETE FROM {table}")
        add_tasks(self.database, pending, TaskStatus.PENDING)
        with self.database.engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE TABLE tasks" if is_mysql else "ANALYZE").close()

    def _cpu(self) -> tuple[float, float]:
        server, *database = map(cpu_seconds, self.sessions)
        return server, sum(database)


@contextmanager
def open_stage(kind: str, *options: str, processes: int = PROCESSES, **settings: str) -> Iterator[Stage]:
    """Start all that is needed, and end it; `options` are MariaDB's, `settings` the server's."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tm-bench-")))
        maria = stack.enter_context(PrivateServer(_BUFFER, *options)) if kind == "mariadb" else None
        url = stack.enter_context(temporary_url(kind, maria.url if maria else None, folder))
        # What prepares the tables need not be safe from power cuts.
        database = Database(Settings(database_url=url, sqlite_synchronous="off", database_timeout_seconds=120))
        stack.callback(database.dispose)
        create_tables(database, SCHEMA)
        key = make_key(database, "worker", "producer", "read")
        more: dict[str, Any] = {"processes": processes, **settings}
        server = start_server(url, key, folder / "server.log", **more)
        stack.callback(stop_server, server)
        yield Stage(kind, database, url, server, maria, Requests(key))


@contextmanager
def another_server(stage: Stage, url: str, *, processes: int, **settings: str) -> Iterator[Stage]:
    """Yield the stage with one more server, which knows the database by this URL."""
    log = stage.server.log.with_suffix(".another")
    more: dict[str, Any] = {"processes": processes, **settings}
    server = start_server(url, stage.server.admin_key, log, **more)
    try:
        yield replace(stage, server=server)
    finally:
        stop_server(server)


@contextmanager
def limited_account(stage: Stage, limit: str) -> Iterator[str]:
    """Yield the stage's URL for an account that the database lets do no more than `limit` says."""
    assert stage.maria is not None
    with stage.maria.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER {_LIMITED}@'127.0.0.1'")
        cursor.execute(f"GRANT ALL ON *.* TO {_LIMITED}@'127.0.0.1' WITH {limit}")
    try:
        yield make_url(stage.url).set(username=_LIMITED).render_as_string(hide_password=False)
    finally:
        with stage.maria.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP USER {_LIMITED}@'127.0.0.1'")


@contextmanager
def open_empty_view(interface: str) -> Iterator[Callable[[float], Cost]]:
    """Start an empty Flask view, and yield what plays eight workers on it for so many seconds."""
    with tempfile.TemporaryDirectory(prefix="tm-bench-") as folder:
        server = start_server(
            "", "", Path(folder) / "log", processes=PROCESSES, application=f"bench.speed.empty:{interface}",
            interface=interface,
        )  # fmt: skip
        port = int(server.url.rsplit(":", 1)[1])
        try:

            def play(seconds: float) -> Cost:
                before = cpu_seconds(server.process.pid)
                tally = run(port, partial(empty_view, Requests("")), 8, seconds)
                return Cost(tally, cpu_seconds(server.process.pid) - before, 0.0)

            yield play
        finally:
            stop_server(server)
