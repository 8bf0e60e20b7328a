"""The application as granian takes it, by RSGI: every request is read whole before it gets a thread.

Under WSGI a thread reads the body as slowly as it comes, for as long as the client likes (granian has no limit for
that), and a few such clients hold every process. Here a slow body occupies nothing but its bytes, for a bounded time.
"""

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from app.web.requests import MAX_FORGOTTEN_BYTES, WsgiApp

SECONDS_TO_READ = 30.0
# Nearly all bodies are small. Of those that are not, only so many are held at the same time; where one more comes, the
# one that has been coming for longest is given up, so that clients that have ceased to send hold up nobody.
_SMALL_BYTES = 64 * 1024
_LARGE_AT_ONCE = 16


class Headers(Protocol):
    """The headers of a request, by their names in lower case."""

    def __contains__(self, name: str) -> bool: ...

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of a header."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return all headers; one that was sent twice is there twice."""


class Scope(Protocol):
    """What granian says of a request."""

    http_version: str
    server: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str
    headers: Headers


class Exchange(Protocol):
    """The way in for the body, and out for the answer."""

    def __call__(self) -> "asyncio.Future[bytes]":
        """Return the body once it is whole."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send the answer."""


class WholeRequests:
    """Serves a WSGI application by RSGI."""

    def __init__(
        self,
        app: WsgiApp,
        *,
        connections: int,
        waiting: int,
        max_body_bytes: int,
        seconds_to_read: float = SECONDS_TO_READ,
    ) -> None:
        """`connections` to the database are shared by all requests but for `waiting` ones, which mostly sleep."""
        self._app = app
        # Where all requests share one connection, a thread for each would only wait for it, and cost twice as much.
        self._is_one_by_one = connections == 1
        self._threads = ThreadPoolExecutor(waiting + connections, thread_name_prefix="request")
        self._max_body_bytes = max_body_bytes
        self._seconds_to_read = seconds_to_read
        self._places = asyncio.Semaphore(_LARGE_AT_ONCE)
        # Those that are still coming, the first to have become large first.
        self._coming: dict[_Body, asyncio.Task[bytes]] = {}

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Answer one request."""
        body = _Body(self._max_body_bytes)
        try:
            if _has_body(scope):
                await self._read_in_time(exchange, body, is_small=_is_small(scope))
            if self._is_one_by_one and not _may_wait(scope):
                self._answer(scope, body, exchange)
            else:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, scope, body, exchange)
        finally:
            if body.has_place:
                self._places.release()

    async def _read_in_time(self, exchange: Exchange, body: "_Body", *, is_small: bool) -> None:
        loop = asyncio.get_running_loop()
        # Part by part costs several times as much.
        reading = exchange() if is_small else loop.create_task(self._read_parts(exchange, body))

        def give_up() -> None:
            if reading.cancel():
                body.is_whole = False

        timer = loop.call_later(self._seconds_to_read, give_up)
        try:
            body.add(await reading)
        except (RuntimeError, OSError):
            body.is_whole = False
        except asyncio.CancelledError:
            if body.is_whole:
                raise
        finally:
            timer.cancel()

    async def _read_parts(self, exchange: Exchange, body: "_Body") -> bytes:
        """Add the body part by part; nothing is left for the caller to add."""
        try:
            async for part in exchange:
                body.add(part)
                if body.length > MAX_FORGOTTEN_BYTES:
                    break
                if body.length > _SMALL_BYTES and not body.has_place:
                    # Until then nothing more is taken from the connection.
                    await self._find_place(body)
        finally:
            # In the moment in which it has come: what is whole is given up no more.
            self._coming.pop(body, None)
        return b""

    async def _find_place(self, body: "_Body") -> None:
        if self._places.locked() and self._coming:
            slowest = next(iter(self._coming))
            self._coming.pop(slowest).cancel()
            slowest.give_up()
        else:
            await self._places.acquire()
        body.has_place = True
        reading = asyncio.current_task()
        assert reading is not None
        self._coming[body] = reading

    def _answer(self, scope: Scope, body: "_Body", exchange: Exchange) -> None:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
            started[:] = [int(status.split(" ", 1)[0]), headers]

        chunks = self._app(_environ(scope, body), start_response)
        try:
            data = b"".join(chunks)
            status, headers = started
            if not body.is_whole:
                headers = [*headers, ("Connection", "close")]
            exchange.response_bytes(status, headers, data)
        finally:
            # What is done after an answer is done when it is on its way.
            close = getattr(chunks, "close", None)
            if close is not None:
                close()


class _Body:
    """What has come of a body: as much as is allowed is kept, all is counted."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.kept = bytearray()
        self.length = 0
        self.is_whole = True
        # One of those for large bodies, until the answer is given.
        self.has_place = False

    def add(self, part: bytes) -> None:
        self.length += len(part)
        if self.length <= self.max_bytes:
            self.kept += part
        else:
            self.kept.clear()

    def give_up(self) -> None:
        """Leave the place to another one; what has come is forgotten."""
        self.is_whole = self.has_place = False
        self.kept.clear()

    @property
    def said_length(self) -> int:
        """The length that the application is told: of a body that ends early it finds less than that."""
        return self.length if self.is_whole else self.length + 1


def _has_body(scope: Scope) -> bool:
    # HTTP/2 needs neither header.
    return scope.http_version not in ("1", "1.0", "1.1") or any(
        name in scope.headers for name in ("content-length", "transfer-encoding")
    )


def _is_small(scope: Scope) -> bool:
    length = scope.headers.get("content-length") or ""
    return length.isdecimal() and len(length) < 9 and int(length) <= _SMALL_BYTES


def _may_wait(scope: Scope) -> bool:
    """Tell whether the request may be one that waits for the end of a task."""
    return scope.method == "GET" and "wait" in scope.query_string


def _environ(scope: Scope, body: _Body) -> dict[str, Any]:
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host or "localhost",
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body.kept),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        # A name written with `_` could pass for another one; and the chunks have been put together.
        if "_" in name or name == "transfer-encoding":
            continue
        key = name.upper().replace("-", "_")
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ["CONTENT_LENGTH"] = str(body.said_length)
    return environ
