"""Far: a proxy on loopback that brings a database so many milliseconds away.

python -m bench.speed.far LISTENING_PORT PORT MILLISECONDS
"""

import asyncio
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import pymysql
from sqlalchemy import make_url

from app.settings import ROOT
from tests.support.ports import find_free_port

_SECONDS_TO_START = 10


class _Side(asyncio.Protocol):
    """One side of a connection: what it receives goes to the other side after a while."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._on_the_way: deque[bytes] = deque()
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._on_the_way.append(data)
        asyncio.get_running_loop().call_later(self._delay, self._arrive)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def _arrive(self) -> None:
        data = self._on_the_way.popleft()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)


class _Accepted(_Side):
    """The client's side; what comes before the other side is there arrives later than that."""

    def __init__(self, delay: float, port: int) -> None:
        super().__init__(delay)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, other = await loop.create_connection(lambda: _Side(self._delay), "127.0.0.1", self._port)
        other.other, self.other = self, other


async def _serve(listening: int, port: int, milliseconds: float) -> None:
    # Half of it on the way there, half of it back.
    delay = milliseconds / 2 / 1000
    server = await asyncio.get_running_loop().create_server(lambda: _Accepted(delay, port), "127.0.0.1", listening)
    print("listening", flush=True)
    await server.serve_forever()


@contextmanager
def far_away(url: str, milliseconds: float) -> Iterator[str]:
    """Yield the URL of the same database, so many milliseconds further away."""
    parsed, listening = make_url(url), find_free_port()
    command = [sys.executable, "-m", "bench.speed.far", str(listening), str(parsed.port), str(milliseconds)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield parsed.set(port=listening).render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def round_trip_milliseconds(url: str) -> float:
    """Return how long the database takes for the shortest answer."""
    parsed = make_url(url)
    connection = pymysql.connect(host=parsed.host, port=parsed.port or 3306, user=parsed.username, ssl_disabled=True)
    times = []
    with connection, connection.cursor() as cursor:
        for _ in range(50):
            began = time.perf_counter()
            cursor.execute("SELECT 1")
            times.append((time.perf_counter() - began) * 1000)
    return median(times)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
