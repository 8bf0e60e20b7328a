"""Every change that an admin makes leaves one entry in the audit log, and what is refused leaves none."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask

from app import create_app
from app.queue.filters import TaskFilter
from app.queue.keys import Scope
from app.queue.operations import PURGE, NewOperation, start_operation
from app.rest.contract import Contract
from app.settings import Settings
from app.storage.database import Database
from tests.support.client import Client

Json = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """How an admin's endpoint is made to change something, and how it is made to refuse."""

    path: str
    body: Json | None
    subject: str
    #: Bodies, or paths, that are refused.
    refused: list[tuple[str, Json | None]] = field(default_factory=list)
    #: Whether the same request a second time changes something again.
    repeats: bool = False


def table(ids: Json) -> dict[tuple[str, str], Change | None]:
    """Every endpoint for admins that is not GET; None stands for one that writes nothing."""
    return {
        ("PATCH", "/api/task-types/<name:name>"): Change(
            "/api/task-types/work",
            {"is_paused": True},
            "task-types/work",
            [("/api/task-types/nothing", {"is_paused": True}), ("/api/task-types/work", {"max_attempts": 0})],
        ),
        ("PATCH", "/api/queue"): Change(
            "/api/queue", {"is_draining": True}, "queue", [("/api/queue", {"is_draining": None})]
        ),
        ("POST", "/api/workers/<name:worker>/command"): Change(
            "/api/workers/w/command",
            {"command": "quiet"},
            "workers/w",
            [("/api/workers/nobody/command", {"command": "quiet"}), ("/api/workers/w/command", {"command": "stop"})],
        ),
        ("POST", "/api/workers/command"): Change(
            "/api/workers/command", {"command": "terminate"}, "workers", [("/api/workers/command", {})]
        ),
        ("POST", "/api/tasks/cancel"): Change(
            "/api/tasks/cancel", {"type": "work"}, "operations/{id}", [("/api/tasks/cancel", {})], repeats=True
        ),
        ("POST", "/api/dead-letters/requeue"): Change(
            "/api/dead-letters/requeue",
            {"all": True},
            "operations/{id}",
            [("/api/dead-letters/requeue", {})],
            repeats=True,
        ),
        ("POST", "/api/dead-letters/purge"): Change(
            "/api/dead-letters/purge",
            {"all": True},
            "operations/{id}",
            [("/api/dead-letters/purge", {"extra_attempts": 1, "all": True})],
            repeats=True,
        ),
        ("DELETE", "/api/dead-letters/<id:task_id>"): Change(
            f"/api/dead-letters/{ids['dead']}",
            None,
            f"tasks/{ids['dead']}",
            [("/api/dead-letters/999999999", None), (f"/api/dead-letters/{ids['waiting']}", None)],
            repeats=True,
        ),
        ("POST", "/api/operations/<id:operation_id>/cancel"): Change(
            f"/api/operations/{ids['operation']}/cancel",
            None,
            f"operations/{ids['operation']}",
            [("/api/operations/999999999/cancel", None)],
        ),
        ("POST", "/api/keys"): Change(
            "/api/keys",
            {"name": "new", "scopes": ["read"]},
            "keys/{id}",
            [("/api/keys", {"name": "new", "scopes": ["read"], "expires_at": "2001-01-01T00:00:00Z"})],
            repeats=True,
        ),
        ("PATCH", "/api/keys/<id:key_id>"): Change(
            f"/api/keys/{ids['key']}",
            {"name": "renamed"},
            f"keys/{ids['key']}",
            [
                ("/api/keys/999999999", {"name": "renamed"}),
                (f"/api/keys/{ids['admin']}", {"expires_at": "2050-01-01T00:00:00Z"}),
            ],
        ),
        ("DELETE", "/api/keys/<id:key_id>"): Change(
            f"/api/keys/{ids['key']}",
            None,
            f"keys/{ids['key']}",
            [("/api/keys/999999999", None), (f"/api/keys/{ids['admin']}", None)],
        ),
    }


def admin_rules(app: Flask) -> dict[tuple[str, str], Contract]:
    found = {}
    for rule in app.url_map.iter_rules():
        contract = getattr(app.view_functions[rule.endpoint], "contract", None)
        if contract is not None and contract.scope is Scope.ADMIN:
            found.update({(method, rule.rule): contract for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}})
    return {key: contract for key, contract in found.items() if key[0] != "GET"}


RULES = admin_rules(create_app(Settings()))


@pytest.fixture
def ids(client: Client) -> Json:
    body = {"name": "work", "version": "1", "param_schema": {"type": "object"}}
    assert client.post("/api/task-types/register", json=body).status_code == 201
    assert client.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]}).status_code == 404
    key = client.post("/api/keys", json={"name": "one", "scopes": ["read"]}).get_json()["data"]["id"]
    admin = next(row["id"] for row in client.get("/api/keys").get_json()["data"]["keys"] if row["name"] == "admin")
    work = {"type": "work", "params": {}}
    dead = client.post("/api/tasks", json=work).get_json()["data"]["id"]
    token = client.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]}).get_json()["data"][
        "lease_token"
    ]
    report = {"worker_id": "w", "lease_token": token, "success": False, "retryable": False}
    assert client.post(f"/api/tasks/{dead}/complete", json=report).status_code == 200
    waiting = client.post("/api/tasks", json=work).get_json()["data"]["id"]
    begun = NewOperation(kind=PURGE, filter=TaskFilter(type="nothing"))
    operation = client.database.write(lambda tx: start_operation(tx, begun))["id"]
    return {"key": key, "admin": admin, "dead": dead, "waiting": waiting, "operation": operation}


def entries(client: Client, **query: Any) -> list[Json]:
    answer = client.get("/api/audit", query_string=query)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: list[Json] = answer.get_json()["data"]["entries"]
    return found


def by_people(client: Client) -> list[Json]:
    """Without the keys that the test's own client has made."""
    return [entry for entry in entries(client) if entry["actor"] != "taskmanager"]


def test_every_endpoint_for_admins_is_in_the_table() -> None:
    assert set(RULES) == set(table(defaultdict(int))), "write the new endpoint into the table"


@pytest.mark.parametrize(("method", "rule"), sorted(RULES), ids=lambda part: str(part).removeprefix("/api/"))
def test_a_change_leaves_one_entry_and_a_refusal_none(client: Client, ids: Json, method: str, rule: str) -> None:
    change = table(ids)[method, rule]
    if change is None:
        return
    before = by_people(client)
    for path, body in change.refused:
        assert 400 <= client.request(method, path, json=body).status_code < 500
    assert client.as_key("read").request(method, change.path, json=change.body).status_code == 403
    assert client.without_key().request(method, change.path, json=change.body).status_code == 401
    assert by_people(client) == before

    answer = client.request(method, change.path, json=change.body)
    assert answer.status_code < 300, answer.get_data(as_text=True)
    found = by_people(client)
    assert found[1:] == before
    assert found[0]["actor"] == "admin"
    assert found[0]["api_key_id"] == ids["admin"]
    assert found[0]["action"] == RULES[method, rule].operation_id
    assert found[0]["subject"] == change.subject.format(**answer.get_json()["data"])

    assert client.request(method, change.path, json=change.body).status_code < 300
    assert len(by_people(client)) == len(found) + change.repeats


def test_registering_again_with_changes_is_written_down_with_the_producer_who_did_it(client: Client, ids: Json) -> None:
    body = {"name": "work", "version": "2", "param_schema": {"type": "object"}}
    producer = client.as_key("producer")
    for _ in range(2):
        assert producer.post("/api/task-types/register", json=body).status_code == 200
    (entry,) = entries(client, subject="task-types/work")
    assert (entry["actor"], entry["action"]) == ("producer", "register_task_type")
    assert entry["details"] == {"version": {"old": "1", "new": "2"}}


def test_without_keys_everybody_is_the_actor(settings: Settings, database: Database) -> None:
    app = create_app(Settings(database_url=settings.database_url, auth=False), database=database)
    anonymous = Client(app, database, None)
    assert anonymous.post("/api/keys", json={"name": "k", "scopes": ["read"]}).status_code == 201
    (entry,) = entries(anonymous)
    assert (entry["api_key_id"], entry["actor"]) == (0, "everybody")


def test_the_log_is_walked_by_cursor_and_filtered(client: Client) -> None:
    for name in ("b", "c", "d"):
        client.post("/api/keys", json={"name": name, "scopes": ["read"]})
    names: list[str] = []
    cursor = ""
    pages = 0
    while cursor is not None:
        data = client.get("/api/audit", query_string={"limit": 3, "cursor": cursor}).get_json()["data"]
        names += [entry["details"]["name"] for entry in data["entries"]]
        cursor = data["next_cursor"]
        pages += 1
    assert (names, pages) == (["d", "c", "b", "admin"], 2)
    assert [entry["actor"] for entry in entries(client, actor="taskmanager")] == ["taskmanager"]
    assert entries(client, action="revoke_api_key") == []
    assert entries(client, created_before="2026-01-01T12:00:00Z") == []
    assert len(entries(client, created_from="2026-01-01T12:00:00Z")) == 4


def test_the_log_holds_no_secret(client: Client) -> None:
    data = client.post("/api/keys", json={"name": "k", "scopes": ["read"]}).get_json()["data"]
    client.delete(f"/api/keys/{data['id']}")
    shown = client.get("/api/audit").get_data(as_text=True)
    assert data["key"] not in shown
    assert data["prefix"] not in shown
