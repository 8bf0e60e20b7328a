"""Load: many workers in few processes, on raw sockets, so light that the server and not they are the limit."""

import json
import multiprocessing
import selectors
import socket
import time
from array import array
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any, NamedTuple

#: So many processes share the workers: one alone could become the limit, and each more takes turns on two cores.
CLIENT_PROCESSES = 2
_SECONDS_TO_ANSWER = 60


class Call(NamedTuple):
    """One request of a worker; its answer comes back to whoever yields it."""

    name: str
    request: bytes
    # How many tasks are done with, once it is answered.
    tasks: int = 0
    # The status of a refusal that is no error: there is nothing to do.
    refusal: int = 0


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes

    @property
    def data(self) -> Any:
        """The answer's member `data`."""
        return json.loads(self.body)["data"]


Steps = Generator[Call, Answer, None]
# Makes the steps of the worker of this number.
Program = Callable[[int], Steps]


@dataclass
class Tally:
    """What came of a run."""

    seconds: float
    tasks: int = 0
    # Microseconds of every request, by its name.
    times: dict[str, "array[int]"] = field(default_factory=dict)
    # Of the answers that were none of success, how many.
    errors: int = 0
    # Seconds of CPU of all client processes.
    client_cpu: float = 0.0

    def add(self, other: "Tally") -> None:
        """Add what another process has counted."""
        self.tasks += other.tasks
        self.errors += other.errors
        self.client_cpu += other.client_cpu
        for name, times in other.times.items():
            self.times.setdefault(name, array("q")).extend(times)

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return sum(len(times) for times in self.times.values())

    def milliseconds(self, percent: int) -> float:
        """Return within which time so many percent of all requests were answered."""
        times = [time for each in self.times.values() for time in each]
        return quantiles(times, n=100, method="inclusive")[percent - 1] / 1000


class Requests:
    """Writes requests that carry a key."""

    def __init__(self, key: str) -> None:
        self._headers = f" HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\nPrefer: return=minimal\r\n"

    def post(self, path: str, body: Any) -> bytes:
        """Return a request with a JSON body."""
        text = json.dumps(body, separators=(",", ":"))
        length = f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        return f"POST {path}{self._headers}{length}{text}".encode()

    def get(self, path: str) -> bytes:
        """Return a request without a body."""
        return f"GET {path}{self._headers}\r\n".encode()


def run(port: int, program: Program, workers: int, seconds: float) -> Tally:
    """Let so many workers do their steps until the time is over, and return what came of it."""
    processes = min(workers, CLIENT_PROCESSES)
    tallies: Any = multiprocessing.SimpleQueue()
    begin = time.monotonic() + 0.1
    started = [
        multiprocessing.Process(
            target=_drive, args=(port, program, range(number, workers, processes), begin, begin + seconds, tallies)
        )
        for number in range(processes)
    ]
    for process in started:
        process.start()
    total = Tally(seconds)
    for _ in started:
        tally = tallies.get()
        if isinstance(tally, str):
            raise RuntimeError(tally)
        total.add(tally)
    for process in started:
        process.join()
    return total


def _drive(port: int, program: Program, numbers: range, begin: float, end: float, tallies: Any) -> None:
    try:
        time.sleep(max(0.0, begin - time.monotonic()))
        tallies.put(_serve([_Worker(port, program(number)) for number in numbers], begin, end))
    except Exception as error:
        tallies.put(f"{type(error).__name__}: {error}")
        raise


def _serve(workers: "list[_Worker]", begin: float, end: float) -> Tally:
    tally = Tally(end - begin)
    began_cpu = time.process_time()
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.socket, selectors.EVENT_READ, worker)
            worker.send(next(worker.steps))
        while time.monotonic() < end:
            ready = selector.select(min(_SECONDS_TO_ANSWER, max(0.0, end - time.monotonic())))
            for key, _ in ready:
                worker = key.data
                answer = worker.receive()
                if answer is not None:
                    _count(tally, worker, answer)
                    worker.send(worker.steps.send(answer))
    tally.client_cpu = time.process_time() - began_cpu
    for worker in workers:
        worker.socket.close()
    return tally


def _count(tally: Tally, worker: "_Worker", answer: Answer) -> None:
    call = worker.call
    tally.times.setdefault(call.name, array("q")).append(int((time.monotonic() - worker.sent_at) * 1_000_000))
    if answer.status >= 400 and answer.status != call.refusal:
        tally.errors += 1
    else:
        tally.tasks += call.tasks


class _Worker:
    """A worker's steps and its connection."""

    def __init__(self, port: int, steps: Steps) -> None:
        self.steps = steps
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS_TO_ANSWER)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.call = Call("", b"")
        self.sent_at = 0.0
        self._came = bytearray()

    def send(self, call: Call) -> None:
        self.call = call
        self.sent_at = time.monotonic()
        self.socket.sendall(call.request)

    def receive(self) -> Answer | None:
        """Return the answer if all of it has come."""
        part = self.socket.recv(262_144)
        if not part:
            raise ConnectionError(f"the server closed the connection during {self.call.name}")
        self._came += part
        head, separator, body = self._came.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return None
        self._came.clear()
        return Answer(int(head[9:12]), bytes(body))


def _length(head: bytearray) -> int:
    lowered = head.lower()
    place = lowered.find(b"content-length:")
    return 0 if place < 0 else int(lowered[place + 15 :].split(b"\r\n", 1)[0])
