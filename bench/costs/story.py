"""Story: every hot request in turn, many times each, so that what it costs can be told from the others."""

import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_WORKER = "worker-1"
_CLAIM = {"worker_id": _WORKER, "types": ["bench"]}
_BATCH = 50


@dataclass(frozen=True)
class Request:
    """One request."""

    method: str
    path: str
    body: Any = None

    @cached_property
    def data(self) -> bytes:
        """The body as it is sent."""
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Phase:
    """The same kind of request again and again."""

    name: str
    requests: list[Request]
    #: How many tasks each is about.
    tasks: int = 1
    status: int = 200


Answers = list[Any]
Story = Generator[Phase, Answers, None]


def tell(number: int) -> Story:
    """Yield the phases, each of so many requests or as many batches as come to that; take the answers of each."""
    batches = max(number // 10, 1)
    yield Phase("create", [_create({"type": "bench", "params": _params(n)}) for n in range(number)], status=201)
    same = {"type": "bench", "params": _params(-1)}
    yield Phase("create, for a duplicate", [_create(same)], status=201)
    yield Phase("create, a duplicate", [_create(same)] * number)
    held = yield Phase("claim", [Request("POST", "/api/tasks/claim", _CLAIM)] * number)
    yield Phase("heartbeat", [_of(task, "heartbeat", _holder(task)) for task in held])
    progress = {"progress": 50, "message": "half"}
    yield Phase("progress", [_of(task, "progress", {**_holder(task), **progress}) for task in held])
    yield Phase("status", [Request("GET", f"/api/tasks/{task['id']}") for task in held])
    yield Phase("complete", [_of(task, "complete", {**_holder(task), **_outcome(task)}) for task in held])
    yield Phase("list of 50", [Request("GET", "/api/tasks?status=completed&limit=50")] * batches, tasks=_BATCH)
    yield Phase("the last claim", [Request("POST", "/api/tasks/claim", _CLAIM)])
    yield Phase("empty poll", [Request("POST", "/api/tasks/claim", _CLAIM)] * number, tasks=0, status=404)
    yield Phase("create of 100", list(_creates_of_100(number, batches * _BATCH * 4)), tasks=100)
    asked = {**_CLAIM, "max_tasks": _BATCH}
    held = yield Phase("claim of 50", [Request("POST", "/api/tasks/batch/claim", asked)] * batches, tasks=_BATCH)
    reports = [[_report(task) for task in batch["tasks"]] for batch in held]
    complete = [
        Request("POST", "/api/tasks/batch/complete", {"worker_id": _WORKER, "results": results}) for results in reports
    ]
    yield Phase("complete of 50", complete, tasks=_BATCH)
    for size in (1, _BATCH):
        held = yield Phase(f"claims for exchanges of {size}", [_exchange([], size)] * batches)
        exchanges = [_exchange([_report(task) for task in batch["tasks"]], size) for batch in held]
        yield Phase(f"exchange of {size}", exchanges, tasks=size)


def _params(number: int) -> dict[str, Any]:
    return {"path": f"data/{number}.txt", "algorithm": "sha256"}


def _create(body: Any) -> Request:
    return Request("POST", "/api/tasks", body)


def _creates_of_100(first: int, number: int) -> Iterable[Request]:
    for place in range(first, first + number, 100):
        tasks = [{"type": "bench", "params": _params(place + n)} for n in range(100)]
        yield Request("POST", "/api/tasks/batch", {"tasks": tasks})


def _of(task: Any, verb: str, body: Any) -> Request:
    return Request("POST", f"/api/tasks/{task['id']}/{verb}", body)


def _holder(task: Any) -> dict[str, Any]:
    return {"worker_id": _WORKER, "lease_token": task["lease_token"]}


def _outcome(task: Any) -> dict[str, Any]:
    return {"success": True, "result": {"sha256": f"{task['id']:064x}"}}


def _report(task: Any) -> dict[str, Any]:
    return {"id": task["id"], "lease_token": task["lease_token"], **_outcome(task)}


def _exchange(results: list[Any], size: int) -> Request:
    claim = {"types": ["bench"], "max_tasks": size}
    return Request("POST", "/api/tasks/batch/exchange", {"worker_id": _WORKER, "results": results, "claim": claim})
