"""The stage: servers behind a proxy that fails, with their task types and schedules, and all clients."""

import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

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

_THREADS = 3
# An instant that has passed when a schedule is made is not one of its own.
_UNTIL_SCHEDULES_START = timedelta(seconds=5)
_SECONDS_TO_START = 60


@dataclass(frozen=True)
class Crew:
    """How many processes of each kind there are."""

    servers: int = 3
    workers: int = 12
    producers: int = 4


class Stage:
    """All that runs on one database. `url` leads straight there, `served_url` is the way that the servers go."""

    def __init__(self, folder: Path, url: str, served_url: str, *, application: str, crew: Crew, seed: int) -> None:
        self.folder = folder
        self.url = url
        self.servers: list[Server] = []
        self.workers: list[Program] = []
        self.producers: list[Program] = []
        self._settings = Settings(database_url=url)
        migrate(self._settings)
        self.keys = self._make_keys()
        self.journal = Journal(folder / "journals" / "admin.jsonl")
        self.board = Board(folder / "board")
        ports = choose_ports(2 * crew.servers)
        own_ports, self.proxied_ports = ports[: crew.servers], ports[crew.servers :]
        pairs = list(zip(self.proxied_ports, own_ports, strict=True))
        self.proxy = Proxy("http-proxy", folder, pairs, is_database=False, seed=seed)
        try:
            for number, port in enumerate(own_ports):
                server = Server(f"server-{number}", port, served_url, folder, application=application)
                self.servers.append(server)
            self._wait_for_servers()
            self._register()
            self._start_clients(crew, seed)
        except BaseException:
            self.end()
            raise

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
        """Let the clients finish what they are at, and end."""
        self.board.phase = STOPPED
        for program in [*self.workers, *self.producers]:
            program.end()

    def end(self) -> None:
        """End everything."""
        for program in self.programs:
            program.kill()
        self.proxy.end()

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end()

    def _make_keys(self) -> dict[str, str]:
        database = Database(self._settings)
        scopes = {"admin": ("admin",), "worker": ("worker",), "producer": ("producer", "read")}
        keys = {name: make_key(database, *of_key, name=name) for name, of_key in scopes.items()}
        database.dispose()
        return keys

    def _wait_for_servers(self) -> None:
        give_up_at = time.monotonic() + _SECONDS_TO_START
        for server in self.servers:
            while (text := server.log.read_text(errors="replace")).count("Started worker-") < 2:
                if time.monotonic() > give_up_at or not server.is_running:
                    raise RuntimeError(f"{server.name} does not start: {text[-3000:]}")
                time.sleep(0.1)

    def _register(self) -> None:
        api = Api(self.proxied_ports, self.keys["admin"], self.journal)
        anything = {"version": "1", "param_schema": {"type": "object"}}
        for name, policies in TYPES.items():
            self._post(api, "/task-types/register", {"name": name, **anything, **policies})
        starts_at = (datetime.now(timezone.utc) + _UNTIL_SCHEDULES_START).isoformat(timespec="seconds")
        for seconds in INTERVALS:
            schedule = {"name": f"every {seconds} s", "type": "tick", "params": {}, "interval_seconds": seconds}
            rule = {"starts_at": starts_at, "overlap": "queue", "catch_up": "all", "catch_up_limit": 1000}
            self._post(api, "/schedules", {**schedule, **rule})
        api.close()

    def _post(self, api: Api, path: str, body: dict[str, Any]) -> None:
        answer = api.must("POST", path, body)
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path}: {answer}")

    def _start_clients(self, crew: Crew, seed: int) -> None:
        config = {
            "ports": self.proxied_ports,
            "worker_key": self.keys["worker"],
            "producer_key": self.keys["producer"],
            "threads": _THREADS,
            "first_producer": crew.workers * _THREADS,
            "seed": seed,
        }
        (self.folder / "config.json").write_text(json.dumps(config))
        self.producers = [client_program("producers", self.folder, number) for number in range(crew.producers)]
        self.workers = [client_program("workers", self.folder, number) for number in range(crew.workers)]
