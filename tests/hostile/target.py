"""A live server under attack: the command that the README recommends, raw bytes, its memory and its log."""

import http.client
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from app.settings import PREFIX, ROOT
from app.storage.database import Database
from app.storage.models import tasks
from tests.support.ports import find_free_port

SECONDS_TO_START = 30
# What no answer may take, on a machine that has much else to do: it tells "bounded" from "for ever".
PATIENCE = 10.0
_SILENCE_AFTER_AN_ANSWER = 0.3
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


def recommended_command(program: str, port: int) -> list[str]:
    """Return the README's command for this server, for this Python and port, with two processes."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"{program} "))
    _, *arguments = shlex.split(line.replace("8000", str(port)).replace("--workers 4", "--workers 2"))
    return [str(Path(sys.executable).parent / program), *arguments]


@dataclass(frozen=True, slots=True)
class Answer:
    """All that came back on one connection until the server closed it, and how long that took."""

    data: bytes
    seconds: float
    is_closed: bool

    @property
    def statuses(self) -> list[int]:
        """The status of each answer on the connection."""
        return [int(status) for status in _STATUS.findall(self.data)]


class Target:
    """A server of one kind on a database with an admin's key."""

    def __init__(self, program: str, database: Database, key: str, log: Path, *options: str) -> None:
        self.program, self.database, self.key, self.log = program, database, key, log
        self.port = find_free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        url = database.engine.url.render_as_string(hide_password=False)
        environment[f"{PREFIX}DATABASE_URL"] = url.replace("mysql+pymysql", "mysql")
        environment[f"{PREFIX}SQLITE_SYNCHRONOUS"] = "normal"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*recommended_command(program, self.port), *options],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        give_up_at = time.monotonic() + SECONDS_TO_START
        while True:
            with suppress(OSError):
                self.call("GET", "/api/health")
                return
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                self.stop()
                raise RuntimeError(f"{self.program} does not start:\n{self.log_text()[-5000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server and all its processes: the group is its own."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def send(self, data: bytes, *, silence: float) -> Answer:
        """Send raw bytes and return what comes back until the server closes or says nothing more.

        It has `silence` seconds to begin an answer: whether it waits for the end of the request cannot be seen.
        """
        began = time.monotonic()
        received = bytearray()
        is_closed = True
        with self.connect() as connection:
            # The server may answer and close before it has read all.
            with suppress(ConnectionError, TimeoutError):
                connection.sendall(data)
            connection.settimeout(silence)
            try:
                while part := connection.recv(65536):
                    received += part
                    connection.settimeout(_SILENCE_AFTER_AN_ANSWER)
                    if time.monotonic() - began > PATIENCE:
                        raise TimeoutError
            except TimeoutError:
                is_closed = False
            except ConnectionError:
                pass
        return Answer(bytes(received), time.monotonic() - began, is_closed)

    def call(self, method: str, path: str, body: Any = None, *, patience: float = PATIENCE) -> tuple[int, Any]:
        """Send a proper request and return the status and the JSON of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        try:
            text = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, text, {"X-API-Key": self.key})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def resident_bytes(self) -> int:
        """Return the memory of all processes of the server."""
        pages = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.getsid(int(folder.name)) == self._process.pid:
                    pages += int((folder / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def log_text(self) -> str:
        """Return what the server has written."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def head(self, method: str = "POST", path: str = "/api/tasks", *headers: str) -> bytes:
        """Return the beginning of a request with a good key: what follows is up to the attack."""
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"X-API-Key: {self.key}", *headers]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def count_tasks(self) -> int:
        """Return how many tasks there are."""
        return int(self.database.read(lambda tx: tx.execute(select(func.count()).select_from(tasks)).scalar()))

    def must_work(self) -> None:
        """Fail unless a task goes its whole way."""
        assert self.call("POST", "/api/tasks", {"type": "after", "params": {}})[0] == 201
        status, answer = self.call("POST", "/api/tasks/claim", {"worker_id": "honest", "types": ["after"]})
        assert status == 200, answer
        done = {"worker_id": "honest", "success": True, "lease_token": answer["data"]["lease_token"]}
        assert self.call("POST", f"/api/tasks/{answer['data']['id']}/complete", done)[0] == 200
