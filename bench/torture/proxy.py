"""A TCP proxy that fails: `python -S -m bench.torture.proxy CONFIG`, in a process of its own.

It drops a connection before a request reaches the server, cuts it between request and answer, truncates an answer,
delays, and resets. Between a server and its database it cuts in the middle of transactions and between COMMIT and its
answer, and kills the web process that waits for that answer. How often is told line by line on its standard input; what
it did is in the file beside its configuration.
"""

import asyncio
import json
import os
import random
import signal
import socket
import struct
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

_LONG = 400
# How a server asks for the time, and where in a packet that stands.
_CLOCK, _BEGINNING = b"UTC_TIMESTAMP", 60
_AT_COMMIT = ("cut at COMMIT", "kill -9 at COMMIT")
_RESET = struct.pack("ii", 1, 0)
HTTP_FAULTS = ("drop", "cut", "truncate", "delay", "reset")
DATABASE_FAULTS = ("delay", "reset in transaction", *_AT_COMMIT, "slow clock")


class Weather:
    """How often which fault happens, for each request; and how often it did."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.chances: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        self._draws: Counter[str] = Counter()
        self._written = 0

    def happens(self, fault: str) -> bool:
        """Draw whether this fault happens now; what has not happened for long does."""
        chance = self.chances.get(fault, 0.0)
        self._draws[fault] += 1
        is_overdue = chance > 0 and not self.counts[fault] and self._draws[fault] > _LONG
        return is_overdue or random.random() < chance

    def count(self, fault: str) -> None:
        self.counts[fault] += 1

    def write(self) -> None:
        if self.counts.total() != self._written:
            self._written = self.counts.total()
            self._path.write_text(json.dumps(self.counts))


class Side(asyncio.Protocol):
    """One side of a connection; what it receives goes to the other side, or not."""

    other: "Side | None" = None
    transport: asyncio.Transport

    def __init__(self, link: "Link", is_client: bool) -> None:
        self._link = link
        self._is_client = is_client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._link.opened(self, self._is_client)

    def data_received(self, data: bytes) -> None:
        if self._is_client:
            self._link.asked(data)
        else:
            self._link.answered(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._link.close()


class Link:
    """A connection of a client and the one to the server that belongs to it."""

    def __init__(self, weather: Weather, upstream: int, is_database: bool) -> None:
        self._weather = weather
        self._upstream = upstream
        self._is_database = is_database
        self._client: Side | None = None
        self._server: Side | None = None
        self._early = b""
        self._is_answering = True
        self._in_transaction = False
        self._plan: str | None = None

    def opened(self, side: Side, is_client: bool) -> None:
        if not is_client:
            self._server = side
            side.transport.write(self._early)
            self._early = b""
            return
        self._client = side
        self._task = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: Side(self, False), "127.0.0.1", self._upstream)
        except OSError:
            self.close()
        else:
            if self._client is None or self._client.transport.is_closing():
                self.close()

    # What passes through

    def asked(self, data: bytes) -> None:
        if self._is_answering:
            self._is_answering = False
            self._plan = self._plan_for(data)
            if self._plan in ("drop", "reset before"):
                self._end(self._plan)
                return
            if self._plan in ("delay", "slow question"):
                self._later(self._client, self._send_on, data)
                return
        self._send_on(data)
        if self._plan == "reset":
            self._end("reset")

    def _send_on(self, data: bytes) -> None:
        if self._server is None:
            self._early += data
        elif not self._server.transport.is_closing():
            self._server.transport.write(data)

    def answered(self, data: bytes) -> None:
        is_first = not self._is_answering
        self._is_answering = True
        if is_first and self._plan is not None:
            if self._plan in ("cut", *_AT_COMMIT, "reset in transaction"):
                self._end(self._plan)
                return
            if self._plan == "truncate":
                self._send_back(data[: random.randint(1, max(1, len(data) - 1))])
                self._end("truncate")
                return
            if self._plan in ("delay answer", "slow answer"):
                self._later(self._server, self._send_back, data)
                return
        self._send_back(data)

    def _send_back(self, data: bytes) -> None:
        if self._client is not None and not self._client.transport.is_closing():
            self._client.transport.write(data)

    def _plan_for(self, data: bytes) -> str | None:
        weather = self._weather
        if self._is_database and _CLOCK in data[:_BEGINNING] and weather.happens("slow clock"):
            return random.choice(("slow question", "slow answer"))
        if weather.happens("delay"):
            return random.choice(("delay", "delay answer"))
        if not self._is_database:
            return next((fault for fault in ("drop", "cut", "truncate", "reset") if weather.happens(fault)), None)
        statement = data[5:25].upper()
        if statement.startswith(b"COMMIT"):
            self._in_transaction = False
            return next((fault for fault in _AT_COMMIT if weather.happens(fault)), None)
        if statement.startswith((b"START TRANSACTION", b"ROLLBACK")):
            self._in_transaction = statement.startswith(b"START")
        elif self._in_transaction and weather.happens("reset in transaction"):
            return random.choice(("reset before", "reset in transaction"))
        return None

    # Faults

    def _later(self, side: Side | None, go_on: object, data: bytes) -> None:
        """Hold back what this side has said for a while, and what it says meanwhile behind it."""
        assert side is not None and callable(go_on)
        is_clock = self._plan in ("slow question", "slow answer")
        self._weather.count("slow clock" if is_clock else "delay")
        side.transport.pause_reading()

        def resume() -> None:
            go_on(data)
            if not side.transport.is_closing():
                side.transport.resume_reading()

        longest = 1.5 if self._is_database else 4.0
        seconds = random.uniform(1, 4) if is_clock else random.uniform(0.02, longest) ** 2 / longest
        asyncio.get_running_loop().call_later(seconds, resume)

    def _end(self, fault: str) -> None:
        if fault == "kill -9 at COMMIT" and not self._kill_client():
            fault = "cut at COMMIT"
        self._weather.count("reset in transaction" if fault == "reset before" else fault)
        if fault.startswith(("reset", "cut at")) or random.random() < 0.5:
            for side in (self._client, self._server):
                if side is not None:
                    plain: socket.socket = side.transport.get_extra_info("socket")
                    if plain.fileno() >= 0:
                        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    side.transport.abort()
        self.close()

    def _kill_client(self) -> bool:
        """Kill the web process at the other end: nobody but the servers comes to the proxy before the database."""
        assert self._client is not None
        peer, own = (self._client.transport.get_extra_info(name) for name in ("peername", "sockname"))
        pid = None if peer is None else find_process(peer[1], own[1])
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    def close(self) -> None:
        for side in (self._client, self._server):
            if side is not None and not side.transport.is_closing():
                side.transport.close()


def find_process(local: int, remote: int) -> int | None:
    """Return the process whose connection leads from the one port of this machine to the other.

    Both are needed: connections of other processes may come from the same port and lead elsewhere.
    """
    ends = [f"0100007F:{port:04X}" for port in (local, remote)]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    inode = next((line[9] for line in lines if line[1:3] == ends), None)
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdecimal() and any(
                os.readlink(file) == f"socket:[{inode}]" for file in (process / "fd").iterdir()
            ):
                return int(process.name)
    return None


async def main() -> None:
    path = Path(sys.argv[1])
    config = json.loads(path.read_text())
    random.seed(config["seed"])
    weather = Weather(path.with_suffix(".counts"))
    loop = asyncio.get_running_loop()
    for port, upstream in config["ports"]:

        def link(upstream: int = upstream) -> Side:
            return Side(Link(weather, upstream, config["is_database"]), True)

        await loop.create_server(link, "127.0.0.1", port, backlog=512)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)

    async def write_now_and_then() -> None:
        while True:
            await asyncio.sleep(0.5)
            weather.write()

    writing = asyncio.ensure_future(write_now_and_then())
    while line := await reader.readline():
        weather.chances = json.loads(line)
    writing.cancel()
    weather.write()


if __name__ == "__main__":
    asyncio.run(main())
