"""The server and the worker: programs of their own, started and stopped in order."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path

from app.settings import PREFIX, ROOT
from examples.demo.api import Api
from examples.demo.failure import Failure
from examples.demo.stop import pause

WORKER = "examples/workers/python/handlers.py"
_PROCESSES = 2
_SECONDS_TO_START = 30
_SECONDS_TO_STOP = 10
_SECONDS_FOR_REQUESTS = 2


class Program:
    """A running program in a process group of its own, so that Ctrl-C in a terminal reaches us alone."""

    def __init__(
        self, name: str, command: list[str], *, log: Path | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.name, self.log = name, log
        with log.open("ab") if log else nullcontext(subprocess.PIPE) as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._reader: threading.Thread | None = None

    def tell(self, say: Callable[[str], None]) -> None:
        """Hand every line that the program writes to `say`."""

        def read() -> None:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                say(line.decode("utf-8", "replace").rstrip())

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

    def check(self) -> None:
        """Raise Failure if the program has ended."""
        if self._process.poll() is None:
            return
        self._finish_reading()
        hint = f"; {self.log} says why" if self.log else ""
        raise Failure(f"The {self.name} has ended by itself (exit code {self._process.returncode}){hint}.")

    def stop(self) -> None:
        """Ask the program to end, twice if need be; what is still there then is killed."""
        for _ask in range(2):
            if self._process.poll() is None:
                self._process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_SECONDS_TO_STOP)
        # Also the server's own processes: the group is theirs alone.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._finish_reading()

    def _finish_reading(self) -> None:
        if self._reader is not None:
            self._reader.join(timeout=1)


def check_port(host: str, port: int) -> None:
    """Raise Failure if the server could not listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            # What was closed a moment ago is no obstacle; what listens now is.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except PermissionError:
        raise Failure(
            f"This user may not listen on port {port}: choose one from 1024, for example PORT=8000."
        ) from None
    except socket.gaierror:
        raise Failure(f"{host} is not a name or an address of this machine: try HOST=127.0.0.1.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Failure(
                f"Port {port} on {host} is in use: stop what listens there, or choose another one, "
                f"for example PORT={port + 1 if port < 65535 else 8000}."
            ) from None
        raise Failure(f"Nothing can listen on {host}, port {port} ({error.strerror}): try HOST=127.0.0.1.") from None


def start_server(host: str, port: int, log: Path) -> Program:
    """Start the production server, and return at once."""
    if find_spec("granian") is None:
        raise Failure("The package granian is missing: start with `make run`, or run `pip install '.[server]'`.")
    # Granian takes addresses, people write names.
    address = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    # The timeout, because granian waits for ever for processes that were still starting when it was asked to stop.
    command = [
        *(sys.executable, "-m", "granian", "--interface", "rsgi", "--http", "1", "--no-ws", "--no-access-log"),
        *("--host", address, "--port", str(port), "--workers", str(_PROCESSES)),
        *("--workers-kill-timeout", str(_SECONDS_FOR_REQUESTS), "rsgi:application"),
    ]
    return Program("server", command, log=log)


def await_health(server: Program, api: Api) -> list[str]:
    """Return the server's warnings, once it is healthy."""
    give_up_at = time.monotonic() + _SECONDS_TO_START
    while True:
        server.check()
        try:
            warnings: list[str] = api.get("/health")["warnings"]
            return warnings
        except Failure:
            if time.monotonic() > give_up_at:
                raise Failure(f"The server does not get healthy; {server.log} says why.") from None
        pause(0.05)


def start_worker(url: str, key: str, pause_seconds: float) -> Program:
    """Start the sample worker as anybody would, with nothing but the server's URL and a key."""
    own = {"TM_URL": url, "TM_KEY": key, "PAUSE_SECONDS": str(pause_seconds), "PYTHONIOENCODING": "utf-8"}
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return Program("worker", [sys.executable, WORKER], env={**others, **own})
