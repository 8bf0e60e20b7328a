"""What bad bodies get: a 4xx problem with a stable code that names every fault; nothing written, nothing leaked."""

import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from app import create_app
from app.settings import Settings
from app.storage.database import Database
from tests.support.bodies import BODIES, OPTIONAL
from tests.support.client import Client
from tests.support.stage import INVALID, Stage, before_the_database, fault_of
from tests.support.wrong_values import shorten


def show_part(part: str) -> str:
    return part.removeprefix("/api/")


endpoints_with_a_body = pytest.mark.parametrize(("method", "path"), BODIES, ids=show_part)


@endpoints_with_a_body
def test_a_right_body_is_accepted(stage: Stage, method: str, path: str) -> None:
    answer = stage.client.request(method, stage.path(path), json=BODIES[method, path][0])
    assert answer.status_code in (200, 201), answer.get_data(as_text=True)


@endpoints_with_a_body
def test_each_wrong_value_of_each_field_is_refused_by_name(stage: Stage, method: str, path: str) -> None:
    right, fields = BODIES[method, path]
    before = stage.stored()
    faults = []
    for field, values in fields.items():
        for value in values:
            answer = stage.client.request(method, stage.path(path), data=json.dumps({**right, field: value}))
            fault = fault_of(answer, 400, INVALID, field)
            if fault is not None:
                faults.append(f"{field} = {str(value)[:60]!r}: {fault}")
    assert not faults, "\n".join(faults)
    assert stage.stored() == before


@endpoints_with_a_body
def test_every_wrong_field_is_named_at_once(stage: Stage, method: str, path: str) -> None:
    right, fields = BODIES[method, path]
    before = stage.stored()
    # The contents of a JSON Schema are looked at when all fields have the right form, so here it has the wrong one.
    wrong = {
        field: next(value for value in values if value in (5, True, -1, "yes")) for field, values in fields.items()
    }
    answer = stage.client.request(method, stage.path(path), json={**right, **wrong, "surprise": 1, "😀": 2})
    assert fault_of(answer, 400, "invalid_request") is None, answer.get_data(as_text=True)
    named = {detail["field"] for detail in answer.get_json()["details"]}
    assert named >= {*wrong, "surprise", "😀"}
    assert stage.stored() == before


@pytest.mark.parametrize(
    ("method", "path"), [key for key in BODIES if key[0] == "POST" and key not in OPTIONAL], ids=show_part
)
def test_every_missing_field_is_named(stage: Stage, method: str, path: str) -> None:
    right, _fields = BODIES[method, path]
    before = stage.stored()
    answer = stage.client.request(method, stage.path(path), json={})
    body = answer.get_json()
    assert fault_of(answer, 400, "missing_field") is None, body
    required = set(right) if "claim" not in path.rsplit("/", 1)[-1] else {"worker_id", "task_type_id"}
    assert {detail["field"] for detail in body["details"]} == required
    for field in required & set(right):
        answer = stage.client.request(method, stage.path(path), json={k: v for k, v in right.items() if k != field})
        assert fault_of(answer, 400, "missing_field", field) is None, answer.get_json()
        assert field in answer.get_json()["error"]
    assert stage.stored() == before


@endpoints_with_a_body
def test_an_unknown_field_is_named_and_the_known_ones_are_listed(stage: Stage, method: str, path: str) -> None:
    right, fields = BODIES[method, path]
    before = stage.stored()
    for unknown in ("surprise", "Name", "id", "😀", "a.b", "", "__proto__", "x" * 10_000):
        answer = stage.client.request(method, stage.path(path), json={**right, unknown: 1})
        assert fault_of(answer, 400, "invalid_request") is None, answer.get_data(as_text=True)
        assert unknown[:500] in [detail["field"] for detail in answer.get_json()["details"]]
        assert next(iter(fields)) in answer.get_json()["detail"]
    many = {f"unknown_{number}": 1 for number in range(5000)}
    assert (
        fault_of(stage.client.request(method, stage.path(path), json={**right, **many}), 400, "invalid_request") is None
    )
    assert stage.stored() == before


DEEP = 100_000
MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \r\n\t ",
    "half": b'{"a": 1',
    "no JSON": b"hello",
    "a form": b"worker_id=w&progress=5",
    "single quotes": b"{'a': 1}",
    "a trailing comma": b'{"a": 1,}',
    "two values": b"{} {}",
    "an array": b"[]",
    "an array of objects": b'[{"type": "checksum"}]',
    "a text": b'"text"',
    "a number": b"5",
    "true": b"true",
    "null": b"null",
    "NaN": b'{"surprise": NaN}',
    "Infinity": b'{"surprise": Infinity}',
    "-Infinity": b'{"surprise": [-Infinity]}',
    "1e999": b'{"surprise": 1e999}',
    "-1e999": b'{"surprise": {"a": -1e999}}',
    "5000 digits": b'{"surprise": ' + b"9" * 5000 + b"}",
    "a leading zero": b'{"surprise": 01}',
    "half a surrogate pair": b'{"surprise": "\\ud800"}',
    "the other half": b'{"surprise": "a\\uDFFFb"}',
    "half a pair as name": b'{"\\ud83d": 1}',
    "half a pair, twice escaped": b'{"surprise": "\\\\\\ud800"}',
    "a raw surrogate": b'{"surprise": "\xed\xa0\x80"}',
    "invalid UTF-8": b'{"surprise": "\xff\xfe"}',
    "overlong UTF-8": b'{"surprise": "\xc0\xaf"}',
    "Latin-1": '{"surprise": "ü"}'.encode("latin-1"),
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a NUL": b'{"surprise": "\x00"}',
    "a raw line break in a text": b'{"surprise": "a\nb"}',
    "65 levels": b'{"surprise": ' + b"[" * 64 + b"]" * 64 + b"}",
    "65 levels of objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "100,000 levels": b'{"surprise": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "100,000 objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "100,000 open brackets": b"[" * DEEP,
}


@before_the_database
@endpoints_with_a_body
def test_what_is_not_a_json_object_is_refused(stage: Stage, method: str, path: str) -> None:
    before = stage.stored()
    faults = []
    for what, body in MALFORMED.items():
        if (method, path) in OPTIONAL and not body.strip():
            continue
        answer = stage.client.request(method, stage.path(path), data=body)
        fault = fault_of(answer, 400, "invalid_json")
        if fault is None and answer.get_json()["error"] != "Invalid JSON in request body":
            fault = "another sentence"
        if fault is not None:
            faults.append(f"{what}: {fault}")
    assert not faults, "\n".join(faults)
    assert stage.stored() == before


class Broken(io.RawIOBase):
    """What a server hands over of a body that breaks: a beginning, then an error of its own."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.is_begun = error, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.is_begun and self.error is not None:
            raise self.error
        buffer[:1], count = (b"{", 1) if not self.is_begun else (b"", 0)
        self.is_begun = True
        return count


@before_the_database
@pytest.mark.parametrize(
    "error", [None, ConnectionResetError(), EOFError(), type("InvalidChunkSize", (Exception,), {})]
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/tasks"), ("POST", "/api/tasks/99/cancel"), ("GET", "/no")])
def test_a_body_that_breaks_off_is_no_error_of_the_server(
    stage: Stage, error: Any, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = Broken(error() if isinstance(error, type) else error)
    sent = {"wsgi.input": body, "CONTENT_LENGTH": "50"}
    answer = stage.client.request(method, path, environ_overrides=sent)
    status, code = {
        "/api/tasks": (400, "bad_request"),
        "/api/tasks/99/cancel": (404, "task_not_found"),
        "/no": (404, "endpoint_not_found"),
    }[path]
    assert fault_of(answer, status, code) is None, answer.get_data(as_text=True)
    assert "Traceback" not in caplog.text


@before_the_database
@endpoints_with_a_body
def test_a_body_over_the_limit_is_refused_before_it_is_read(
    stage: Stage, settings: Settings, method: str, path: str
) -> None:
    before = stage.stored()
    body = json.dumps({"surprise": "x" * settings.max_body_bytes})
    answer = stage.client.request(method, stage.path(path), data=body)
    assert fault_of(answer, 413, "body_too_large") is None, answer.get_data(as_text=True)
    assert stage.stored() == before


def test_a_body_of_the_very_limit_is_accepted_and_comes_back_unchanged(stage: Stage, settings: Settings) -> None:
    room = settings.max_body_bytes - len(json.dumps({"type": "checksum", "params": {"path": ""}}))
    params = {"path": "x" * room}
    answer = stage.client.post("/api/tasks", json={"type": "checksum", "params": params})
    assert answer.status_code == 201, answer.get_data(as_text=True)[:500]
    assert stage.client.get(f"/api/tasks/{answer.get_json()['data']['id']}").get_json()["data"]["params"] == params


def test_64_levels_are_accepted_and_come_back_unchanged(stage: Stage) -> None:
    nested: Any = 1
    for _level in range(62):
        nested = [nested]
    params = {"path": "deep", "nested": nested}
    answer = stage.client.post("/api/tasks", json={"type": "checksum", "params": params})
    assert answer.status_code == 201, answer.get_data(as_text=True)
    assert stage.client.get(f"/api/tasks/{answer.get_json()['data']['id']}").get_json()["data"]["params"] == params


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "", "x"]
)
def test_a_json_body_is_understood_whatever_the_content_type_says(stage: Stage, content_type: str) -> None:
    body = json.dumps({"type": "checksum", "params": {"path": "a=b&c=d"}})
    answer = stage.client.post("/api/tasks", data=body, headers={"Content-Type": content_type})
    assert answer.status_code == 201, answer.get_data(as_text=True)


UNUSUAL = [
    "🚀 fusée",
    "日本語",
    "e\u0301",
    "\u202eright to left",
    "\U0010ffff",
    "a" * 255,
    "😀" * 255,
    "a%b_c\\d",
    "' OR 1=1 --",
]
UNUSUAL += [
    "a/b",
    "a/",
    "/a",
    "//",
    ".",
    "..",
    "register",
    "../../etc/passwd",
    "%41",
    "a?b=c&d#e",
    "<script>alert(1)</script>",
    "a  b",
    "\ufeff",
    "\x80\x9f",
]


def walk_workers(stage: Stage, **query: Any) -> Iterator[dict[str, Any]]:
    cursor: str | None = ""
    while cursor is not None:
        page = stage.client.get("/api/workers", query_string={**query, "cursor": cursor}).get_json()["data"]
        yield from page["workers"]
        cursor = page["next_cursor"]


@pytest.mark.parametrize("word", UNUSUAL, ids=shorten)
def test_unusual_texts_come_back_unchanged_wherever_they_are_allowed(stage: Stage, word: str) -> None:
    schema = {"type": "object", "description": word, "properties": {word: {"type": ["string", "array"]}}}
    answer = stage.client.post(
        "/api/task-types/register", json={"name": word, "version": word[:50], "param_schema": schema}
    )
    assert answer.status_code == 201, answer.get_data(as_text=True)
    assert answer.get_json()["data"]["name"] == word
    shown = stage.client.get(f"/api/task-types/{quote(word, safe='')}").get_json()["data"]
    assert (shown["name"], shown["version"], shown["param_schema"]) == (word, word[:50], schema)

    params = {word: word, "more": [word, {word: [word]}, "\x00\x1f"]}
    new = {"type": word, "params": params, "dedupe_key": word, "parent_task_id": word}
    created = stage.expect(201, "POST", "/api/tasks", **new)
    assert created["params"] == params
    assert (created["dedupe_key"], created["parent_task_id"], created["type"]) == (word, word, word)
    claimed = stage.expect(200, "POST", "/api/tasks/claim", worker_id=word, types=[word])
    assert (claimed["id"], claimed["claimed_by"], claimed["params"]) == (created["id"], word, params)
    path = f"/api/tasks/{claimed['id']}"
    progress = stage.expect(200, "POST", f"{path}/progress", worker_id=word, progress=7, message=word)
    assert progress["progress_message"] == word
    report = {"worker_id": word, "success": False, "error": f"{word}\n\x00", "lease_token": claimed["lease_token"]}
    assert stage.expect(200, "POST", f"{path}/complete", **report)["error_message"] == f"{word}\n\x00"
    listed = stage.client.get(
        "/api/tasks", query_string={"type": word.replace("%", "_"), "include": "params"}
    ).get_json()
    assert [task["params"] for task in listed["data"]["tasks"]] == ([params] if "%" not in word else [])
    assert stage.client.get("/api/tasks", query_string={"worker_id": word}).status_code == 200
    worker = stage.client.get(f"/api/workers/{quote(word, safe='')}").get_json()["data"]
    assert (worker["worker_id"], worker["types"]) == (word, [word])
    pages = list(walk_workers(stage, limit=1))
    assert [page["worker_id"] for page in pages] == sorted(["w", word], key=str.encode)
    commanded = stage.expect(200, "POST", f"/api/workers/{quote(word, safe='')}/command", command="quiet")
    assert (commanded["worker_id"], commanded["command"]) == (word, "quiet")
    key = stage.expect(201, "POST", "/api/keys", name=word, scopes=["read"])
    assert key["name"] == word


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -1,
        1.5,
        1e308,
        5e-324,
        10**300,
        2**63,
        -(2**64),
        "",
        "\x00",
        "😀",
        [],
        {},
        [None],
        {"": {}},
    ],
    ids=shorten,
)
def test_any_json_value_is_kept_as_a_result(stage: Stage, value: Any) -> None:
    body = {"worker_id": "w", "success": True, "result": value, "lease_token": stage.token}
    done = stage.expect(200, "POST", stage.path("/api/tasks/{claimed}/complete"), **body)
    assert done["result"] == value
    assert type(done["result"]) is type(value)
    read = stage.client.get(stage.path("/api/tasks/{claimed}")).get_json()["data"]["result"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    "number", ["9" * 4000, "-" + "9" * 4000, "1e308", "0.1e-400", "-0", "1.0", "123456789.123456789"], ids=shorten
)
def test_large_and_small_numbers_in_params_do_no_harm(stage: Stage, number: str) -> None:
    answer = stage.client.post("/api/tasks", data=f'{{"type": "checksum", "params": {{"path": "x", "any": {number}}}}}')
    assert answer.status_code == 201, answer.get_data(as_text=True)
    answer = stage.client.post("/api/tasks", data=f'{{"type": "checksum", "params": {{"path": "x", "n": {number}}}}}')
    assert answer.status_code in (201, 400), answer.get_data(as_text=True)


# --- values that are right by themselves ----------------------------------------------------------------------------
def test_every_fault_of_the_parameters_is_named(stage: Stage) -> None:
    before = stage.stored()
    answer = stage.client.post("/api/tasks", json={"type": "checksum", "params": {"n": "many", "path": 5}})
    assert fault_of(answer, 400, "invalid_parameters") is None
    assert {detail["field"] for detail in answer.get_json()["details"]} == {"params.n", "params.path"}
    assert stage.stored() == before


@pytest.mark.parametrize("path", ["/api/keys/{key}", "/api/task-types/checksum", "/api/schedules/{schedule}"])
def test_a_change_of_nothing_is_no_error(stage: Stage, path: str) -> None:
    answer = stage.client.patch(stage.path(path), json={})
    assert answer.status_code == 200, answer.get_data(as_text=True)


def test_an_instant_and_a_delay_together_are_refused(stage: Stage) -> None:
    before = stage.stored()
    times = {"available_at": "2026-01-01T12:00:00Z", "delay_seconds": 5}
    answer = stage.client.post("/api/tasks", json={"type": "checksum", "params": {"path": "x"}, **times})
    assert fault_of(answer, 400, "invalid_request", "delay_seconds") is None
    assert stage.stored() == before


def test_an_unforeseen_error_is_a_bare_500_that_says_nothing(
    app: Flask, client: Client, monkeypatch: Any, caplog: Any
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("SELECT secret FROM /srv/app.py")

    monkeypatch.setattr("app.rest.keys.list_keys", fail)
    answer = client.get("/api/keys", headers={"X-Request-ID": "find-me"})
    assert fault_of(answer, 500, "internal_error") is None, answer.get_data(as_text=True)
    assert "SELECT secret" in caplog.text
    assert "find-me" in caplog.text


def test_a_smaller_limit_of_the_body_is_a_setting(settings: Settings, database: Database, admin_key: str) -> None:
    app = create_app(Settings(database_url=settings.database_url, max_body_bytes=1024), database=database)
    answer = Client(app, database, admin_key).post("/api/tasks", data=b"x" * 1025)
    assert fault_of(answer, 413, "body_too_large") is None
