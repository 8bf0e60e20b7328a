"""Processes that are killed and started again: servers with their web processes, workers, producers, proxies."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from app.settings import PREFIX, ROOT
from bench.torture.plan import CACHE_SECONDS
from tests.support.server import server_command

_SECONDS_TO_END = 20


class Program:
    """A program of ours with a log of its own; it is started again when it was killed."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = folder / "logs" / f"{name}.log"
        self._command = command
        self._environment = environment
        self._start_at: float | None = None
        self.was_killed = False
        self._start()

    def _start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._start_at = None
        self.was_killed = False

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End it and its children, as a crash of their host would; it comes back a moment later."""
        self.was_killed = True
        # The group is the program's own: it was started in a new session.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def watch(self, *, restart: bool = True) -> None:
        """Start it again if it has been gone for a moment."""
        if self.is_running or not restart:
            return
        now = time.monotonic()
        if self._start_at is None:
            self._start_at = now + random.uniform(0.2, 2.0)
        elif now > self._start_at:
            self._start()

    def end(self) -> None:
        """Let it end in peace, or by force."""
        if self.is_running:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_SECONDS_TO_END)
        if self.is_running:
            self.kill()


class Server(Program):
    """A granian with several web processes, each with a wall clock of its own."""

    def __init__(
        self, name: str, port: int, database_url: str, folder: Path, *, application: str, **settings: str
    ) -> None:
        self.port = port
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment.update(
            {
                f"{PREFIX}DATABASE_URL": database_url,
                f"{PREFIX}CACHE_SECONDS": str(CACHE_SECONDS),
                f"{PREFIX}POLL_MAX_SECONDS": "1",
                **{PREFIX + key.upper(): value for key, value in settings.items()},
            }
        )
        command = server_command(port, processes=2, application=application)
        respawn = ["--respawn-failed-workers", "--respawn-interval", "0.5", "--backlog", "512"]
        super().__init__(name, [*command[:-1], *respawn, command[-1]], folder, environment)

    def web_processes(self) -> list[int]:
        """Return the ids of its web processes that run now."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except OSError:
            return []
        return [int(child) for child in children.split() if b"resource_tracker" not in _command_line(child)]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def client_program(kind: str, folder: Path, number: int) -> Program:
    """Start a process of workers or producers; they need no installed package."""
    command = [sys.executable, "-S", "-m", f"bench.torture.{kind}", str(folder), str(number)]
    return Program(f"{kind}-{number}", command, folder)


class Proxy:
    """The proxy's process, and the weather in it."""

    def __init__(self, name: str, folder: Path, ports: list[tuple[int, int]], *, is_database: bool, seed: int) -> None:
        config = folder / f"{name}.json"
        config.write_text(json.dumps({"ports": ports, "is_database": is_database, "seed": seed}))
        self._counts = config.with_suffix(".counts")
        self.log = folder / "logs" / f"{name}.log"
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-m", "bench.torture.proxy", str(config)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("wb"),
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"the proxy does not start: {self.log.read_text()}")

    def set_weather(self, chances: dict[str, float]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(chances).encode() + b"\n")
        self._process.stdin.flush()

    def counts(self) -> dict[str, int]:
        try:
            counts: dict[str, int] = json.loads(self._counts.read_text())
        except (OSError, ValueError):
            return {}
        return counts

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def signal_all(pids: list[int], what: signal.Signals) -> None:
    """Send a signal to processes that may be gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)
