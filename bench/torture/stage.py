"""The stage: a database that may be killed, servers behind a proxy, a proxy before the database, and all clients."""

import json
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pymysql

from app.settings import Settings
from app.setup.migrations import migrate
from app.storage.database import Database
from bench.torture.api import Api
from bench.torture.board import Board
from bench.torture.journal import Journal
from bench.torture.plan import DRAINING, INTERVALS, STOPPED, TYPES
from bench.torture.ports import choose_ports
from bench.torture.servers import Program, Proxy, Server, client_program
from tests.support.client import make_key
from tests.support.mariadb import PrivateServer

# As a careful operator has it: nothing that was acknowledged may be lost by a crash.
_DURABLE = (
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-doublewrite=1",
    "--innodb-buffer-pool-size=512M",
    "--loose-innodb-log-file-size=96M",
    "--max-connections=60",
    "--max-connect-errors=1000000000",
)
_SCHEMA = "torture"
_THREADS = 3
# An instant that has passed when a schedule is made is not one of its own.
_UNTIL_SCHEDULES_START = timedelta(seconds=5)


class Stage:
    """All that runs during a torture on MariaDB."""

    def __init__(self, folder: Path, fast: Path | None, *, seed: int, servers: int, workers: int, producers: int) -> None:
        self.folder = folder
        self.servers: list[Server] = []
        self.workers: list[Program] = []
        self.producers: list[Program] = []
        for name in ("logs", "journals"):
            (folder / name).mkdir()
        ports = choose_ports(2 * servers + 2)
        database_port, proxied_database = ports[:2]
        own_ports, self.proxied_ports = ports[2 : 2 + servers], ports[2 + servers :]
        self.database = PrivateServer(*_DURABLE, parent=fast, port=database_port)
        with self.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {_SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        self.url = f"{self.database.url}{_SCHEMA}"
        self.settings = Settings(database_url=self.url)
        migrate(self.settings)
        self.keys = self._make_keys()
        self.journal = Journal(folder / "journals" / "admin.jsonl")
        self.board = Board(folder / "board")
        self.database_proxy = Proxy(
            "database-proxy", folder, [(proxied_database, database_port)], is_database=True, seed=seed
        )
        pairs = list(zip(self.proxied_ports, own_ports, strict=True))
        self.http_proxy = Proxy("http-proxy", folder, pairs, is_database=False, seed=seed)
        url = f"mysql://root@127.0.0.1:{proxied_database}/{_SCHEMA}"
        application = "bench.torture.shifted:application"
        for number, port in enumerate(own_ports):
            self.servers.append(Server(f"server-{number}", port, url, folder, application=application))
        self._wait_for_servers()
        self._register()
        config = {
            "ports": self.proxied_ports,
            "worker_key": self.keys["worker"],
            "producer_key": self.keys["producer"],
            "threads": _THREADS,
            "first_producer": workers * _THREADS,
            "seed": seed,
        }
        (folder / "config.json").write_text(json.dumps(config))
        self.producers = [client_program("producers", folder, number) for number in range(producers)]
        self.workers = [client_program("workers", folder, number) for number in range(workers)]

    def connect(self) -> pymysql.connections.Connection:
        """Return a connection straight to the database, without a proxy."""
        return self.database.connect(database=_SCHEMA, autocommit=True, read_timeout=60)

    @property
    def programs(self) -> list[Program]:
        return [*self.servers, *self.workers, *self.producers]

    def watch(self) -> None:
        """Start again what was killed; producers that have ended by themselves while draining stay so."""
        is_draining = self.board.phase == DRAINING
        for program in [*self.servers, *self.workers]:
            program.watch()
        for program in self.producers:
            program.watch(restart=not is_draining or program.was_killed)

    def end_clients(self) -> None:
        self.board.phase = STOPPED
        for program in [*self.workers, *self.producers]:
            with suppress(Exception):
                program.process.wait(15)
            program.end()

    def end(self) -> None:
        """End everything; twice is as good as once."""
        for program in self.programs:
            program.kill()
        for name in ("http_proxy", "database_proxy"):
            if hasattr(self, name):
                getattr(self, name).end()
        self.database.stop()

    def _make_keys(self) -> dict[str, str]:
        database = Database(self.settings)
        scopes = {"admin": ("admin",), "worker": ("worker",), "producer": ("producer", "read")}
        keys = {name: make_key(database, *of_key, name=name) for name, of_key in scopes.items()}
        database.dispose()
        return keys

    def _wait_for_servers(self) -> None:
        give_up_at = time.monotonic() + 60
        for server in self.servers:
            while server.log.read_text(errors="replace").count("Started worker-") < 2:
                if time.monotonic() > give_up_at or not server.is_running:
                    raise RuntimeError(f"{server.name} does not start: {server.log.read_text(errors='replace')[-3000:]}")
                time.sleep(0.1)

    def _register(self) -> None:
        api = Api(self.proxied_ports, self.keys["admin"], self.journal)
        for name, policies in TYPES.items():
            self._post(api, "/task-types/register", {"name": name, "version": "1", "param_schema": {"type": "object"}, **policies})
        starts_at = (datetime.now(timezone.utc) + _UNTIL_SCHEDULES_START).isoformat(timespec="seconds")
        for seconds in INTERVALS:
            schedule = {"name": f"every {seconds} s", "type": "tick", "interval_seconds": seconds, "starts_at": starts_at.replace("+00:00", "Z")}
            self._post(api, "/schedules", {**schedule, "params": {}, "overlap": "queue", "catch_up": "all", "catch_up_limit": 1000})
        api.close()

    def _post(self, api: Api, path: str, body: dict[str, Any]) -> None:
        answer = api.insist("POST", path, body, go_on=lambda: True)
        assert answer is not None
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path}: {answer.status} {answer.body}")
