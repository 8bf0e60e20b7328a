"""Explanations and statistics over HTTP; what they say is tested with the queue."""

import time
from typing import Any

import pytest

from app.storage.models import counters
from app.web.current import EXTENSION
from tests.support.client import Client
from tests.support.clock import ManualClock

TYPE = "work"
STATS = f"/api/task-types/{TYPE}/stats"


@pytest.fixture
def api(client: Client) -> Client:
    """A client with a registered type."""
    register(client, TYPE)
    return client


def register(client: Client, name: str) -> None:
    body = {"name": name, "version": "1", "param_schema": {"type": "object"}, "retry_delay_seconds": 30}
    assert client.post("/api/task-types/register", json=body).status_code == 201


def create(client: Client, **more: Any) -> int:
    create.number = getattr(create, "number", 0) + 1  # type: ignore[attr-defined]
    body = {"type": "work", "params": {"n": create.number}, **more}  # type: ignore[attr-defined]
    answer = client.post("/api/tasks", json=body)
    assert answer.status_code == 201
    return int(answer.get_json()["data"]["id"])


def claim(client: Client) -> dict[str, Any]:
    answer = client.post("/api/tasks/claim", json={"worker_id": "worker-1", "types": ["work"]})
    task: dict[str, Any] = answer.get_json()["data"]
    return task


def explain(client: Client, task_id: int) -> dict[str, Any]:
    answer = client.get(f"/api/tasks/{task_id}/explain")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.get_json()["data"]
    return told


def test_an_explanation_has_a_sentence_and_fields(api: Client) -> None:
    first = create(api)
    claim(api)
    second, third = create(api), create(api)
    told = explain(api, third)
    assert (told["id"], told["type"], told["status"], told["reason"]) == (third, "work", "pending", "in_order")
    assert told["ahead"] == {"count": 1, "is_exact": True}
    assert told["last_asked_at"] == "2026-01-01T12:00:00.000Z"
    assert told["waits_for"] == {"count": 0, "is_exact": True, "tasks": []}
    waiting = create(api, depends_on=[first, second])
    assert explain(api, waiting)["waits_for"] == {
        "count": 2,
        "is_exact": True,
        "tasks": [{"id": first, "status": "claimed"}, {"id": second, "status": "pending"}],
    }


def test_an_explanation_names_who_holds_the_task_and_shows_no_token(api: Client) -> None:
    task_id = create(api)
    token = claim(api)["lease_token"]
    answer = api.get(f"/api/tasks/{task_id}/explain")
    assert token not in answer.get_data(as_text=True)
    assert answer.get_json()["data"]["held_by"] == [
        {
            "id": task_id,
            "status": "claimed",
            "claimed_by": "worker-1",
            "claimed_at": "2026-01-01T12:00:00.000Z",
            "lease_expires_at": "2026-01-01T12:05:00.000Z",
        }
    ]


def test_what_is_due_is_done_by_the_claim_of_which_it_is_told(api: Client, clock: ManualClock) -> None:
    housekeeper = api.app.extensions[EXTENSION].housekeeping
    task_id = create(api, delay_seconds=60)
    assert explain(api, task_id)["until"] == "2026-01-01T12:01:00.000Z"
    clock.advance(seconds=60)
    housekeeper._next_round = time.monotonic() + 3600
    assert explain(api, task_id)["reason"] == "due"
    housekeeper._next_round = 0.0
    assert claim(api)["id"] == task_id


def test_every_reason_is_one_that_the_document_knows(api: Client, clock: ManualClock) -> None:
    delayed, dead, waiting = create(api, delay_seconds=60), create(api), create(api)
    api.post(
        f"/api/tasks/{dead}/complete", json={"worker_id": claim(api)["claimed_by"], "success": False, "error": "bad"}
    )
    claim(api)
    api.patch("/api/task-types/work", json={"max_concurrency": 1})
    limited = create(api)
    # Each answer is held against openapi.json, which lists the reasons.
    reasons = [explain(api, task_id)["reason"] for task_id in (delayed, dead, waiting, limited)]
    assert reasons == ["not_before_its_time", "waits_for_retry", "being_worked_on", "limit_reached"]
    api.database.write(lambda tx: tx.execute(counters.insert(), {"name": "queue_is_paused", "value": 1}))
    api.database.cache.clear()
    assert explain(api, limited)["reason"] == "queue_paused"


def test_statistics_show_what_happened(api: Client, clock: ManualClock) -> None:
    for success in (True, False):
        task_id = create(api)
        clock.advance(seconds=2)
        holder = {"worker_id": "worker-1", "lease_token": claim(api)["lease_token"]}
        clock.advance(seconds=3)
        body = {**holder, "success": success, "retryable": False}
        assert api.post(f"/api/tasks/{task_id}/complete", json=body).status_code == 200
    create(api)
    clock.advance(seconds=400)
    data = api.get(f"{STATS}?window_seconds=600").get_json()["data"]
    assert data["depth"]["pending"] == {"count": 1, "is_exact": True}
    assert data["oldest_pending"] == {
        "available_at": "2026-01-01T12:00:10.000Z",
        "age_seconds": 400,
        "is_exact": True,
    }
    assert data["completed"] == data["failed"] == {"count": 1, "is_exact": True, "per_minute": 0.1}
    assert (data["failure_rate"], data["sampled"]) == (0.5, 1)
    assert data["waiting_seconds"] == {"p50": 2, "p90": 2, "p99": 2}
    assert data["running_seconds"] == {"p50": 3, "p90": 3, "p99": 3}
    assert data["last_claimed_at"] == "2026-01-01T12:00:07.000Z"
    assert data["is_stalled"] is True
    assert data["stalled_reason"].endswith("and 1 task waits.")


def test_a_type_that_did_nothing_has_statistics_too(api: Client) -> None:
    data = api.get(STATS).get_json()["data"]
    assert data["window_seconds"] == 3600
    nothing = ("oldest_pending", "failure_rate", "waiting_seconds", "running_seconds", "stalled_reason")
    assert [data[name] for name in nothing] == [None] * len(nothing)


@pytest.mark.parametrize("name", ["Work", "a/b", "stats", "a b%", "ÄÖ"])
def test_statistics_are_found_by_any_name(client: Client, name: str) -> None:
    register(client, name)
    quoted = name.replace("%", "%25")
    for path in (f"/api/task-types/{quoted}/stats", f"/api/task-types/{quoted}/stats/"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.get_json()["data"]["type"] == name


def test_a_type_whose_name_ends_in_stats_is_still_changed_by_it(client: Client) -> None:
    register(client, "a/stats")
    assert client.patch("/api/task-types/a/stats", json={"is_paused": True}).status_code == 200
    assert client.get("/api/task-types/a/stats/stats").get_json()["data"]["is_paused"] is True
