"""Programs: what the workers of each scenario do, request by request."""

import random
from typing import Any

from bench.speed.load import Call, Requests, Steps

_CLAIM = "/api/tasks/claim"


def create(requests: Requests, number: int) -> Steps:
    """Create tasks that are all different."""
    made = 0
    while True:
        made += 1
        yield Call("create", requests.post("/api/tasks", _new_task(number, made)), tasks=1)


def create_many(requests: Requests, number: int, size: int) -> Steps:
    """Create so many tasks in each request."""
    made = 0
    while True:
        tasks = [_new_task(number, made + place) for place in range(size)]
        made += size
        yield Call("create", requests.post("/api/tasks/batch", {"tasks": tasks}), tasks=size)


def cycle(requests: Requests, number: int) -> Steps:
    """Claim a task, complete it, and begin again."""
    worker = _worker(number)
    claim = Call("claim", requests.post(_CLAIM, {"worker_id": worker, "types": ["bench"]}))
    while True:
        task = (yield claim).data
        path = f"/api/tasks/{task['id']}/complete"
        yield Call("complete", requests.post(path, {"worker_id": worker, **_report(task)}), tasks=1)


def batches(requests: Requests, number: int, size: int) -> Steps:
    """Claim so many tasks at once, and complete them at once."""
    worker = _worker(number)
    asked = {"worker_id": worker, "types": ["bench"], "max_tasks": size}
    claim = Call("claim", requests.post("/api/tasks/batch/claim", asked))
    while True:
        tasks = (yield claim).data["tasks"]
        report = {"worker_id": worker, "results": [_item(task) for task in tasks]}
        yield Call("complete", requests.post("/api/tasks/batch/complete", report), tasks=len(tasks))


def exchange(requests: Requests, number: int, size: int) -> Steps:
    """Report so many tasks and receive as many in one request."""
    worker = _worker(number)
    held: list[Any] = []
    while True:
        body = {
            "worker_id": worker,
            "results": [_item(task) for task in held],
            "claim": {"types": ["bench"], "max_tasks": size},
        }
        answer = yield Call("exchange", requests.post("/api/tasks/batch/exchange", body), tasks=len(held))
        held = answer.data["tasks"]


def empty_poll(requests: Requests, number: int) -> Steps:
    """Ask again and again where there is nothing to do."""
    poll = Call("poll", requests.post(_CLAIM, {"worker_id": _worker(number), "types": ["bench"]}), refusal=404)
    while True:
        yield poll


def empty_view(requests: Requests, number: int) -> Steps:
    """Ask a view that does nothing, with a request like that of a claim."""
    asked = Call("empty", requests.post("/", {"worker_id": _worker(number), "types": ["bench"]}))
    while True:
        yield asked


def mixed(requests: Requests, number: int) -> Steps:
    """Do what a whole queue sees: creates, claims, heartbeats, completions, and people who look."""
    worker = _worker(number)
    chance = random.Random(number)
    claim = Call("claim", requests.post(_CLAIM, {"worker_id": worker, "types": ["bench"]}))
    made = 0
    while True:
        made += 1
        created = (yield Call("create", requests.post("/api/tasks", _new_task(number, made)))).data
        task = (yield claim).data
        yield Call("status", requests.get(f"/api/tasks/{created['id']}"))
        beat = {"worker_id": worker, "lease_token": task["lease_token"]}
        yield Call("heartbeat", requests.post(f"/api/tasks/{task['id']}/heartbeat", beat))
        if chance.random() < 0.1:
            yield Call("list", requests.get("/api/tasks?status=completed&limit=50"))
        path = f"/api/tasks/{task['id']}/complete"
        yield Call("complete", requests.post(path, {"worker_id": worker, **_report(task)}), tasks=1)


def _worker(number: int) -> str:
    return f"bench-{number}"


def _new_task(number: int, made: int) -> dict[str, Any]:
    return {"type": "bench", "params": {"path": f"data/{number}/{made}.txt", "algorithm": "sha256", "number": made}}


def _report(task: Any) -> dict[str, Any]:
    return {"lease_token": task["lease_token"], "success": True, "result": {"sha256": f"{task['id']:064x}"}}


def _item(task: Any) -> dict[str, Any]:
    return {"id": task["id"], **_report(task)}
