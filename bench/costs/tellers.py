"""Tellers: play a story in this process or over HTTP, and say what each phase has cost."""

import http.client
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flask import Flask

from bench.costs.story import Phase, Request, Story
from bench.speed.processes import cpu_seconds

Ask = Callable[[Request], tuple[int, bytes]]


@dataclass(frozen=True)
class Cost:
    """What one request of a phase has cost: seconds of CPU in Python and in the database."""

    phase: Phase
    python: float
    database: float


def play(
    story: Story,
    ask: Ask,
    python_cpu: Callable[[], float],
    database: int | None = None,
    begin: Callable[[], None] = lambda: None,
) -> Iterator[Cost]:
    """Play the story, and yield after each phase what it has cost; `begin` is called as each one begins."""
    phase = next(story)
    while True:
        for request in phase.requests:
            # Written before the clock runs.
            _ = request.data
        begin()
        before = python_cpu(), _cpu(database)
        bodies = [ask(request) for request in phase.requests]
        after = python_cpu(), _cpu(database)
        for status, body in bodies:
            if status != phase.status:
                raise RuntimeError(f"{phase.name}: {status} {body[:300]!r}")
        number = len(phase.requests)
        yield Cost(phase, (after[0] - before[0]) / number, (after[1] - before[1]) / number)
        try:
            phase = story.send([json.loads(body).get("data") for _, body in bodies])
        except StopIteration:
            return


def _cpu(session: int | None) -> float:
    return 0.0 if session is None else cpu_seconds(session)


def here(app: Flask, key: str) -> Ask:
    """Return what asks the application in this process."""

    def ask(request: Request) -> tuple[int, bytes]:
        path, _, query = request.path.partition("?")
        started: list[str] = []
        environ = {
            "REQUEST_METHOD": request.method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(request.data),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False, "wsgi.multiprocess": True, "wsgi.run_once": False,
            "HTTP_HOST": "127.0.0.1", "HTTP_X_API_KEY": key, "HTTP_PREFER": "return=minimal",
            "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(request.data)),
        }  # fmt: skip
        chunks = app.wsgi_app(environ, lambda status, _headers, _error=None: started.append(status))  # type: ignore[arg-type, return-value]
        answer = b"".join(chunks)
        chunks.close()  # type: ignore[attr-defined]
        return int(started[0][:3]), answer

    return ask


def over_http(port: int, key: str) -> Ask:
    """Return what asks the server on this port, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"X-API-Key": key, "Content-Type": "application/json", "Prefer": "return=minimal"}

    def ask(request: Request) -> tuple[int, bytes]:
        connection.request(request.method, request.path, request.data or None, headers)
        response = connection.getresponse()
        return response.status, response.read()

    return ask
