"""Stores: the private servers on which the peers keep their tasks, none of which syncs every commit to the disk.

A power cut costs each of them about its last second, as it does the MariaDB of these measurements.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.peers.install import program
from tests.support.mariadb import PrivateServer
from tests.support.ports import find_free_port

_SECONDS_TO_START = 30


@dataclass(frozen=True)
class Store:
    """Where tasks are kept, and the session of the processes that keep them; none for a library."""

    url: str
    session: int | None


StoreMaker = Callable[[], AbstractContextManager[Store]]


@contextmanager
def _process(command: list[str], is_ready: Callable[[], bool], **options: object) -> Iterator[int]:
    """Run a server until the block ends, and yield its session."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )
    try:
        give_up_at = time.monotonic() + _SECONDS_TO_START
        while not is_ready():
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"{Path(command[0]).name} does not start")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def redis() -> Iterator[Store]:
    """Redis, with its log of changes synced once a second: without it a restart loses up to an hour."""
    port = find_free_port()
    with tempfile.TemporaryDirectory(prefix="tm-redis-") as folder:
        command = [program("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--dir", folder, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
        ping = [program("redis-cli", "redis-tools"), "-p", str(port), "ping"]
        with _process(command, lambda: b"PONG" in subprocess.run(ping, capture_output=True).stdout) as session:
            yield Store(f"redis://127.0.0.1:{port}/0", session)


@contextmanager
def mariadb() -> Iterator[Store]:
    """MariaDB, as TaskManager's in the same run."""
    with PrivateServer() as server:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE peers CHARACTER SET utf8mb4")
        assert server.process is not None
        yield Store(f"mysql+pymysql://root@127.0.0.1:{server.port}/peers", server.process.pid)


@contextmanager
def postgresql() -> Iterator[Store]:
    """PostgreSQL, which answers before its log is synced (synchronous_commit=off)."""
    port = find_free_port()
    options: dict[str, object] = {}
    if os.geteuid() == 0:
        # It refuses to run as root.
        options["user"] = "nobody"
    folder = Path(tempfile.mkdtemp(prefix="tm-pg-"))
    try:
        if options:
            shutil.chown(folder, pwd.getpwnam("nobody").pw_uid)
        data = str(folder / "data")
        made = [program("initdb", "postgresql"), "-D", data, "-U", "peers", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **options)  # type: ignore[call-overload]
        command = [program("postgres", "postgresql"), "-D", data, "-p", str(port), "-k", str(folder)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "synchronous_commit=off"]
        create = [program("psql", "postgresql-client"), "-h", "127.0.0.1", "-p", str(port), "-U", "peers"]
        create += ["-d", "postgres", "-c", "CREATE DATABASE peers"]

        def is_ready() -> bool:
            return not subprocess.run(create, capture_output=True).returncode

        with _process(command, is_ready, **options) as session:
            yield Store(f"postgresql://peers@127.0.0.1:{port}/peers", session)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sqlite() -> Iterator[Store]:
    """A file, which Huey has SQLite write in its log without syncing every commit."""
    with tempfile.TemporaryDirectory(prefix="tm-sqlite-") as folder:
        yield Store(str(Path(folder) / "tasks.db"), None)
