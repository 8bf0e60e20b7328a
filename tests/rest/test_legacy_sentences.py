"""What existing clients look for: the sentences, the order of the checks, the shape of answers, the transport."""

import re
import time
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app import create_app
from app.queue.due import do_what_is_due
from app.settings import Settings
from app.storage.database import Database
from tests.support.client import Client
from tests.support.clock import ManualClock

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
before_the_database = pytest.mark.parametrize("database_kind", ["sqlite"])


class OldClient:
    """Speaks as the workers and scripts of the PHP TaskManager do."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def says(self, status: int, sentence: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Send a request and hold the answer against what api.md promises of every answer."""
        answer = self.client.request(method, path, json=body)
        shown = answer.get_json()
        assert (answer.status_code, shown["message"]) == (status, sentence), shown
        assert shown["success"] is (status < 400)
        assert abs(shown["timestamp"] - time.time()) < 60
        assert isinstance(shown["timestamp"], int)
        if status >= 400:
            assert shown["error"] == sentence
            assert shown["status"] == status
            return dict(shown)
        return dict(shown["data"])

    def register(self, **changes: Any) -> dict[str, Any]:
        body = {"name": "checksum", "version": "1", "param_schema": SCHEMA, **changes}
        answer = self.client.post("/api/task-types/register", json=body)
        assert answer.status_code in (200, 201), answer.get_json()
        return dict(answer.get_json()["data"])

    def change(self, **changes: Any) -> dict[str, Any]:
        answer = self.client.patch("/api/task-types/checksum", json=changes)
        assert answer.status_code == 200, answer.get_json()
        return dict(answer.get_json()["data"])

    def create(self, **changes: Any) -> dict[str, Any]:
        body = {"type": "checksum", "params": {"path": "a"}, **changes}
        return dict(self.client.post("/api/tasks", json=body).get_json()["data"])

    def claim(self, worker_id: str = "w", **changes: Any) -> dict[str, Any]:
        body = {"worker_id": worker_id, "type_pattern": "%", **changes}
        return dict(self.client.post("/api/tasks/claim", json=body).get_json()["data"])


@pytest.fixture
def old(client: Client) -> OldClient:
    return OldClient(client)


# --- sentences ------------------------------------------------------------------------------------------------------
def test_registering_says_whether_the_type_is_new(old: OldClient) -> None:
    body = {"name": "checksum", "version": "1", "param_schema": SCHEMA}
    path = "/api/task-types/register"
    data = old.says(201, "Task type registered successfully", "POST", path, body)
    assert (data["created"], data["updated"]) == (True, False)
    data = old.says(200, "Task type updated successfully", "POST", path, {**body, "version": "2"})
    assert (data["created"], data["updated"], data["version"]) == (False, True, "2")
    data = old.says(200, "Task type updated successfully", "POST", path, {**body, "name": "  CheckSum "})
    assert (data["created"], data["name"]) == (False, "CheckSum")


def test_creating_says_whether_the_task_is_new(old: OldClient) -> None:
    old.register()
    body = {"type": "checksum", "params": {"path": "a"}}
    first = old.says(201, "Task created successfully", "POST", "/api/tasks", body)
    again = old.says(200, "Task already exists (deduplicated)", "POST", "/api/tasks", body)
    assert first["id"] == again["id"]
    assert (first["deduplicated"], again["deduplicated"]) == (False, True)


def test_a_worker_hears_the_sentences_that_it_knows(old: OldClient) -> None:
    old.register()
    old.create()
    claim = {"worker_id": "w", "type_pattern": "check%"}
    task = old.says(200, "Task claimed successfully", "POST", "/api/tasks/claim", claim)
    assert (task["status"], task["attempts"], task["claimed_by"]) == ("claimed", 1, "w")
    path = f"/api/tasks/{task['id']}"
    body = {"worker_id": "w", "progress": 40, "message": "reading"}
    task = old.says(200, "Task progress updated successfully", "POST", f"{path}/progress", body)
    assert (task["progress"], task["progress_message"]) == (40, "reading")
    body = {"worker_id": "w", "success": True, "result": {"a": []}}
    task = old.says(200, "Task completed successfully", "POST", f"{path}/complete", body)
    assert (task["status"], task["will_retry"], task["result"]) == ("completed", False, {"a": []})
    assert old.client.get(path).get_json()["data"]["result"] == {"a": []}


def test_a_failure_is_told_with_the_same_sentence_and_the_status_that_the_task_now_has(old: OldClient) -> None:
    old.register(max_attempts=2, retry_delay_seconds=0)
    old.create()
    for status, will_retry in (("pending", True), ("failed", False)):
        body = {"worker_id": "w", "success": False, "error": "File not found"}
        path = f"/api/tasks/{old.claim()['id']}/complete"
        task = old.says(200, "Task completed successfully", "POST", path, body)
        assert (task["status"], task["will_retry"], task["error_message"]) == (status, will_retry, "File not found")


def test_an_empty_queue_says_so_and_when_to_ask_again(old: OldClient) -> None:
    old.register()
    for body in ({"type_pattern": "%"}, {"type_pattern": "nothing%"}, {"task_type_id": 1}, {"task_type_id": "999999"}):
        old.says(404, "No available tasks", "POST", "/api/tasks/claim", {"worker_id": "w", **body})
        answer = old.client.post("/api/tasks/claim", json={"worker_id": "w", **body})
        assert int(answer.headers["Retry-After"]) >= 1


def test_what_does_not_exist_is_told_by_name(old: OldClient) -> None:
    old.says(404, "Task type not found", "GET", "/api/task-types/nothing")
    old.says(404, "Task type not found", "POST", "/api/tasks", {"type": "nothing", "params": {}})
    old.says(404, "Task not found", "GET", "/api/tasks/987654321")
    body = {"worker_id": "w", "progress": 1}
    old.says(404, "Task not found", "POST", "/api/tasks/987654321/progress", body)
    body = {"worker_id": "w", "success": True}
    old.says(404, "Task not found", "POST", "/api/tasks/987654321/complete", body)
    old.says(404, "Endpoint not found", "GET", "/api/nothing")
    old.says(404, "Endpoint not found", "POST", "/nothing", {})


def test_a_missing_field_is_named_in_the_sentence(old: OldClient) -> None:
    register, complete = {"name": "a", "version": "1", "param_schema": SCHEMA}, {"worker_id": "w", "success": True}
    for path, body in (
        ("/api/task-types/register", register),
        ("/api/tasks", {"type": "checksum", "params": {}}),
        ("/api/tasks/1/progress", {"worker_id": "w", "progress": 5}),
        ("/api/tasks/1/complete", complete),
    ):
        for name in body:
            rest = {key: value for key, value in body.items() if key != name}
            old.says(400, f"Missing required field: {name}", "POST", path, rest)
        # The first of several is in the sentence; the details have them all.
        shown = old.says(400, f"Missing required field: {next(iter(body))}", "POST", path, {})
        assert [detail["field"] for detail in shown["details"]] == list(body)


def test_a_claim_says_what_is_required(old: OldClient) -> None:
    path = "/api/tasks/claim"
    old.says(400, "worker_id is required", "POST", path, {"type_pattern": "%"})
    shown = old.says(400, "task_type_id, type_pattern or types is required", "POST", path, {"worker_id": "w"})
    assert shown["details"][0]["field"] == "task_type_id"
    shown = old.says(400, "worker_id is required", "POST", path, {})
    assert {detail["field"] for detail in shown["details"]} == {"worker_id", "task_type_id"}
    shown = old.says(400, "task_type_id: Not a valid integer", "POST", path, {"worker_id": "w", "task_type_id": "x"})
    assert len(shown["details"]) == 1
    body = {"worker_id": "w", "type_pattern": "%", "sort_by": "name"}
    sentence = "Invalid sort_by field. Allowed values: created_at, priority, id, attempts, deadline_at"
    old.says(400, sentence, "POST", path, body)


def test_parameters_that_do_not_fit_are_told_with_the_field(old: OldClient) -> None:
    old.register(param_schema={**SCHEMA, "required": ["path"]})
    body = {"type": "checksum", "params": {}}
    answer = old.client.post("/api/tasks", json=body)
    assert answer.status_code == 400
    assert re.fullmatch(r"Parameter validation failed: .*path.*", answer.get_json()["error"])
    answer = old.client.post("/api/tasks", json={**body, "params": {"path": 5}})
    assert re.fullmatch(r"Parameter validation failed: .*params\.path.*", answer.get_json()["error"])


def test_a_body_that_is_no_json_is_told_in_the_known_words(old: OldClient) -> None:
    for data in ("", "{", "[]", "worker_id=w"):
        answer = old.client.post("/api/tasks/claim", data=data)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid JSON in request body")


# --- the order of checks --------------------------------------------------------------------------------------------
def test_create_checks_type_then_active_then_schema_then_duplicate(old: OldClient) -> None:
    strict = {**SCHEMA, "required": ["path"]}
    bad = {"type": "checksum", "params": {"path": 5}}
    old.says(404, "Task type not found", "POST", "/api/tasks", bad)
    old.register(param_schema=strict)
    old.change(is_active=False)
    old.says(400, "Task type is not active", "POST", "/api/tasks", bad)
    old.change(is_active=True)
    old.create()
    answer = old.client.post("/api/tasks", json=bad)
    assert answer.get_json()["code"] == "invalid_parameters"
    old.says(200, "Task already exists (deduplicated)", "POST", "/api/tasks", {**bad, "params": {"path": "a"}})
    # The equal task is there, but nobody may create: the type's state comes before the duplicate.
    old.change(is_active=False)
    old.says(400, "Task type is not active", "POST", "/api/tasks", {**bad, "params": {"path": "a"}})
    # What is wrong with the request itself comes before all of it.
    old.says(400, "Missing required field: params", "POST", "/api/tasks", {"type": "nothing"})


@pytest.mark.parametrize("verb", ["progress", "complete", "heartbeat", "release"])
def test_a_report_checks_the_body_then_the_task_then_its_state_then_its_worker(old: OldClient, verb: str) -> None:
    body: dict[str, Any] = {"progress": {"progress": 5}, "complete": {"success": True}}.get(verb, {})
    old.register()
    task = old.create()
    path, nowhere = f"/api/tasks/{task['id']}/{verb}", f"/api/tasks/987654321/{verb}"
    old.says(400, "Missing required field: worker_id", "POST", nowhere, body)
    old.says(404, "Task not found", "POST", nowhere, {**body, "worker_id": "v"})
    old.says(400, "Task is not in claimed state", "POST", path, {**body, "worker_id": "v"})
    old.claim("w")
    old.says(403, "Task is claimed by another worker", "POST", path, {**body, "worker_id": "v"})
    old.says(403, "Task is claimed by another worker", "POST", path, {**body, "worker_id": "W"})
    assert old.client.post(path, json={**body, "worker_id": "w"}).status_code == 200


def test_a_finished_task_is_not_in_claimed_state(old: OldClient) -> None:
    old.register()
    old.create()
    path = f"/api/tasks/{old.claim()['id']}"
    body = {"worker_id": "w", "success": True}
    assert old.client.post(f"{path}/complete", json=body).status_code == 200
    old.says(400, "Task is not in claimed state", "POST", f"{path}/complete", body)
    old.says(400, "Task is not in claimed state", "POST", f"{path}/progress", {"worker_id": "w", "progress": 1})
    # Whoever it was: the state is checked before the worker.
    old.says(400, "Task is not in claimed state", "POST", f"{path}/complete", {**body, "worker_id": "v"})


def test_a_late_result_is_told_as_another_workers_claim_and_kept(old: OldClient, clock: ManualClock) -> None:
    old.register()
    old.create()
    task = old.claim("slow", lease_seconds=10)
    clock.advance(seconds=11)
    old.client.database.write(do_what_is_due, atomic=False)
    assert old.claim("quick")["id"] == task["id"]
    path = f"/api/tasks/{task['id']}/complete"
    body = {"worker_id": "slow", "success": True, "result": "late"}
    old.says(403, "Task is claimed by another worker", "POST", path, body)
    answer = old.client.post(path, json={**body, "lease_token": task["lease_token"]})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "lease_lost")
    attempts = old.client.get(f"/api/tasks/{task['id']}/attempts").get_json()["data"]["attempts"]
    assert attempts[0]["late_report"] == {"success": True, "result": "late"}


# --- what old clients send ------------------------------------------------------------------------------------------
def test_params_as_an_empty_array_are_an_empty_object(old: OldClient) -> None:
    old.register()
    task = old.create(params=[])
    assert task["params"] == {}
    raw = old.client.get(f"/api/tasks/{task['id']}").get_data(as_text=True)
    assert '"params":{}' in raw
    assert old.create(params={})["id"] == task["id"]


@pytest.mark.parametrize(("version", "text"), [(1, "1"), (1.5, "1.5"), ("1.0", "1.0"), (0, "0"), (-2, "-2")])
def test_a_version_may_be_a_number(old: OldClient, version: Any, text: str) -> None:
    assert old.register(version=version)["version"] == text


def test_a_param_schema_may_be_a_string_that_holds_one(old: OldClient) -> None:
    assert old.register(param_schema='{"type": "object", "required": ["b"]}')["param_schema"] == {
        "type": "object",
        "required": ["b"],
    }
    assert old.client.post("/api/tasks", json={"type": "checksum", "params": {}}).status_code == 400


def test_a_param_schema_must_have_a_type(old: OldClient) -> None:
    for schema in ({}, "{}", {"properties": {}}):
        body = {"name": "a", "version": "1", "param_schema": schema}
        answer = old.client.post("/api/task-types/register", json=body)
        assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_schema")


def test_a_task_type_id_may_be_a_numeric_string(old: OldClient) -> None:
    type_id = old.register()["id"]
    task = old.create()
    assert old.claim(type_pattern=None, task_type_id=str(type_id))["id"] == task["id"]


@pytest.mark.parametrize("success", [True, 1, "1", "true", "TRUE", " True "])
def test_success_is_understood_as_old_clients_write_it(old: OldClient, success: Any) -> None:
    old.register()
    old.create()
    body = {"worker_id": "w", "success": success}
    data = old.says(200, "Task completed successfully", "POST", f"/api/tasks/{old.claim()['id']}/complete", body)
    assert data["status"] == "completed"


@pytest.mark.parametrize("success", [False, 0, "0", "false", "False"])
def test_failure_is_understood_as_old_clients_write_it(old: OldClient, success: Any) -> None:
    old.register(max_attempts=1)
    old.create()
    body = {"worker_id": "w", "success": success, "error": "no"}
    data = old.says(200, "Task completed successfully", "POST", f"/api/tasks/{old.claim()['id']}/complete", body)
    assert (data["status"], data["error_message"]) == ("failed", "no")


@pytest.mark.parametrize(("order", "first"), [("ASC", 0), ("asc", 0), ("DESC", 2), ("desc", 2)])
def test_sort_orders_may_be_in_upper_case(old: OldClient, order: str, first: int) -> None:
    old.register()
    tasks = [old.create(params={"path": str(number)}) for number in range(3)]
    assert old.claim(sort_by="id", sort_order=order)["id"] == tasks[first]["id"]
    assert old.client.get("/api/task-types", query_string={"sort_order": order}).status_code == 200


@pytest.mark.parametrize("parent", [17, "17", "an order"])
def test_a_parent_task_id_is_kept_as_text(old: OldClient, parent: Any) -> None:
    old.register()
    assert old.create(parent_task_id=parent)["parent_task_id"] == str(parent)


def test_active_only_is_understood_as_true_or_1(old: OldClient) -> None:
    old.register()
    old.change(is_active=False)
    for value, count in (("true", 0), ("1", 0), ("false", 1), ("0", 1)):
        data = old.client.get("/api/task-types", query_string={"active_only": value}).get_json()["data"]
        assert (len(data["task_types"]), data["count"]) == (count, count)


def test_an_unknown_status_lists_nothing(old: OldClient) -> None:
    old.register()
    old.create()
    for status in ("processing", "PENDING", "", "%", "claimed,nothing"):
        data = old.client.get("/api/tasks", query_string={"status": status}).get_json()["data"]
        assert (data["tasks"], data["count"], data["next_cursor"]) == ([], 0, None), status
    data = old.client.get("/api/tasks", query_string={"status": "nothing,pending"}).get_json()["data"]
    assert data["count"] == 1


def test_a_list_is_newest_first_with_limit_and_offset(old: OldClient) -> None:
    old.register()
    tasks = [old.create(params={"path": str(number)})["id"] for number in range(5)]
    data = old.client.get("/api/tasks", query_string={"limit": 2, "offset": 1}).get_json()["data"]
    assert [task["id"] for task in data["tasks"]] == [tasks[3], tasks[2]]
    assert (data["count"], data["limit"], data["offset"]) == (2, 2, 1)
    assert "params" not in data["tasks"][0]
    assert old.client.get("/api/tasks").get_json()["data"]["limit"] == 50


def test_a_type_with_a_percent_sign_is_a_pattern(old: OldClient) -> None:
    old.register()
    old.register(name="word_count")
    old.register(name="wordXcount")
    for name in ("checksum", "word_count", "wordXcount"):
        old.create(type=name)

    def listed(pattern: str) -> list[str]:
        tasks = old.client.get("/api/tasks", query_string={"type": pattern}).get_json()["data"]["tasks"]
        return sorted(task["type"] for task in tasks)

    assert listed("%") == ["checksum", "wordXcount", "word_count"]
    assert listed("word%") == ["wordXcount", "word_count"]
    assert listed("word_count") == ["word_count"]
    assert listed("%_count") == ["wordXcount", "word_count"]


def test_ids_are_integers_flags_booleans_and_instants_have_milliseconds(old: OldClient) -> None:
    old.register()
    task_type = old.change(is_active="1", is_paused=0)
    assert (task_type["is_active"], task_type["is_paused"]) == (True, False)
    task = old.create()
    assert type(task["id"]) is int
    assert type(task["type_id"]) is int
    assert task["created_at"] == "2026-01-01T12:00:00.000Z"


# --- transport ------------------------------------------------------------------------------------------------------
def test_health_says_the_same_twice(client: Client) -> None:
    shown = client.without_key().get("/api/health").get_json()
    assert (shown["status"], shown["database"]) == ("healthy", "connected")
    assert (shown["data"]["status"], shown["data"]["database"]) == ("healthy", "connected")


@before_the_database
def test_health_is_503_when_the_database_is_away(settings: Settings, client: Client) -> None:
    app = create_app(Settings(database_url="sqlite:////nowhere/at/all.db"))
    answer = Client(app, client.database, None).get("/api/health")
    shown = answer.get_json()
    assert (answer.status_code, shown["code"]) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "nowhere" not in answer.get_data(as_text=True)


def test_one_trailing_slash_is_ignored(old: OldClient) -> None:
    old.register()
    client = old.client
    task = client.post("/api/tasks/", json={"type": "checksum", "params": {}}).get_json()["data"]
    for path in ("/api/health/", "/api/tasks/", "/api/task-types/", f"/api/tasks/{task['id']}/", "/api/keys/"):
        assert client.get(path).status_code == 200, path
    assert client.get("/api/task-types/checksum/").get_json()["data"]["name"] == "checksum"
    assert client.post("/api/tasks/claim/", json={"worker_id": "w", "type_pattern": "%"}).status_code == 200
    assert client.post(f"/api/tasks/{task['id']}/complete/", json={"worker_id": "w", "success": 1}).status_code == 200
    assert client.get("/api/tasks//").status_code == 404


def test_path_parameters_are_percent_decoded(old: OldClient) -> None:
    old.register(name="a b/c%d")
    assert old.client.get("/api/task-types/a%20b%2Fc%25d").get_json()["data"]["name"] == "a b/c%d"


@before_the_database
def test_the_root_leads_a_browser_to_the_docs(client: Client) -> None:
    answer = client.without_key().get("/")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/api/docs/"
    assert client.without_key().get("/api/docs/").status_code == 200
    assert client.without_key().get("/api/docs").headers["Location"] == "/api/docs/"


@before_the_database
def test_the_docs_can_be_below_a_prefix(client: Client) -> None:
    prefix = {"SCRIPT_NAME": "/queue"}
    assert client.get("/", environ_overrides=prefix).headers["Location"] == "/queue/api/docs/"
    page = client.get("/api/docs/", environ_overrides=prefix).get_data(as_text=True)
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert links
    for link in links:
        assert client.get(f"/api/docs/{link.removeprefix('./')}").status_code == 200, link


@before_the_database
def test_every_answer_has_the_headers_of_the_api(client: Client) -> None:
    anonymous = client.without_key()
    answers = [
        client.get("/api/tasks"),
        client.get("/api/tasks/987654321"),
        client.post("/api/tasks", data="{"),
        client.get("/nothing"),
        client.put("/api/tasks"),
        anonymous.get("/api/tasks"),
        anonymous.get("/api/health"),
        anonymous.request("OPTIONS", "/api/tasks"),
    ]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"])
        if answer.data:
            assert "charset" not in answer.headers["Content-Type"]
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == len(answers)


@before_the_database
@pytest.mark.parametrize("given", ["abc", "A-z_0.9:/+=", "x" * 128])
def test_a_well_formed_request_id_comes_back(client: Client, given: str) -> None:
    answer = client.get("/api/tasks/987654321", headers={"X-Request-ID": given})
    assert (answer.headers["X-Request-ID"], answer.get_json()["request_id"]) == (given, given)


@before_the_database
@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "<script>", "ü", "a\tb"])
def test_another_request_id_is_replaced(client: Client, given: str) -> None:
    answer = client.get("/api/tasks/987654321", headers={"X-Request-ID": given})
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"])


@before_the_database
def test_a_method_that_is_not_answered_names_those_that_are(client: Client) -> None:
    for method, path, allowed in (
        ("PUT", "/api/tasks", "GET, HEAD, OPTIONS, POST"),
        ("GET", "/api/tasks/claim", "OPTIONS, POST"),
        ("DELETE", "/api/tasks/1", "GET, HEAD, OPTIONS, PATCH"),
        ("POST", "/api/health", "GET, HEAD, OPTIONS"),
        ("TRACE", "/api/keys", "GET, HEAD, OPTIONS, POST"),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.get_json()["code"]) == (405, "method_not_allowed"), path
        assert answer.headers["Allow"] == allowed
    assert client.without_key().put("/api/tasks").status_code == 405


@before_the_database
def test_head_is_answered_as_get_without_a_body(client: Client) -> None:
    for path, status in (("/api/health", 200), ("/api/tasks", 200), ("/api/tasks/987654321", 404)):
        answer = client.request("HEAD", path)
        assert (answer.status_code, answer.data) == (status, b"")


def test_a_post_can_stand_for_another_method(old: OldClient) -> None:
    old.register()
    for method in ("PATCH", "patch"):
        headers = {"X-HTTP-Method-Override": method}
        answer = old.client.post("/api/task-types/checksum", json={"is_paused": True}, headers=headers)
        assert (answer.status_code, answer.get_json()["data"]["is_paused"]) == (200, True)
    key = old.client.post("/api/keys", json={"name": "x", "scopes": ["read"]}).get_json()["data"]
    answer = old.client.post(f"/api/keys/{key['id']}", headers={"X-HTTP-Method-Override": "DELETE"})
    assert (answer.status_code, answer.get_json()["message"]) == (200, "API key revoked successfully")
    # Only a POST can: a link in a page must not delete anything.
    answer = old.client.get(f"/api/keys/{key['id']}", headers={"X-HTTP-Method-Override": "DELETE"})
    assert answer.status_code == 405


def test_the_old_paths_work_as_the_new_ones_do(settings: Settings, database: Database, admin_key: str) -> None:
    app = create_app(Settings(database_url=settings.database_url, legacy_paths=True), database=database)
    old = OldClient(Client(app, database, admin_key))
    body = {"name": "checksum", "version": 1, "param_schema": SCHEMA}
    old.says(201, "Task type registered successfully", "POST", "/task-types/register", body)
    assert old.client.get("/task-types/checksum").status_code == 200
    assert old.client.get("/task-types").get_json()["data"]["count"] == 1
    body = {"type": "checksum", "params": []}
    task = old.says(201, "Task created successfully", "POST", "/tasks", body)
    assert old.client.get(f"/tasks/{task['id']}").get_json()["data"]["id"] == task["id"]
    assert old.client.get("/tasks").get_json()["data"]["count"] == 1
    claim = {"worker_id": "w", "type_pattern": "%"}
    old.says(200, "Task claimed successfully", "POST", "/tasks/claim", claim)
    body = {"worker_id": "w", "progress": 5}
    old.says(200, "Task progress updated successfully", "POST", f"/tasks/{task['id']}/progress", body)
    body = {"worker_id": "w", "success": 1}
    old.says(200, "Task completed successfully", "POST", f"/tasks/{task['id']}/complete", body)
    assert old.client.without_key().get("/health").status_code == 200
    assert old.client.get("/keys").status_code == 404


# --- CORS -----------------------------------------------------------------------------------------------------------
PAGE = "https://dashboard.example"


def preflight(client: Client, origin: str = PAGE) -> TestResponse:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }
    return client.without_key().request("OPTIONS", "/api/tasks", headers=headers)


def cors_headers(answer: TestResponse) -> list[str]:
    return [name for name, _value in answer.headers if name.startswith("Access-Control-")]


@pytest.fixture
def client_with_cors(settings: Settings, database: Database, admin_key: str) -> Any:
    def make(*origins: str) -> Client:
        app = create_app(Settings(database_url=settings.database_url, cors_origins=origins), database=database)
        return Client(app, database, admin_key)

    return make


@before_the_database
def test_cors_is_off_by_default(client: Client) -> None:
    for answer in (client.get("/api/health", headers={"Origin": PAGE}), preflight(client)):
        assert not cors_headers(answer)
    assert preflight(client).status_code == 204


@before_the_database
def test_only_the_allowed_origins_may_read_answers(client_with_cors: Any) -> None:
    client = client_with_cors(PAGE, "http://localhost:3000")
    for path in ("/api/health", "/api/tasks/987654321", "/nothing"):
        answer = client.get(path, headers={"Origin": PAGE})
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
        assert "Origin" in answer.headers["Vary"]
    # A refusal can be read too, or a page could not say why.
    assert "Access-Control-Allow-Origin" in client.without_key().get("/api/tasks", headers={"Origin": PAGE}).headers
    for origin in ("https://evil.example", "https://dashboard.example.evil.example", "null", "HTTPS://DASHBOARD"):
        answer = client.get("/api/health", headers={"Origin": origin})
        assert not cors_headers(answer)
        assert "Origin" in answer.headers["Vary"]
        assert not cors_headers(preflight(client, origin))
    assert not cors_headers(client.get("/api/health"))


@before_the_database
def test_a_preflight_says_what_a_page_may_send(client_with_cors: Any) -> None:
    answer = preflight(client_with_cors(PAGE))
    assert (answer.status_code, answer.data) == (204, b"")
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    for name in ("x-api-key", "authorization", "content-type", "idempotency-key"):
        assert name in allowed


@before_the_database
def test_any_origin_must_be_allowed_explicitly(client_with_cors: Any) -> None:
    client = client_with_cors("*")
    assert client.get("/api/health", headers={"Origin": PAGE}).headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in preflight(client).headers
