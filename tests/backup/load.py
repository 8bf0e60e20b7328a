"""Clients that keep a server busy and remember what it has acknowledged, and when."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

# What the load creates and works on; the test keeps the third for itself.
BUSY_TYPES = ("plain", "keyed")
TYPES = (*BUSY_TYPES, "quiet")


class Caller:
    """One client with one connection."""

    def __init__(self, url: str, key: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        self._headers = {"X-API-Key": key, "Content-Type": "application/json"}

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Send a request and return the status and what was answered."""
        sent = None if body is None else json.dumps(body)
        self._connection.request(method, f"/api{path}", sent, self._headers)
        response = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        return response.status, answer

    def must(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request that must succeed, and return its data."""
        status, answer = self.call(method, path, body)
        assert status < 300, answer
        return answer["data"]

    def claim(self, worker_id: str, *types: str) -> dict[str, Any] | None:
        """Return the claimed task, or None if there is none."""
        status, answer = self.call("POST", "/tasks/claim", {"worker_id": worker_id, "types": types or TYPES})
        assert status in (200, 404), answer
        return answer["data"] if status == 200 else None


@dataclass
class Acknowledged:
    """By the id of the task: when the server had answered, and with which token a claim."""

    created: dict[int, float] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    claimed: dict[int, tuple[float, str, str]] = field(default_factory=dict)
    completed: dict[int, float] = field(default_factory=dict)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so, half a minute at most."""
    give_up_at = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < give_up_at, "it does not come to that"
        time.sleep(0.02)


@contextmanager
def load(url: str, key: str) -> Iterator[Acknowledged]:
    """Keep the server busy meanwhile: tasks with keys, tags and dependencies are created, claimed and completed."""
    seen = Acknowledged()
    is_over = threading.Event()
    errors: list[BaseException] = []

    def produce(caller: Caller, number: int) -> None:
        last: int | None = None
        for count in range(1_000_000):
            if is_over.is_set():
                return
            name = BUSY_TYPES[count % 2]
            # The newest first, so that what comes after the backup is claimed too.
            body = {"type": name, "params": {"n": number + 10 * count}, "tags": [f"tag-{count % 3}"], "priority": count}
            if name == "keyed":
                body["concurrency_key"] = f"key-{count % 5}"
            elif last is not None and count % 4 == 0:
                body["depends_on"] = [last]
            last = caller.must("POST", "/tasks", body)["id"]
            seen.numbers[last] = number + 10 * count
            seen.created[last] = time.monotonic()

    def work(caller: Caller, number: int) -> None:
        worker_id = f"worker-{number}"
        while not is_over.is_set():
            task = caller.claim(worker_id, *BUSY_TYPES)
            if task is None:
                time.sleep(0.01)
                continue
            seen.claimed[task["id"]] = (time.monotonic(), worker_id, task["lease_token"])
            # Some are held for longer than the backup takes.
            if task["id"] % 7 == 0:
                continue
            body = {"worker_id": worker_id, "lease_token": task["lease_token"], "success": True, "result": task["id"]}
            status, answer = caller.call("POST", f"/tasks/{task['id']}/complete", body)
            assert status == 200, answer
            seen.completed[task["id"]] = time.monotonic()

    def guarded(do: Callable[[Caller, int], None], number: int) -> None:
        try:
            with Caller(url, key) as caller:
                do(caller, number)
        except BaseException as error:
            errors.append(error)
            is_over.set()

    threads = [threading.Thread(target=guarded, args=(do, number)) for do in (produce, work) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)
    assert not errors, errors
