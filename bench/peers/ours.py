"""Ours: how long a task of TaskManager waits for workers that poll as its documentation tells them to."""

import http.client
import json
import queue
import threading
import time
from typing import Any

from bench.speed.stage import Stage

_SECONDS_BETWEEN = 0.05


def wait_times(stage: Stage, workers: int, number: int) -> list[float]:
    """Create so many tasks one after the other, and return for each the seconds until a worker had it."""
    begun: queue.SimpleQueue[tuple[int, float]] = queue.SimpleQueue()
    stop = threading.Event()
    polling = [threading.Thread(target=_poll, args=(stage, place, begun, stop)) for place in range(workers)]
    for thread in polling:
        thread.start()
    sent: dict[int, float] = {}
    client = _Client(stage)
    try:
        began = time.monotonic()
        for place in range(number):
            time.sleep(max(0.0, began + place * _SECONDS_BETWEEN - time.monotonic()))
            moment = time.monotonic()
            body = {"type": "bench", "params": {"path": f"wait/{place}", "algorithm": "sha256"}}
            sent[client.post("/api/tasks", body)[1]["data"]["id"]] = moment
        found = dict(begun.get(timeout=60) for _ in range(number))
    finally:
        stop.set()
        for thread in polling:
            thread.join()
    return [found[task_id] - moment for task_id, moment in sent.items()]


def _poll(stage: Stage, place: int, begun: "queue.SimpleQueue[tuple[int, float]]", stop: threading.Event) -> None:
    client, worker = _Client(stage), f"waiting-{place}"
    while not stop.is_set():
        status, answer, retry_after = client.post("/api/tasks/claim", {"worker_id": worker, "types": ["bench"]})
        if status == 404:
            stop.wait(retry_after)
            continue
        task = answer["data"]
        begun.put((task["id"], time.monotonic()))
        report = {"worker_id": worker, "lease_token": task["lease_token"], "success": True, "result": None}
        client.post(f"/api/tasks/{task['id']}/complete", report)


class _Client:
    """A worker's connection, which is kept open."""

    def __init__(self, stage: Stage) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=60)
        self._headers = {"X-API-Key": stage.server.admin_key, "Content-Type": "application/json"}

    def post(self, path: str, body: Any) -> tuple[int, Any, float]:
        """Return the status, the answer and in how many seconds to ask again."""
        self._connection.request("POST", path, json.dumps(body), self._headers)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read()), float(response.headers.get("Retry-After", 0))
