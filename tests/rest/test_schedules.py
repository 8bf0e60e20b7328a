"""Schedules over HTTP: saved, previewed, listed, changed, deleted, and what their tasks show."""

from datetime import timedelta

import pytest

from app.queue.fire import fire_due_schedules
from app.settings import Settings
from tests.support.client import Client
from tests.support.statements import counted_statements

NIGHTLY = {"name": "nightly", "type": "work", "params": {"a": 1}, "cron": "0 3 * * *", "timezone": "Europe/Berlin"}


@pytest.fixture
def settings(prepared_url: str) -> Settings:
    """Nothing is done by itself after an answer."""
    return Settings(database_url=prepared_url, sqlite_synchronous="normal", housekeeping_seconds=0)


@pytest.fixture
def client(client: Client) -> Client:
    body = {"name": "work", "version": "1", "param_schema": {"type": "object"}}
    assert client.post("/api/task-types/register", json=body).status_code == 201
    return client


def test_a_schedule_is_created_once_and_updated_by_its_name(client: Client, clock) -> None:
    first = client.post("/api/schedules", json=NIGHTLY)
    clock.advance(seconds=1)
    again = client.post("/api/schedules", json=NIGHTLY)
    changed = client.post("/api/schedules", json={**NIGHTLY, "cron": "30 3 * * *"})
    assert [answer.status_code for answer in (first, again, changed)] == [201, 200, 200]
    shown = [answer.get_json()["data"] for answer in (first, again, changed)]
    assert [(one["created"], one["updated"]) for one in shown] == [(True, False), (False, True), (False, True)]
    assert {**shown[1], "created": True, "updated": False} == shown[0]
    assert shown[0]["next_at"] == "2026-01-02T02:00:00.000Z"
    assert shown[2]["next_at"] == "2026-01-02T02:30:00.000Z"
    assert client.get(f"/api/schedules/{shown[0]['id']}").get_json()["data"]["cron"] == "30 3 * * *"


def test_a_preview_shows_the_instants_in_utc_and_in_their_zone(client: Client, clock) -> None:
    clock.advance(seconds=86 * 86400)
    body = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "count": 3}
    data = client.as_key("read").post("/api/schedules/preview", json=body).get_json()["data"]
    assert data == {
        "instants": [
            {"at": "2026-03-29T01:00:00.000Z", "local": "2026-03-29T03:00:00+02:00"},
            {"at": "2026-03-30T00:30:00.000Z", "local": "2026-03-30T02:30:00+02:00"},
            {"at": "2026-03-31T00:30:00.000Z", "local": "2026-03-31T02:30:00+02:00"},
        ],
        "count": 3,
        "timezone": "Europe/Berlin",
    }
    assert client.get("/api/schedules").get_json()["data"]["count"] == 0


def test_a_task_shows_the_schedule_and_the_instant_that_it_is_for(client: Client, clock) -> None:
    schedule = client.post("/api/schedules", json={**NIGHTLY, "tags": ["x"], "metadata": {"y": 1}}).get_json()["data"]
    clock.advance(seconds=timedelta(hours=14, seconds=5).total_seconds())
    client.database.write(fire_due_schedules, atomic=False)
    (task,) = client.get("/api/tasks").get_json()["data"]["tasks"]
    assert (task["schedule_id"], task["scheduled_for"]) == (schedule["id"], "2026-01-02T02:00:00.000Z")
    assert (task["tags"], task["metadata"], task["dedupe_key"]) == (["x"], {"y": 1}, None)
    after = client.get(f"/api/schedules/{schedule['id']}").get_json()["data"]
    assert (after["last_task_id"], after["last_at"]) == (task["id"], "2026-01-02T02:00:00.000Z")


def test_housekeeping_fires_what_is_due(client: Client, clock) -> None:
    client.post("/api/schedules", json=NIGHTLY)
    clock.advance(seconds=86400)
    done = client.post("/api/housekeeping/run", json={}).get_json()["data"]
    assert {"name": "fire_due_schedules", "changed": 2} in done["jobs"]
    claimed = client.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]})
    assert claimed.get_json()["data"]["params"] == {"a": 1}


def test_schedules_are_listed_in_pages_paused_and_deleted(client: Client) -> None:
    ids = [client.post("/api/schedules", json={**NIGHTLY, "name": n}).get_json()["data"]["id"] for n in "abc"]
    first = client.get("/api/schedules", query_string={"limit": 2, "type": "work"}).get_json()["data"]
    rest = client.get("/api/schedules", query_string={"limit": 2, "cursor": first["next_cursor"]}).get_json()["data"]
    assert [one["id"] for one in first["schedules"] + rest["schedules"]] == ids[::-1]
    assert rest["next_cursor"] is None
    path = f"/api/schedules/{ids[0]}"
    paused = client.patch(path, json={"is_paused": True}).get_json()["data"]
    assert (paused["is_paused"], paused["next_at"]) == (True, None)
    assert client.delete(path).get_json()["data"] == paused
    for answer in (client.get(path), client.delete(path), client.patch(path, json={})):
        assert (answer.status_code, answer.get_json()["code"]) == (404, "schedule_not_found")


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"cron": "0 0 30 2 *"}, "invalid_schedule", "cron"),
        ({"timezone": "Europe/Atlantis"}, "invalid_schedule", "timezone"),
        ({"ends_at": "2026-01-01T12:00:00Z"}, "invalid_schedule", "ends_at"),
        ({"starts_at": "2027-01-01T00:00:00Z", "ends_at": "2026-06-01T00:00:00Z"}, "invalid_schedule", "ends_at"),
        ({"interval_seconds": 60}, "invalid_request", "interval_seconds"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field_when_saved_changed_and_previewed(client: Client, given, code, field):
    path = f"/api/schedules/{client.post('/api/schedules', json=NIGHTLY).get_json()['data']['id']}"
    timetable = {name: NIGHTLY[name] for name in ("cron", "timezone")}
    for answer in (
        client.post("/api/schedules", json={**NIGHTLY, "name": "new", **given}),
        client.patch(path, json={**timetable, **given}),
        client.post("/api/schedules/preview", json={**timetable, **given}),
    ):
        problem = answer.get_json()
        assert (answer.status_code, problem["code"]) == (400, code)
        assert [detail["field"] for detail in problem["details"]] == [field]
        assert field in problem["error"]


def test_many_tasks_of_a_schedule_cost_no_more_statements_than_one(client: Client, clock) -> None:
    often = {"name": "often", "type": "work", "params": {}, "interval_seconds": 60, "tags": ["x"]}
    client.post("/api/schedules", json={**often, "overlap": "queue", "catch_up": "all"})
    counts = []
    for minutes in (0, 1, 1, 50):
        clock.advance(seconds=minutes * 60)
        with counted_statements(client.database) as seen:
            client.database.write(fire_due_schedules, atomic=False)
        counts.append(len(seen))
    # The first firing reads the type, which is kept for the others.
    assert counts[0] == 1
    assert counts[3] == counts[2] <= 12
    assert client.get("/api/tasks", query_string={"limit": 1000}).get_json()["data"]["count"] == 52
