"""Housekeeping by web-cron, and the state of it in the health of the server."""

import pytest
from flask import Flask

from app import create_app
from app.errors import TaskTypeNotFound
from app.housekeeping import Housekeeper
from app.queue.duties import HOUSEKEEPING, take_duty
from app.settings import Settings
from app.storage.database import Database
from app.storage.models import operations
from tests.support.client import Client
from tests.support.clock import ManualClock
from tests.support.factories import Queue
from tests.support.jobs import make_job
from tests.support.statements import counted_statements


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


@pytest.fixture
def settings(prepared_url: str) -> Settings:
    """Nothing is done by itself after an answer."""
    return Settings(database_url=prepared_url, sqlite_synchronous="normal", housekeeping_seconds=0)


def test_a_round_tells_what_it_did(client: Client, queue: Queue, clock: ManualClock) -> None:
    queue.register()
    for _ in range(3):
        queue.create(delay_seconds=5)
    clock.advance(seconds=5)
    answer = client.post("/api/housekeeping/run", json={"budget_seconds": 5})
    data = answer.get_json()["data"]
    assert data["jobs"] == [{"name": "do_what_is_due", "changed": 3}]
    assert (data["changed"], data["skipped"], data["has_more"]) == (3, False, False)
    assert 0 < data["seconds"] < 5


@pytest.mark.parametrize("body", [b"", b" \n", b"{}"])
def test_a_round_needs_no_body_and_any_worker_may_ask_for_it(client: Client, body: bytes) -> None:
    answer = client.as_key("worker").post("/api/housekeeping/run", data=body)
    data = answer.get_json()["data"]
    assert (answer.status_code, data["jobs"], data["changed"]) == (200, [], 0)


def test_a_round_while_another_process_is_at_it_is_skipped(client: Client, queue: Queue, clock: ManualClock) -> None:
    queue.register()
    queue.create(delay_seconds=5)
    clock.advance(seconds=5)
    queue.do(take_duty, HOUSEKEEPING, "another")
    answer = client.post("/api/housekeeping/run")
    assert answer.status_code == 200
    assert (answer.get_json()["data"]["skipped"], answer.get_json()["data"]["has_more"]) == (True, True)
    clock.advance(seconds=10)
    assert client.post("/api/housekeeping/run").get_json()["data"]["changed"] == 1


def test_health_tells_an_admin_how_housekeeping_is(client: Client, queue: Queue, clock: ManualClock) -> None:
    queue.register()
    for _ in range(3):
        queue.create(delay_seconds=5)
    clock.advance(seconds=7.5)
    values = {"kind": "cancel", "filter": {}, "options": {}, "position": {}, "up_to_task_id": 1, "examined": 0}
    values |= {"changed": 0, "created_by": "a", "created_at": clock.instant, "updated_at": clock.instant}
    for status in ("running", "completed"):
        queue.do(lambda tx, status=status: tx.execute(operations.insert(), {**values, "status": status}))
    before = client.get("/api/health?verbose=1").get_json()["data"]
    assert before["housekeeping"]["last_began_at"] is None
    assert before["housekeeping"]["backlog"] == {
        "due_tasks": 3,
        "is_exact": True,
        "late_seconds": 2.5,
        "due_schedules": 0,
        "running_operations": 1,
    }
    assert before["storage"]["kind"] in ("sqlite", "mariadb", "mysql")
    assert before["storage"]["version"][0].isdigit()
    assert (before["storage"]["pool_size"], before["storage"]["now"]) == (1, "2026-01-01T12:00:07.500Z")
    client.post("/api/housekeeping/run")
    after = client.get("/api/health?verbose=true").get_json()["data"]["housekeeping"]
    assert (after["last_began_at"], after["last_ended_at"]) == ("2026-01-01T12:00:07.500Z",) * 2
    # Three tasks were woken, and an operation that nobody knows was given up.
    assert (after["last_changed"], after["is_running"], after["backlog"]["due_tasks"]) == (4, False, 0)
    assert after["last_seconds"] > 0
    assert after["last_error"] is None


def test_health_tells_of_the_holder_and_of_the_latest_error(
    client: Client, database: Database, settings: Settings, queue: Queue, clock: ManualClock
) -> None:
    def broken(tx: object) -> int:
        raise TaskTypeNotFound

    Housekeeper(database, settings, [make_job("broken", broken)]).run(budget_seconds=1)
    queue.do(take_duty, HOUSEKEEPING, "another")
    shown = client.get("/api/health?verbose=1").get_json()["data"]["housekeeping"]
    assert shown["last_error"] == "broken: TaskTypeNotFound: Task type not found"
    assert shown["last_error_at"] == "2026-01-01T12:00:00.000Z"
    assert (shown["is_running"], shown["held_until"]) == (True, "2026-01-01T12:00:10.000Z")
    assert "another" not in str(shown)
    clock.advance(seconds=10)
    assert not client.get("/api/health?verbose=1").get_json()["data"]["housekeeping"]["is_running"]


def test_only_an_admin_is_told_more(client: Client) -> None:
    assert client.without_key().get("/api/health?verbose=1").get_json()["code"] == "key_required"
    for scope in ("read", "worker", "producer"):
        assert client.as_key(scope).get("/api/health?verbose=1").get_json()["code"] == "scope_missing"
    wrong = Client(client.app, client.database, "tm_unknown").get("/api/health?verbose=1")
    assert (wrong.status_code, wrong.get_json()["code"]) == (401, "key_refused")


@pytest.mark.parametrize("query", ["", "?verbose=0", "?verbose=false", "?_=1&_=2", "?x=%00&verbose=0"])
def test_plain_health_needs_no_key_and_may_be_asked_with_anything(client: Client, query: str) -> None:
    answer = client.without_key().get(f"/api/health{query}")
    assert answer.status_code == 200
    assert set(answer.get_json()["data"]) == {"status", "database", "version", "warnings"}


def test_a_wrong_word_for_verbose_is_refused(client: Client) -> None:
    answer = client.without_key().get("/api/health?verbose=very")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_request")


def test_verbose_health_is_two_statements(client: Client) -> None:
    client.get("/api/health?verbose=1")
    with counted_statements(client.database) as seen:
        client.get("/api/health?verbose=1")
    assert len(seen) == 2, seen


def test_the_backlog_is_counted_up_to_ten_thousand(client: Client, queue: Queue, clock: ManualClock) -> None:
    from app.storage.models import tasks

    queue.register()
    row = queue.create(delay_seconds=1)

    def fill(tx: object) -> None:
        copied = tx.one(tasks.select())  # type: ignore[attr-defined]
        copied.pop("id")
        rows = [{**copied, "dedupe_hash": f"{number:064x}"} for number in range(10_000)]
        tx.execute(tasks.insert(), rows)  # type: ignore[attr-defined]

    queue.database.write(fill)
    assert row["id"]
    clock.advance(seconds=1)
    backlog = client.get("/api/health?verbose=1").get_json()["data"]["housekeeping"]["backlog"]
    assert (backlog["due_tasks"], backlog["is_exact"]) == (10_000, False)


def test_without_keys_everybody_is_told_more(settings: Settings, database: Database) -> None:
    app: Flask = create_app(Settings(database_url=settings.database_url, auth=False), database=database)
    assert "housekeeping" in Client(app, database, None).get("/api/health?verbose=1").get_json()["data"]
