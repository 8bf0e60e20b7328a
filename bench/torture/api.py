"""How a client of the torture speaks to the server: time-outs, retries with back-off, another server after a fault."""

import http.client
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench.torture.journal import Journal
from bench.torture.plan import REQUEST_SECONDS

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
# A conflict that a client answers by asking again.
_PASSING = ("try_again",)
# Whoever cannot do without an answer waits for it so long.
_PATIENCE_SECONDS = 90


class Lost(Exception):
    """No whole answer came: whether the request was carried out is unknown."""


class Answer(NamedTuple):
    """What the server said, and between which instants."""

    status: int
    body: dict[str, Any]
    sent_at: float
    told_at: float

    @property
    def data(self) -> Any:
        return self.body["data"]

    @property
    def code(self) -> str:
        return str(self.body.get("code"))

    @property
    def is_passing(self) -> bool:
        return self.status == 503 or self.code in _PASSING


class Api:
    """One keep-alive connection to one of the servers; after a fault to another one."""

    def __init__(self, ports: Sequence[int], key: str, journal: Journal) -> None:
        self._ports = ports
        self._headers = {"X-API-Key": key, "Content-Type": "application/json"}
        self._journal = journal
        self._connection: http.client.HTTPConnection | None = None
        # Why the last request has to be sent again.
        self._trouble = ""

    def send(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        """Send one request and return its answer; raises Lost."""
        if self._connection is None:
            port = random.choice(self._ports)
            self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
        headers = self._headers if key is None else {**self._headers, "Idempotency-Key": key}
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        sent_at = time.time()
        status = 0
        try:
            self._connection.request(method, f"/api{path}", data, headers)
            response = self._connection.getresponse()
            status = response.status
            text = response.read()
            told_at = time.time()
            answer = Answer(status, json.loads(text), sent_at, told_at)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if status >= 500 and status != 503:
                self._journal.write(["odd", status, method, path, repr(error)])
            raise Lost(repr(error)) from error
        if status >= 500 and status != 503:
            self._journal.write(["odd", status, method, path, text.decode(errors="replace")[:2000]])
        if status == 503:
            # Behind a load balancer the next try would meet another server.
            self.close()
        return answer

    def insist(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, go_on: Callable[[], bool]
    ) -> Answer | None:
        """Send until there is an answer that stands, with back-off; None once `go_on` says no."""
        pause = _FIRST_PAUSE
        while True:
            try:
                answer = self.send(method, path, body, key=key)
                if not answer.is_passing:
                    return answer
                self._trouble = f"{answer.status} {answer.code}"
            except Lost as lost:
                self._trouble = str(lost)
            if not go_on():
                return None
            time.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def must(self, method: str, path: str, body: Any = None) -> Answer:
        """Send until there is an answer that stands; without one for very long, the server is not one of ours."""
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        answer = self.insist(method, path, body, go_on=lambda: time.monotonic() < give_up_at)
        if answer is None:
            raise RuntimeError(f"{method} {path}: no answer within {_PATIENCE_SECONDS} s, at last {self._trouble}")
        return answer

    def note_odd(self, method: str, path: str, answer: Answer) -> None:
        """Write down an answer that a correct server never gives."""
        self._journal.write(["odd", answer.status, method, path, json.dumps(answer.body)[:2000]])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
