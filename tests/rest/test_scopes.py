"""Who may call what: every endpoint with no key, a bad one, and a key of every scope."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app import create_app
from app.queue.keys import Scope, create_key, revoke_key
from app.rest.health import AUTH_IS_OFF
from app.settings import Settings
from app.storage.database import Database
from tests.support.client import Client
from tests.support.clock import ManualClock

EVERYBODY = None
ANY_KEY = {"admin", "producer", "worker", "read"}
PRODUCER = {"admin", "producer"}
WORKER = {"admin", "worker"}
ADMIN = {"admin"}

# Which scopes may call what; None: no key is needed. A new endpoint must be written down here.
ALLOWED: dict[tuple[str, str], set[str] | None] = {
    ("GET", "/api/health"): EVERYBODY,
    ("GET", "/api/openapi.json"): EVERYBODY,
    ("GET", "/api/docs/"): EVERYBODY,
    ("GET", "/api/docs/<path:path>"): EVERYBODY,
    ("POST", "/api/task-types/register"): PRODUCER,
    ("GET", "/api/task-types"): ANY_KEY,
    ("GET", "/api/task-types/<name:name>"): ANY_KEY,
    ("PATCH", "/api/task-types/<name:name>"): ADMIN,
    ("POST", "/api/tasks"): PRODUCER,
    ("POST", "/api/tasks/batch"): PRODUCER,
    ("GET", "/api/tasks"): ANY_KEY,
    ("GET", "/api/tasks/<id:task_id>"): ANY_KEY,
    ("GET", "/api/tasks/<id:task_id>/attempts"): ANY_KEY,
    ("GET", "/api/tasks/<id:task_id>/explain"): ANY_KEY,
    ("GET", "/api/task-types/<name:name>/stats/"): ANY_KEY,
    ("POST", "/api/tasks/<id:task_id>/cancel"): PRODUCER,
    ("PATCH", "/api/tasks/<id:task_id>"): PRODUCER,
    ("GET", "/api/tasks/<id:task_id>/logs"): ANY_KEY,
    ("POST", "/api/tasks/<id:task_id>/logs"): WORKER,
    ("POST", "/api/tasks/claim"): WORKER,
    ("POST", "/api/tasks/<id:task_id>/heartbeat"): WORKER,
    ("POST", "/api/tasks/<id:task_id>/progress"): WORKER,
    ("POST", "/api/tasks/<id:task_id>/complete"): WORKER,
    ("POST", "/api/tasks/<id:task_id>/release"): WORKER,
    ("POST", "/api/workflows"): PRODUCER,
    ("GET", "/api/workflows"): ANY_KEY,
    ("GET", "/api/workflows/<id:workflow_id>"): ANY_KEY,
    ("POST", "/api/workflows/<id:workflow_id>/cancel"): PRODUCER,
    ("POST", "/api/housekeeping/run"): WORKER,
    ("GET", "/api/audit"): ADMIN,
    ("POST", "/api/schedules"): PRODUCER,
    ("POST", "/api/schedules/preview"): ANY_KEY,
    ("GET", "/api/schedules"): ANY_KEY,
    ("GET", "/api/schedules/<id:schedule_id>"): ANY_KEY,
    ("PATCH", "/api/schedules/<id:schedule_id>"): PRODUCER,
    ("DELETE", "/api/schedules/<id:schedule_id>"): PRODUCER,
    ("POST", "/api/tasks/cancel"): ADMIN,
    ("POST", "/api/tasks/<id:task_id>/requeue"): PRODUCER,
    ("GET", "/api/dead-letters"): ANY_KEY,
    ("GET", "/api/dead-letters/summary"): ANY_KEY,
    ("POST", "/api/dead-letters/requeue"): ADMIN,
    ("POST", "/api/dead-letters/purge"): ADMIN,
    ("DELETE", "/api/dead-letters/<id:task_id>"): ADMIN,
    ("GET", "/api/operations"): ANY_KEY,
    ("GET", "/api/operations/<id:operation_id>"): ANY_KEY,
    ("POST", "/api/operations/<id:operation_id>/cancel"): ADMIN,
    ("GET", "/api/queue"): ANY_KEY,
    ("PATCH", "/api/queue"): ADMIN,
    ("GET", "/api/workers"): ANY_KEY,
    ("GET", "/api/workers/<name:worker>"): ANY_KEY,
    ("POST", "/api/workers/<name:worker>/command"): ADMIN,
    ("POST", "/api/workers/command"): ADMIN,
    ("POST", "/api/tasks/batch/claim"): WORKER,
    ("POST", "/api/tasks/batch/complete"): WORKER,
    ("POST", "/api/tasks/batch/exchange"): WORKER,
    ("POST", "/api/keys"): ADMIN,
    ("GET", "/api/keys"): ADMIN,
    ("PATCH", "/api/keys/<id:key_id>"): ADMIN,
    ("DELETE", "/api/keys/<id:key_id>"): ADMIN,
}
LEGACY = {
    (method, path.removeprefix("/api")): scopes
    for (method, path), scopes in ALLOWED.items()
    if path.startswith(("/api/health", "/api/task"))
}
NOT_OF_THE_API = {("GET", "/")}
REFUSALS = (401, 403)


def endpoints(app: Flask) -> list[tuple[str, str]]:
    return sorted(
        (method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"}
    )


def call(client: Client, method: str, rule: str) -> Any:
    path = rule.replace("<name:name>", "nothing").replace("<id:task_id>", "1").replace("<id:key_id>", "999999999")
    path = path.replace("<id:workflow_id>", "1").replace("<id:schedule_id>", "1")
    path = path.replace("<id:operation_id>", "1")
    path = path.replace("<id:workflow_id>", "1").replace("<id:schedule_id>", "1").replace("<name:worker>", "nobody")
    return client.request(method, path.replace("<path:path>", "swagger-ui.css"), json={"surprise": 1})


@pytest.fixture
def keys(database: Database, clock: ManualClock) -> dict[str, str]:
    """A key of each single scope, and keys that are good for nothing."""

    def make(name: str, scope: str, expires: bool = False) -> str:
        at = clock.instant + timedelta(seconds=60) if expires else None
        return database.write(lambda tx: create_key(tx, name=name, scopes=[scope], expires_at=at))[0]

    def make_revoked(tx: Any) -> str:
        secret, row = create_key(tx, name="revoked", scopes=["admin"])
        revoke_key(tx, row["id"])
        return secret

    made = {scope.value: make(scope.value, scope.value) for scope in Scope}
    made["expired"] = make("expired", "admin", expires=True)
    clock.advance(seconds=60)
    made["revoked"] = database.write(make_revoked)
    made["unknown"] = "tm_unknown"
    return made


def test_every_endpoint_is_in_the_table(app: Flask) -> None:
    assert set(endpoints(app)) == set(ALLOWED) | NOT_OF_THE_API, "write the new endpoint into ALLOWED"


def check_table(app: Flask, database: Database, keys: dict[str, str], table: dict[tuple[str, str], Any]) -> None:
    wrong = []
    for (method, rule), scopes in table.items():
        expected = {name: None if scopes is None or name in scopes else "scope_missing" for name in keys}
        expected["nothing"] = None if scopes is None else "key_required"
        for name in ("expired", "revoked", "unknown"):
            expected[name] = None if scopes is None else "key_refused"
        for name, code in expected.items():
            answer = call(Client(app, database, keys.get(name)), method, rule)
            if code is None:
                if answer.status_code in REFUSALS or answer.status_code >= 500:
                    wrong.append((method, rule, name, answer.status_code, answer.get_data(as_text=True)[:200]))
            elif (answer.status_code, answer.get_json()["code"]) != (403 if code == "scope_missing" else 401, code):
                wrong.append((method, rule, name, answer.status_code, answer.get_data(as_text=True)[:200]))
    assert not wrong


def test_each_endpoint_lets_in_the_scopes_of_the_table_and_nobody_else(
    app: Flask, database: Database, keys: dict[str, str]
) -> None:
    check_table(app, database, keys, ALLOWED)


def test_the_old_paths_ask_for_the_same_keys(settings: Settings, database: Database, keys: dict[str, str]) -> None:
    app = create_app(Settings(database_url=settings.database_url, legacy_paths=True), database=database)
    assert set(endpoints(app)) == set(ALLOWED) | set(LEGACY) | NOT_OF_THE_API
    check_table(app, database, keys, LEGACY)


def test_without_the_setting_there_are_no_old_paths(client: Client) -> None:
    for method, rule in LEGACY:
        answer = call(client, method, rule)
        assert answer.status_code == 404
        assert answer.get_json()["error"] == "Endpoint not found"


def test_options_needs_no_key_anywhere(app: Flask, client: Client) -> None:
    anonymous = client.without_key()
    for method, rule in endpoints(app):
        answer = call(anonymous, "OPTIONS", rule)
        assert answer.status_code == 204, rule
        assert not answer.data
        assert method in answer.headers["Allow"].split(", "), rule


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "{key}"},
        {"X-API-Key": "  {key}  "},
        {"Authorization": "Bearer {key}"},
        {"Authorization": "bearer {key}"},
        {"Authorization": "Bearer   {key}"},
    ],
)
def test_a_key_is_understood_in_either_header(client: Client, headers: dict[str, str]) -> None:
    filled = {name: value.format(key=client.key) for name, value in headers.items()}
    assert client.without_key().get("/api/keys", headers=filled).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-API-Key": ""}, "key_required"),
        ({"X-API-Key": "   "}, "key_required"),
        ({"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}, "key_required"),
        ({"Authorization": "Bearer"}, "key_required"),
        ({"Authorization": "Bearer "}, "key_required"),
        ({"X-API-Key": "x" * 100_000}, "key_refused"),
        ({"X-API-Key": "tm_ünïcode"}, "key_refused"),
        ({"X-API-Key": "tm_' OR 1=1 --"}, "key_refused"),
    ],
)
def test_what_is_no_key_is_refused(client: Client, headers: dict[str, str], code: str) -> None:
    answer = client.without_key().get("/api/keys", headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (401, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_missing_scope_is_named(client: Client) -> None:
    answer = client.as_key("read").post("/api/tasks", json={})
    assert "`producer`" in answer.get_json()["detail"]


def test_the_key_is_asked_for_before_the_body_is_read(client: Client) -> None:
    assert client.without_key().post("/api/tasks", data="{").status_code == 401
    assert client.as_key("read").post("/api/tasks", data="{").status_code == 403


def test_without_auth_everybody_may_do_everything_and_health_warns(
    settings: Settings, database: Database, clock: ManualClock
) -> None:
    app = create_app(Settings(database_url=settings.database_url, auth=False), database=database)
    anonymous = Client(app, database, None)
    for method, rule in ALLOWED:
        assert call(anonymous, method, rule).status_code not in REFUSALS, rule
    assert Client(app, database, "tm_unknown").get("/api/keys").status_code == 200
    assert anonymous.get("/api/health").get_json()["data"]["warnings"] == [AUTH_IS_OFF]
    body = {"name": "made by nobody", "scopes": ["read"]}
    assert anonymous.post("/api/keys", json=body).status_code == 201


def test_with_auth_health_does_not_warn(client: Client) -> None:
    assert client.without_key().get("/api/health").get_json()["data"]["warnings"] == []
