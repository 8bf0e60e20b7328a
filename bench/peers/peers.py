"""Peers: the other queues, with the commands that start eight workers of each."""

import json
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers import stores
from bench.peers.install import PYTHON
from bench.peers.stores import Store, StoreMaker

WORKERS = 8
_PROGRAMS = Path(__file__).with_name("programs")
_RECORD = struct.Struct("<qq")
_SECONDS_TO_END = 120


@dataclass(frozen=True)
class Peer:
    """Another queue."""

    name: str
    program: str
    store: StoreMaker
    #: So many of these commands, each with the arguments for its share of the workers.
    workers: tuple[tuple[str, ...], ...]
    setup: tuple[str, ...] = ()
    #: It has a documented way to enqueue many tasks at once.
    has_batches: bool = False
    #: Which part of the tasks it gets, so that a slow one does not take all the time.
    share: float = 1.0


_CELERY = (("celery", "-A", "with_celery", "worker", "--concurrency", f"{WORKERS}", "--loglevel", "WARNING"),)
_HUEY = (("huey_consumer", "with_huey.huey", "-k", "process", "-w", f"{WORKERS}"),)
_DRAMATIQ = (("dramatiq", "with_dramatiq", "--processes", "2", "--threads", f"{WORKERS // 2}"),)
_PROCRASTINATE = ("procrastinate", "--app", "with_procrastinate.app")
PEERS = (
    Peer("Celery, Redis", "with_celery", stores.redis, _CELERY),
    Peer("Celery, MariaDB", "with_celery", stores.mariadb, _CELERY, share=0.5),
    Peer(
        "RQ, Redis", "with_rq", stores.redis, (("rq", "worker-pool", "--num-workers", f"{WORKERS}", "--quiet"),),
        has_batches=True, share=0.1,
    ),
    Peer(
        "RQ without forks, Redis", "with_rq", stores.redis,
        (("rq", "worker-pool", "--num-workers", f"{WORKERS}", "--worker-class", "rq.SimpleWorker", "--quiet"),),
        has_batches=True, share=0.5,
    ),
    Peer("Huey, SQLite", "with_huey", stores.sqlite, _HUEY),
    Peer(
        "Procrastinate, PostgreSQL", "with_procrastinate", stores.postgresql,
        ((*_PROCRASTINATE, "worker", "--concurrency", f"{WORKERS // 2}"),) * 2,
        setup=(*_PROCRASTINATE, "schema", "--apply"), has_batches=True,
    ),
    Peer("Dramatiq, Redis", "with_dramatiq", stores.redis, _DRAMATIQ),
)  # fmt: skip


class Crew:
    """A peer at work: its producer, its workers and what these have begun."""

    def __init__(self, peer: Peer, store: Store, folder: Path) -> None:
        self._peer = peer
        self._begun = folder / "begun"
        self._begun.mkdir()
        self._log = folder / "log"
        self._environment = {
            **os.environ,
            "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(_PROGRAMS),
            "PEERS_STORE": store.url,
            "PEERS_STARTED": str(self._begun),
            "RQ_REDIS_URL": store.url,
            "C_FORCE_ROOT": "1",
        }

    def produce(self, how: str, number: int) -> dict[str, Any]:
        """Enqueue so many tasks, and return how long that took."""
        command = (str(PYTHON), "produce.py", self._peer.program, how, str(number))
        done = subprocess.run(command, cwd=_PROGRAMS, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{self._peer.name} does not enqueue: {done.stderr.strip()[-500:]}")
        produced: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return produced

    def set_up(self) -> None:
        """Prepare the store, where that is wanted."""
        if self._peer.setup:
            subprocess.run(self._peer.setup, cwd=_PROGRAMS, env=self._environment, capture_output=True, check=True)

    @contextmanager
    def workers(self) -> Iterator[list[int]]:
        """Let the workers work until the block ends, and yield their sessions."""
        with self._log.open("ab") as log:
            started = [
                subprocess.Popen(
                    command, cwd=_PROGRAMS, env=self._environment, stdout=log, stderr=log, start_new_session=True
                )
                for command in self._peer.workers
            ]
        try:
            yield [process.pid for process in started]
        finally:
            for process in started:
                process.terminate()
            for process in started:
                try:
                    process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, 9)
                    process.wait()

    def begun(self) -> list[tuple[int, int]]:
        """Return the number of each task that has begun, and when, in nanoseconds of the monotonic clock."""
        return [record for file in self._begun.iterdir() for record in _RECORD.iter_unpack(_whole(file.read_bytes()))]

    def wait_for(self, number: int) -> None:
        """Return when so many tasks have begun."""
        give_up_at = time.monotonic() + _SECONDS_TO_END
        while (begun := sum(file.stat().st_size for file in self._begun.iterdir()) // _RECORD.size) < number:
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"{self._peer.name} has begun {begun} of {number} tasks: {self._end_of_log()}")
            time.sleep(0.01)

    def _end_of_log(self) -> str:
        return self._log.read_text(errors="replace").strip()[-500:] if self._log.exists() else ""


def _whole(records: bytes) -> bytes:
    return records[: len(records) // _RECORD.size * _RECORD.size]
