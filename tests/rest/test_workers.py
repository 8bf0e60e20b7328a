"""The endpoints of workers and of the whole queue, and how workers are written down beside their requests."""

import logging
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from app import create_app
from app.queue.fire import fire_due_schedules
from app.settings import Settings
from app.storage.database import Database
from app.storage.models import tasks, worker_types, workers, workflows
from app.web import sightings
from app.web.current import EXTENSION
from tests.support.client import Client
from tests.support.clock import ManualClock
from tests.support.statements import counted_statements

before_the_database = pytest.mark.parametrize("database_kind", ["sqlite"])
START = "2026-01-01T12:00:00.000Z"


def follow(app: Flask, clock: ManualClock) -> Flask:
    """Let the memory of this process follow the test's clock too."""
    app.extensions[EXTENSION].sightings._clock = lambda: clock.instant.timestamp()
    return app


@pytest.fixture
def api(client: Client, app: Flask, clock: ManualClock) -> Client:
    """A client of a process whose memory follows the test's clock, with the type `work`."""
    follow(app, clock)
    register(client, "work")
    return client


@pytest.fixture
def other_process(settings: Settings, open_database: Any, clock: ManualClock, admin_key: str) -> Client:
    """A client of another process on the same database."""
    database = open_database()
    return Client(follow(create_app(settings, database=database), clock), database, admin_key)


def register(client: Client, name: str, **policies: Any) -> int:
    body = {"name": name, "version": "1", "param_schema": {"type": "object"}, **policies}
    answer = client.post("/api/task-types/register", json=body)
    return int(answer.get_json()["data"]["id"])


def create(client: Client, type_name: str = "work", **more: Any) -> TestResponse:
    create.number = getattr(create, "number", 0) + 1  # type: ignore[attr-defined]
    params = {"n": create.number}  # type: ignore[attr-defined]
    return client.post("/api/tasks", json={"type": type_name, "params": params, **more})


def claim(client: Client, worker_id: str = "w", *, status: int = 200, **more: Any) -> Any:
    body = {"worker_id": worker_id, "types": ["work"], **more}
    answer = client.post("/api/tasks/claim", json=body)
    assert answer.status_code == status, answer.get_json()
    return answer.get_json()["data"] if status == 200 else answer


def poll(client: Client, worker_id: str = "w", **more: Any) -> TestResponse:
    answer: TestResponse = claim(client, worker_id, status=404, **more)
    return answer


def report(client: Client, task: Any, verb: str, *, headers: Any = None, **body: Any) -> TestResponse:
    holder = {"worker_id": task["claimed_by"], "lease_token": task["lease_token"]}
    return client.post(f"/api/tasks/{task['id']}/{verb}", json={**holder, **body}, headers=headers)


def command(client: Client, worker_id: str, word: str | None) -> Any:
    answer = client.post(f"/api/workers/{worker_id}/command", json={"command": word})
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["data"]


def change_queue(client: Client, **changes: bool) -> Any:
    answer = client.patch("/api/queue", json=changes)
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["data"]


def read(client: Client, worker_id: str = "w") -> Any:
    answer = client.get(f"/api/workers/{worker_id}")
    return answer.get_json()["data"] if answer.status_code == 200 else None


def stored(database: Database, table: Any = workers) -> list[Any]:
    return database.read(lambda tx: tx.all(select(table).order_by(*table.primary_key.columns)))


# --- how workers are written down -----------------------------------------------------------------------------------
def test_a_poll_makes_a_worker_known(api: Client) -> None:
    poll(api, worker_version="2.1")
    assert read(api) == {
        "worker_id": "w",
        "version": "2.1",
        "first_seen_at": START,
        "last_seen_at": START,
        "is_alive": True,
        "types": ["work"],
        "running_tasks": 0,
        "running_task_ids": [],
        "command": None,
        "commanded_at": None,
    }


def test_without_a_version_of_its_own_the_worker_has_that_of_its_program(api: Client) -> None:
    for worker_id, agent, version in (
        ("a", "crawler/1.2 (linux)", "crawler/1.2 (linux)"),
        ("b", "x" * 300, "x" * 255),
        ("c", "one\ttwo", "onetwo"),
        ("d", "", None),
    ):
        body = {"worker_id": worker_id, "types": ["work"]}
        api.post("/api/tasks/claim", json=body, headers={"User-Agent": agent})
        assert read(api, worker_id)["version"] == version


def test_polls_are_written_down_at_most_every_30_seconds(api: Client, clock: ManualClock) -> None:
    writes = 0
    for _ in range(60):
        with counted_statements(api.database) as seen:
            poll(api)
        writes += any(statement.startswith(("INSERT", "UPDATE", "REPLACE")) for statement in seen)
        clock.advance(seconds=1)
    assert writes == 2
    assert read(api)["last_seen_at"] == "2026-01-01T12:00:30.000Z"


@pytest.mark.parametrize("pause", [14.9, 15.0])
def test_a_worker_that_asks_as_rarely_as_it_is_told_is_alive_all_the_time(
    api: Client, other_process: Client, clock: ManualClock, pause: float
) -> None:
    for number in range(20):
        poll((api, other_process)[number % 2])
        clock.advance(seconds=pause)
        assert read(api)["is_alive"]


def test_a_poll_between_two_sightings_is_no_statement_more(api: Client) -> None:
    poll(api)
    poll(api)
    with counted_statements(api.database) as seen:
        poll(api)
    assert [statement.split()[0] for statement in seen] == ["SELECT"]


def test_two_processes_write_no_more_than_one(api: Client, other_process: Client, clock: ManualClock) -> None:
    seen_at = set()
    for _ in range(60):
        poll(other_process)
        poll(api)
        seen_at.add(read(api)["last_seen_at"])
        clock.advance(seconds=1)
    assert len(seen_at) == 2


def test_every_type_that_a_worker_asks_for_in_turn_is_written_down(api: Client, clock: ManualClock) -> None:
    register(api, "rare")
    poll(api, types=["work"])
    clock.advance(seconds=5)
    poll(api, types=["rare"])
    assert read(api)["types"] == ["work"]
    clock.advance(seconds=25)
    poll(api, types=["work"])
    assert read(api)["types"] == ["work", "rare"]
    asked = {row["last_asked_at"].second for row in stored(api.database, worker_types)}
    assert asked == {5, 30}  # When it was asked for, not when it was written down.


def test_heartbeat_and_progress_count_as_sightings(api: Client, clock: ManualClock) -> None:
    create(api)
    task = claim(api, worker_version="7")
    for verb, body in (("heartbeat", {}), ("progress", {"progress": 5})):
        clock.advance(seconds=30)
        assert report(api, task, verb, **body).status_code == 200
        shown = read(api)
        assert shown["last_seen_at"] == clock.instant.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        assert (shown["version"], shown["running_tasks"], shown["running_task_ids"]) == ("7", 1, [task["id"]])


def test_other_requests_and_refused_claims_make_nobody_known(api: Client) -> None:
    create(api)
    api.get("/api/tasks", query_string={"worker_id": "w"})
    api.post("/api/tasks/claim", json={"worker_id": "w", "types": ["nothing"]})
    api.post("/api/tasks/claim", json={"worker_id": "w"})
    api.post("/api/tasks/987654321/heartbeat", json={"worker_id": "w"})
    api.without_key().post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]})
    assert stored(api.database) == []


def test_of_a_claim_that_fits_many_types_a_hundred_are_kept(api: Client) -> None:
    for number in range(105):
        register(api, f"t{number}")
    poll(api, types=None, type_pattern="t%")
    assert len(read(api)["types"]) == 100


def test_what_a_process_remembers_is_bounded(api: Client, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sightings, "_REMEMBERED", 10)
    for number in range(25):
        poll(api, f"w{number}")
    assert len(app.extensions[EXTENSION].sightings._heard) <= 10
    assert len(stored(api.database)) == 25


@before_the_database
def test_a_sighting_that_fails_is_logged_and_the_answer_stands(
    api: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    def fail(*_: Any, **__: Any) -> bool:
        raise RuntimeError("no luck")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR, "taskmanager"):
        patched.setattr(sightings, "note_worker", fail)
        assert poll(api).get_json()["code"] == "no_available_tasks"
    assert "a worker could not be written down" in caplog.text
    assert read(api) is None
    clock.advance(seconds=30)
    poll(api, types=["work"])
    assert read(api)["types"] == ["work"]


# --- lists ----------------------------------------------------------------------------------------------------------
def test_workers_are_listed_in_pages(api: Client) -> None:
    names = sorted(f"worker {number}/ü" for number in range(25))
    for name in names:
        poll(api, name)
    found: list[str] = []
    query: dict[str, Any] = {"limit": 10}
    while True:
        page = api.get("/api/workers", query_string=query).get_json()["data"]
        assert page["count"] == len(page["workers"]) <= 10
        found += [worker["worker_id"] for worker in page["workers"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == names


def test_the_list_is_filtered(api: Client, clock: ManualClock) -> None:
    register(api, "Other")
    poll(api, "a")
    clock.advance(seconds=100)
    poll(api, "b", types=["other", "work"])

    def listed(**query: Any) -> list[str]:
        data = api.get("/api/workers", query_string=query).get_json()["data"]
        return [worker["worker_id"] for worker in data["workers"]]

    assert listed() == ["a", "b"]
    assert listed(type="work") == ["a", "b"]
    assert listed(type="OTHER") == ["b"]
    assert listed(seen_within_seconds=60) == ["b"]
    assert listed(type="work", seen_within_seconds=60, limit=1) == ["b"]
    answer = api.get("/api/workers", query_string={"type": "nothing"})
    assert (answer.status_code, answer.get_json()["code"]) == (404, "task_type_not_found")


@before_the_database
def test_a_cursor_of_another_list_is_refused(api: Client) -> None:
    create(api)
    create(api)
    cursor = api.get("/api/tasks", query_string={"limit": 1}).get_json()["data"]["next_cursor"]
    answer = api.get("/api/workers", query_string={"cursor": cursor})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_cursor")


def test_an_unknown_worker_is_not_found(api: Client) -> None:
    for answer in (
        api.get("/api/workers/nobody"),
        api.post("/api/workers/nobody/command", json={"command": "quiet"}),
        api.get("/api/workers/" + "x" * 5000),
    ):
        assert (answer.status_code, answer.get_json()["code"]) == (404, "worker_not_found")


def test_a_worker_may_be_called_command(api: Client) -> None:
    poll(api, "command")
    poll(api, "w/command")
    assert read(api, "command")["worker_id"] == "command"
    assert command(api, "command", "quiet")["worker_id"] == "command"
    assert read(api, "w%2Fcommand")["command"] is None
    assert api.post("/api/workers/command", json={"command": "quiet"}).get_json()["data"]["count"] == 1


# --- commands -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("word", "code"), [("quiet", "commanded_quiet"), ("terminate", "commanded_terminate")])
def test_a_commanded_worker_hears_it_with_its_next_request(api: Client, word: str, code: str) -> None:
    for _ in range(2):
        create(api)
    task = claim(api)
    shown = command(api, "w", word)
    assert (shown["command"], shown["commanded_at"]) == (word, START)
    beat = report(api, task, "heartbeat").get_json()["data"]
    assert (beat["cancelled"], beat["type_paused"], beat["command"]) == (False, False, word)
    for headers in ({}, {"Prefer": "return=minimal"}):
        told = report(api, task, "progress", progress=5, headers=headers).get_json()["data"]
        assert (told["type_paused"], told["command"]) == (False, word)
    refused = poll(api)
    body = refused.get_json()
    assert (body["code"], body["error"], body["message"]) == (code, "No available tasks", "No available tasks")
    assert word in body["detail"]
    assert int(refused.headers["Retry-After"]) >= 1
    assert claim(api, "another")
    assert command(api, "w", None)["commanded_at"] is None
    create(api)
    assert claim(api)


def test_all_workers_can_be_commanded_at_once(api: Client) -> None:
    for worker_id in ("a", "b", "c"):
        poll(api, worker_id)
    command(api, "b", "terminate")
    answer = api.post("/api/workers/command", json={"command": "terminate"})
    assert answer.get_json()["data"] == {"command": "terminate", "count": 2}
    assert {read(api, worker_id)["command"] for worker_id in "abc"} == {"terminate"}
    create(api)
    assert claim(api, "new one")
    answer = api.post("/api/workers/command", json={"command": None})
    assert answer.get_json()["data"] == {"command": None, "count": 3}


def test_another_process_hears_of_a_command_within_the_seconds_of_the_cache(
    api: Client, other_process: Client, settings: Settings
) -> None:
    moment = [0.0]
    other_process.database.cache._clock = lambda: moment[0]
    create(api)
    task = claim(other_process)
    command(api, "w", "quiet")
    assert report(other_process, task, "heartbeat").get_json()["data"]["command"] is None
    moment[0] = settings.cache_seconds
    assert report(other_process, task, "heartbeat").get_json()["data"]["command"] == "quiet"


# --- pause and drain ------------------------------------------------------------------------------------------------
def test_the_queue_is_paused_and_resumed(api: Client) -> None:
    assert api.get("/api/queue").get_json()["data"] == {"is_paused": False, "is_draining": False}
    create(api)
    task = claim(api)
    create(api)
    assert change_queue(api, is_paused=True) == {"is_paused": True, "is_draining": False}
    assert api.get("/api/queue").get_json()["data"]["is_paused"] is True
    body = poll(api, "other").get_json()
    assert (body["code"], body["error"]) == ("no_available_tasks", "No available tasks")
    assert "queue is paused" in body["detail"]
    beat = report(api, task, "heartbeat").get_json()["data"]
    assert (beat["type_paused"], beat["command"]) == (True, None)
    assert create(api).status_code == 201
    assert report(api, task, "complete", success=True).status_code == 200
    change_queue(api, is_paused=False)
    assert claim(api)


def test_a_claim_of_a_paused_queue_is_no_statement(api: Client) -> None:
    change_queue(api, is_paused=True)
    poll(api)
    with counted_statements(api.database) as seen:
        poll(api)
    assert seen == []


def test_the_queue_is_drained(api: Client) -> None:
    create(api)
    change_queue(api, is_draining=True)
    refused = create(api)
    body = refused.get_json()
    assert (refused.status_code, body["code"], body["error"]) == (503, "queue_draining", "The queue is draining")
    assert refused.headers["Retry-After"] == "60"
    assert claim(api)
    node = {"type": "work", "params": {"n": -1}}
    for path, body in (
        ("/api/tasks/batch", {"tasks": [node, {"type": "nothing", "params": {}}]}),
        ("/api/tasks/batch", {"tasks": [node], "atomic": True}),
        ("/api/workflows", {"tasks": [{"name": "a", **node}]}),
        ("/api/tasks", {**node, "tags": ["a"]}),
    ):
        refused = api.post(path, json=body)
        assert (refused.status_code, refused.get_json()["code"]) == (503, "queue_draining")
    assert stored(api.database, workflows) == []
    assert len(stored(api.database, tasks)) == 1
    # A repeatable request is not remembered as refused.
    params = {"type": "work", "params": {"key": 1}}
    headers = {"Idempotency-Key": "k"}
    assert api.post("/api/tasks", json=params, headers=headers).status_code == 503
    change_queue(api, is_draining=False)
    assert api.post("/api/tasks", json=params, headers=headers).status_code == 201


def test_schedules_wait_until_the_queue_drains_no_more(api: Client, clock: ManualClock) -> None:
    body = {"name": "s", "type": "work", "params": {}, "interval_seconds": 60}
    assert api.post("/api/schedules", json=body).status_code == 201

    def fire() -> int:
        return api.database.write(fire_due_schedules, atomic=False)

    change_queue(api, is_draining=True, is_paused=True)
    clock.advance(seconds=61)
    assert fire() == 0
    assert stored(api.database, tasks) == []
    change_queue(api, is_draining=False)
    assert fire() == 2  # The schedule and its task: a paused queue accepts new tasks.
    assert len(stored(api.database, tasks)) == 1


def test_a_type_is_paused_resumed_and_drained_by_its_flags(api: Client) -> None:
    create(api)
    create(api)
    task = claim(api)
    api.patch("/api/task-types/work", json={"is_paused": True})
    assert report(api, task, "heartbeat").get_json()["data"]["type_paused"] is True
    poll(api)
    assert create(api).status_code == 201
    api.patch("/api/task-types/work", json={"is_paused": False, "is_active": False})
    assert report(api, task, "heartbeat").get_json()["data"]["type_paused"] is False
    assert create(api).get_json()["code"] == "task_type_inactive"
    assert claim(api)


def test_progress_on_a_cancelled_task_says_so_in_the_old_sentence(api: Client) -> None:
    create(api)
    task = claim(api)
    api.post(f"/api/tasks/{task['id']}/cancel")
    assert report(api, task, "heartbeat").get_json()["data"]["cancelled"] is True
    for verb, body in (("progress", {"progress": 5}), ("complete", {"success": True}), ("release", {})):
        answer = report(api, task, verb, **body)
        shown = answer.get_json()
        assert (answer.status_code, shown["code"]) == (400, "task_cancelled")
        assert shown["error"] == shown["message"] == "Task is not in claimed state"
    other = {**task, "claimed_by": "somebody else", "lease_token": None}
    assert report(api, other, "progress", progress=5).get_json()["code"] == "task_not_claimed"
