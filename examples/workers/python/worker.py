"""A worker for TaskManager, to be copied: standard library only. Run a file with handlers, such as handlers.py."""

import http.client
import json
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

URL = urlsplit(os.environ.get("TM_URL", "http://127.0.0.1:8000"))
HEADERS = {"Content-Type": "application/json", "X-API-Key": os.environ.get("TM_KEY", "").strip()}
HEADERS |= {"Prefer": "return=minimal", "User-Agent": os.environ.get("TM_WORKER_VERSION", "worker.py/1.1")}
WORKER_ID = os.environ.get("TM_WORKER_ID", f"{socket.gethostname()}-{os.getpid()}")
REPORT_TRIES = 12  # Together with the waits between them about a minute.
ENDS = {"terminate", "commanded_terminate"}  # An admin's command, in answers to reports and to claims.
LOST = ("task_not_claimed", "task_cancelled", "claimed_by_another_worker", "lease_lost", "task_not_found")

own = threading.local()  # Each thread has a connection of its own, which stays open between requests.
handlers: dict[str, Callable[["Task"], Any]] = {}
stopping: set[str | None] = set()  # Why this worker ends, once it is to end: a signal, or an admin's command.


class Permanent(Exception):
    """Raised by a handler: the task can never succeed, so it must not be tried again."""


def handler(task_type: str) -> Callable[[Callable[["Task"], Any]], Callable[["Task"], Any]]:
    """Make the function below do the tasks of this type: it returns the result, or raises what went wrong."""
    return lambda function: handlers.setdefault(task_type.casefold(), function)


def post(path: str, body: dict[str, Any], tries: int = 1) -> tuple[int, dict[str, Any], float]:
    """Return the status (0 if server or network failed `tries` times), the answer, and how many seconds to wait."""
    connect = http.client.HTTPSConnection if URL.scheme == "https" else http.client.HTTPConnection
    own.connection = connection = getattr(own, "connection", None) or connect(URL.netloc, timeout=15)
    content, failures = json.dumps(body, ensure_ascii=False).encode(errors="replace"), 0
    while True:
        was_open, wait = connection.sock is not None, min(30, 2**failures) * random.uniform(0.25, 0.5)
        try:
            connection.request("POST", f"{URL.path.rstrip('/')}/api/tasks{path}", content, HEADERS)
            response = connection.getresponse()
            answer = json.loads(response.read())
            wait = max(wait, float(response.headers.get("Retry-After", 0)))
            stopping.update({answer.get("code", answer.get("data", {}).get("command"))} & ENDS)
            if response.status < 500:
                return response.status, answer, wait
            problem = f"the server answers {response.status} {response.reason}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            if was_open:  # Servers close connections that were idle for some time: try a new one at once.
                continue
            problem = f"{URL.geturl()} does not answer: {error}"
        failures += 1
        if failures >= tries:
            return 0, {"message": problem}, wait
        time.sleep(wait)


class Task:
    """A claimed task: `id`, `type`, `params`, `attempts`; a long handler looks at `cancelled` now and then."""

    def __init__(self, claimed: dict[str, Any]) -> None:
        self.id, self.type, self.params = claimed["id"], claimed["type"], claimed["params"]
        self.attempts, self.cancelled, self.message = claimed["attempts"], False, ""
        self._holder = {"worker_id": WORKER_ID, "lease_token": claimed["lease_token"]}
        start, end = (datetime.fromisoformat(claimed[name].rstrip("Z")) for name in ("claimed_at", "lease_expires_at"))
        self._beat_seconds = (end - start).total_seconds() / 3

    def progress(self, percent: int, message: str = "") -> None:
        """Tell people how far the task is."""
        self.message = message
        self._report("progress", progress=percent, message=message)

    def _report(self, what: str, tries: int = 1, **body: Any) -> tuple[int, dict[str, Any]]:
        status, answer, _ = post(f"/{self.id}/{what}", self._holder | body, tries)
        self.cancelled |= answer.get("code") in LOST or answer.get("data", {}).get("cancelled", False)
        return status, answer

    def _beat(self, finished: threading.Event, status: int = 200) -> None:
        """Keep the lease alive; runs in a thread of its own."""
        while not finished.wait(self._beat_seconds if status else self._beat_seconds / 4) and not self.cancelled:
            status, _ = self._report("heartbeat")

    def _handle(self) -> dict[str, Any]:
        try:
            json.dumps(result := handlers[self.type.casefold()](self), allow_nan=False)  # What is no JSON fails here.
            return {"success": True, "result": result}
        except Permanent as error:
            return {"success": False, "error": str(error), "retryable": False}
        except Exception as error:
            logging.exception("task %d: its handler failed", self.id)
            return {"success": False, "error": f"{type(error).__name__}: {error}".encode(errors="replace").decode()}

    def work(self) -> str:
        """Handle the task, report how that ended, and return it in words."""
        finished, began = threading.Event(), time.monotonic()
        threading.Thread(target=self._beat, args=(finished,), daemon=True).start()
        try:
            outcome = self._handle()
            if self.cancelled:
                return "cancelled or lost, result dropped"
            status, answer = self._report("complete", REPORT_TRIES, **outcome)
            if status in (400, 413) and outcome["success"] and not self.cancelled:  # Nor would it be accepted later.
                outcome = {"success": False, "error": f"Result refused: {answer['message']}", "retryable": False}
                status, answer = self._report("complete", REPORT_TRIES, **outcome)
            ending = answer["data"]["status"] if status == 200 else f"not reported, {answer['message']},"
            return f"{ending} after {time.monotonic() - began:.2f} s {outcome.get('error', self.message)}"
        except SystemExit:
            self._report("release")
            raise
        finally:
            finished.set()


def main() -> None:
    """Do one task after the other until a command or signal; a second signal gives the present task back."""
    failures = 0

    def stop(*_: Any) -> None:
        if "signal" in stopping:
            sys.exit("Gave the task back.")
        stopping.add("signal")
        logging.info("finishing the present task; a second signal gives it back")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO, stream=sys.stdout)
    logging.info("%s asks %s for %s", WORKER_ID, URL.geturl(), ", ".join(handlers))
    while not stopping:
        status, answer, wait = post("/claim", {"worker_id": WORKER_ID, "types": list(handlers)})
        failures = 0 if status == 200 or answer.get("code", "").startswith(("no_", "commanded_")) else failures + 1
        if status == 200:
            task, wait = Task(answer["data"]), 0
            logging.info("task %d %s: %s", task.id, task.type, task.work())
        elif status in (401, 403):
            sys.exit(f"{URL.geturl()} refuses the key in TM_KEY: {answer['message']}")
        elif failures:
            wait = max(wait, min(30, 2**failures) * random.uniform(0.5, 1))
            logging.warning("cannot claim, next try in %.0f s: %s", wait, answer["message"])
        for _ in range(int(wait * 10)):
            time.sleep(0 if stopping else 0.1)
