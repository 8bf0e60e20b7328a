"""Client: a worker's connection as most programs have one, for what is not about speed."""

import http.client
import json
from typing import Any, NamedTuple

from bench.speed.stage import Stage


class Answer(NamedTuple):
    """What came back."""

    status: int
    data: Any
    #: In how many seconds to ask again.
    retry_after: float


class Client:
    """A connection that is kept open."""

    def __init__(self, stage: Stage) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=60)
        self._headers = {"X-API-Key": stage.server.admin_key, "Content-Type": "application/json"}

    def post(self, path: str, body: Any) -> Answer:
        """Send a request with a JSON body."""
        self._connection.request("POST", path, json.dumps(body), self._headers)
        response = self._connection.getresponse()
        data = json.loads(response.read()).get("data")
        return Answer(response.status, data, float(response.headers.get("Retry-After", 0)))

    def claim(self, worker: str) -> Answer:
        """Ask for a task."""
        return self.post("/api/tasks/claim", {"worker_id": worker, "types": ["bench"]})

    def create(self, path: str) -> Answer:
        """Create a task."""
        return self.post("/api/tasks", {"type": "bench", "params": {"path": path, "algorithm": "sha256"}})

    def complete(self, worker: str, task: Any) -> Answer:
        """Say that a task is done."""
        report = {"worker_id": worker, "lease_token": task["lease_token"], "success": True, "result": None}
        return self.post(f"/api/tasks/{task['id']}/complete", report)
