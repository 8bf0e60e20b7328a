"""What bad input gets: a 4xx problem with a stable code that names every fault; nothing written, nothing leaked."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from app import create_app
from app.policies import POLICIES
from app.rest.paging import make_cursor
from app.settings import Settings
from app.storage.database import Database
from app.storage.models import metadata
from tests.support.client import Client

MAX_ID = 2**63 - 1
YEAR = 366 * 86400
LEAKS = ("sqlite", "sqlalchemy", "pymysql", "mysql", "mariadb", "SELECT ", "INSERT", "UPDATE ", "Traceback", ".py")
LEAKS += ("Error:", "Exception", "sys.", "/srv/", "/tmp/", "site-packages", "marshmallow", "werkzeug", "charmap")
CHECKSUM = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["path"],
}

# --- wrong values, by kind of field ---------------------------------------------------------------------------------
NO_TEXT: list[Any] = [5, 1.5, True, [], {}, ["a"]]
CONTROL: list[Any] = ["a\x00b", "a\x1d", "\x1ca", "a\x00", "a\nb", "\x1b[31m", "a\x7fb", "\x00"]


def text(high: int, low: int = 0) -> list[Any]:
    return [*NO_TEXT, *CONTROL, "x" * (high + 1), "😀" * (high + 1), *([""] if low else [])]


def lines(high: int) -> list[Any]:
    return [value for value in text(high) if value != "a\nb"]


def shorten(value: Any) -> str:
    return ascii(value)[:40]


def name(high: int = 255) -> list[Any]:
    return [*text(high, low=1), "   ", "\t"]


def integer(low: int, high: int, *, from_text: bool = False) -> list[Any]:
    numbers = [low - 1, high + 1, 2**63, 2**64, -(2**63) - 1, 10**400, -(10**400)]
    words = [str(high + 1), "1.0", "1e3", "0x1", "1_0", "\u0663", "x", ""] if from_text else ["1", "x", ""]
    return [*numbers, *words, True, False, 1.5, 1.0, 1e300, [], {}, [1]]


def seconds(high: int) -> list[Any]:
    return [-1, -0.001, high + 1, 1e308, 10**400, "5", "", True, False, [], {}]


NO_FLAG: list[Any] = ["yes", "", 2, -1, 1.0, 0.0, "2", "null", [], {}, 10**400]
NO_INSTANT: list[Any] = [
    *("", "yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z"),
    *("9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    *(
        "2026-01-01T00:00:00+99:99",
        "\uff12\uff10\uff12\uff16-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\x00",
        5,
        1e9,
        True,
        [],
        {},
    ),
]
NO_OBJECT: list[Any] = [5, 1.5, True, "x", "{}", [1], [{}], None]
NO_SCHEMA: list[Any] = [
    *(5, 1.5, True, "x", "", "[]", "{", '{"type": NaN}', [], [1], {}, "{}"),
    *({"type": "nothing"}, {"type": 5}, {"type": "object", "properties": 5}, {"type": "string", "pattern": "("}),
    *({"type": "object", "$ref": "https://example.org/a.json"}, {"type": "object", "$ref": "#/nowhere"}),
    *({"type": "object", "$schema": "https://example.org/unknown"}, {"type": "object", "$ref": "#"}),
]
NO_COMMAND: list[Any] = ["", "QUIET", "quiet ", "stop", "null", 5, 1.5, True, False, [], {}, ["quiet"]]


def policy(policy_name: str) -> list[Any]:
    bounds = POLICIES[policy_name].metadata
    default = POLICIES[policy_name].default
    null = [] if default is None else [None]
    if "names" in bounds:
        wrong_lists: list[Any] = [[], [""], [5], [None], ["a", "a"], ["x" * 256], [str(number) for number in range(51)]]
        return [5, True, "a", {}, *wrong_lists]
    if "low" not in bounds:
        return [*NO_TEXT, "x", "", "1/0", "0/1", "1/1 ", "FIXED", "a\x00", "\u0661/\u0661", *null]
    wrong = [bounds["low"] - 1, bounds["high"] + 1, "5", "", True, False, [], {}, 10**400, 1e300, *null]
    return wrong if isinstance(default, float) else [*wrong, 1.5, 2.0]


NO_LINES: list[Any] = [
    *(5, True, "x", {}, [], None, [5], [None], ["x"], [[]], [{}], [{"level": "info"}], [{"message": "x"}] * 101),
    *([{"message": value}] for value in (None, 5, True, [], {}, "x" * 10_001)),
    *([{"message": "x", "level": value}] for value in (None, 5, True, [], {}, "", "INFO", "fatal")),
    [{"message": "x", "surprise": 1}],
]
POLICY_FIELDS = {each: policy(each) for each in POLICIES}
WORKER = {"worker_id": [*name(), None], "lease_token": text(64, low=1)}

SCHEDULE: dict[str, list[Any]] = {
    "params": NO_OBJECT,
    "priority": [*integer(-(2**31) + 1, 2**31 - 1), None],
    "tags": [5, True, "x", {}, [5], [None], [""], ["a,b"], ["a\x00"], ["x" * 101], ["x"] * 21, [["x"]], None],
    "metadata": [*NO_OBJECT, {str(number): 1 for number in range(51)}],
    "concurrency_key": name(),
    "cron": [
        *(*NO_TEXT, *CONTROL, "", " ", "*", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", None),
        *("0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 * *", "0 0 32 * *", "0 0 * 13 *", "0 0 * * 8", "*/0 * * * *"),
        *("5-1 * * * *", "* * * * FUN", "1,,2 * * * *", "\u0661 * * * *", "0\u00a00 * * *", "0 0 */31 * MON#5"),
        *("x " * 200, "1" * 256),
    ],
    "timezone": [
        *(*NO_TEXT, *CONTROL, "", " ", "Europe", "europe/berlin", "Mars/Base", "../Europe/Berlin", "/etc/passwd", None),
        *("right/UTC", "localtime", "+02:00", "UTC ", "Europe/Berlin\u00e9", "x" * 65),
    ],
    "starts_at": NO_INSTANT,
    "ends_at": [*NO_INSTANT, "2026-01-01T12:00:00Z", "1999-01-01T00:00:00Z"],
    "jitter_seconds": [*integer(0, 3600), None],
    "overlap": [5, True, [], {}, "", "SKIP", "cancel", None],
    "catch_up": [5, True, [], {}, "", "ALL", "two", None],
    "catch_up_limit": [*integer(1, 1000), None],
    "is_paused": [*NO_FLAG, None],
}
SCHEDULE_OF_TYPE = {"type": [*name(), None], **SCHEDULE}
DEAD_LETTERS = {
    "all": [*NO_FLAG, None],
    "type": [*name(), None],
    "failure_reason": ["", "no such reason", 5, True, [], {}, None],
    "error_contains": [*lines(1000), "", None],
    "failed_from": [*NO_INSTANT, None],
    "failed_before": [*NO_INSTANT, None],
    "worker_id": [*name(), None],
    "tag": [*name(), None],
    "ids": [[], "17", 17, True, {}, [0], [-1], ["1"], [1.0], [None], [True], [2**63], [1] * 1001, None],
}
CLAIM = {
    "worker_id": [*name(), None],
    "task_type_id": integer(1, MAX_ID, from_text=True),
    "type_pattern": text(255, low=1),
    "types": [[], "checksum", {}, 5, True, [5], [None], [""], ["a\x00"], ["x"] * 101, [["checksum"]]],
    "sort_by": ["", "name", "id; DROP TABLE tasks", 5, True, [], {}],
    "sort_order": ["", "up", 5, True, [], {}],
    "lease_seconds": integer(1, 7 * 86400),
}
NO_LIST_OF_REPORTS: list[Any] = [5, True, "x", {}, [{"id": 17, "success": True}] * 101]

# --- every endpoint that takes a body: a right one, and what is wrong for each field --------------------------------
BODIES: dict[tuple[str, str], tuple[dict[str, Any], dict[str, list[Any]]]] = {
    ("POST", "/api/task-types/register"): (
        {"name": "new", "version": "1", "param_schema": CHECKSUM},
        {
            "name": [*name(), None, "ﬃ" * 100],
            "version": [True, [], {}, "", "x" * 51, 10**60, None, *CONTROL],
            "param_schema": [*NO_SCHEMA, None],
            "result_schema": NO_SCHEMA,
            **POLICY_FIELDS,
        },
    ),
    ("PATCH", "/api/task-types/checksum"): (
        {"version": "2"},
        {
            "version": [True, [], {}, "", "x" * 51, None, *CONTROL],
            "param_schema": [*NO_SCHEMA, None],
            "result_schema": NO_SCHEMA,
            "is_active": [*NO_FLAG, None],
            "is_paused": [*NO_FLAG, None],
            **POLICY_FIELDS,
        },
    ),
    ("POST", "/api/tasks"): (
        {"type": "checksum", "params": {"path": "new"}},
        {
            "type": [*name(), None],
            "params": NO_OBJECT,
            "priority": [*integer(-(2**31) + 1, 2**31 - 1), None],
            "available_at": NO_INSTANT,
            "delay_seconds": seconds(10 * YEAR),
            "deadline_at": NO_INSTANT,
            "dedupe_key": name(),
            "parent_task_id": [1.5, True, [], {}, 2**63, 10**400, "x" * 256, *CONTROL],
            "on_duplicate": [5, True, [], {}, "", "ignore", "RETURN"],
            "depends_on": [5, True, "x", {}, [0], [-1], ["1"], [1.0], [True], [None], [2**63], [1] * 1001],
            "on_dependency_failure": [5, True, [], {}, "", "ignore", None],
            "tags": [5, True, "x", {}, [5], [None], [""], ["a,b"], ["a=b"], ["a\x00"], ["x" * 101], ["t"] * 21],
            "metadata": [
                *NO_OBJECT,
                {"a=b": 1},
                {"": 1},
                {"x" * 101: 1},
                {"a": "x" * 9000},
                dict.fromkeys(map(str, range(51))),
            ],
            "concurrency_key": name(),
        },
    ),
    ("POST", "/api/tasks/batch"): (
        {"tasks": [{"type": "checksum", "params": {"path": "new"}}]},
        {
            "tasks": [5, True, "x", {}, None, [], [{}] * 1001],
            "atomic": [*NO_FLAG, None],
        },
    ),
    ("POST", "/api/workflows"): (
        {"tasks": [{"name": "only", "type": "checksum", "params": {"path": "new"}}]},
        {
            "name": name(),
            "tasks": [5, True, "x", {}, None, [], [5], [{}], [{"name": "a", "type": "checksum", "params": {}, "x": 1}]],
        },
    ),
    ("POST", "/api/tasks/claim"): ({"worker_id": "w", "types": ["checksum"]}, CLAIM),
    ("POST", "/api/tasks/batch/claim"): (
        {"worker_id": "w", "types": ["checksum"], "max_tasks": 5},
        {**CLAIM, "max_tasks": [*integer(1, 100), None]},
    ),
    ("POST", "/api/tasks/batch/complete"): (
        {"worker_id": "w", "results": [{"id": 17, "success": True}]},
        {"worker_id": [*name(), None], "results": [[], *NO_LIST_OF_REPORTS, None]},
    ),
    ("POST", "/api/tasks/batch/exchange"): (
        {"worker_id": "w"},
        {
            "worker_id": [*name(), None],
            "task_type_id": integer(1, MAX_ID, from_text=True),
            "type_pattern": text(255, low=1),
            "types": [[], "checksum", {}, 5, True, [5], [None], [""], ["a\x00"], ["x"] * 101, [["checksum"]]],
            "sort_by": ["", "name", "id; DROP TABLE tasks", 5, True, [], {}],
            "sort_order": ["", "up", 5, True, [], {}],
            "lease_seconds": integer(1, 7 * 86400),
            "worker_version": name(),
            "results": [*NO_LIST_OF_REPORTS, None],
            "claim": [
                *(5, True, "x", [], {}, {"max_tasks": 5}, {"types": ["checksum"], "worker_id": "w"}),
                *({"types": ["checksum"], "max_tasks": wrong} for wrong in integer(1, 100)),
                *(
                    {"types": ["checksum"], field: wrong}
                    for field in ("sort_by", "lease_seconds")
                    for wrong in ("x", [])
                ),
            ],
        },
    ),
    ("PATCH", "/api/tasks/{waiting}"): ({"priority": 7}, {"priority": [*integer(-(2**31) + 1, 2**31 - 1), None]}),
    ("POST", "/api/tasks/{claimed}/logs"): (
        {"worker_id": "w", "lines": [{"message": "x"}]},
        {**WORKER, "lines": NO_LINES},
    ),
    ("POST", "/api/tasks/{claimed}/heartbeat"): (
        {"worker_id": "w"},
        {**WORKER, "lease_seconds": integer(1, 7 * 86400)},
    ),
    ("POST", "/api/tasks/{claimed}/progress"): (
        {"worker_id": "w", "progress": 5},
        {**WORKER, "progress": [*integer(0, 100), None], "message": lines(1000)},
    ),
    ("POST", "/api/tasks/{claimed}/complete"): (
        {"worker_id": "w", "success": True},
        {
            **WORKER,
            "success": [*NO_FLAG, None],
            "retryable": [*NO_FLAG, None],
            "retry_after_seconds": seconds(YEAR),
        },
    ),
    ("POST", "/api/tasks/{claimed}/release"): (
        {"worker_id": "w"},
        {**WORKER, "delay_seconds": [*seconds(YEAR), None]},
    ),
    ("POST", "/api/housekeeping/run"): ({"budget_seconds": 1}, {"budget_seconds": [0, 0.09, 25.1, *seconds(25), None]}),
    ("POST", "/api/schedules"): (
        {"name": "new", "type": "checksum", "params": {"path": "new"}, "cron": "* * * * *"},
        {"name": [*name(), None], **SCHEDULE_OF_TYPE},
    ),
    ("POST", "/api/schedules/preview"): (
        {"cron": "* * * * *"},
        {"name": [*name(), None], **SCHEDULE_OF_TYPE, "count": [*integer(1, 100), None]},
    ),
    ("PATCH", "/api/schedules/{schedule}"): (
        {"priority": 5},
        {**SCHEDULE_OF_TYPE, "interval_seconds": [*integer(1, YEAR), None]},
    ),
    ("POST", "/api/tasks/cancel"): (
        {"all": True},
        {
            "all": [*NO_FLAG, None],
            "type": [*name(), None],
            "statuses": [[], "pending", 5, True, {}, ["failed"], ["nonsense"], [None], [5], ["pending"] * 5, None],
            "tag": [*name(), None],
            "created_from": [*NO_INSTANT, None],
            "created_before": [*NO_INSTANT, None],
            "workflow_id": [*integer(1, MAX_ID), None],
        },
    ),
    ("POST", "/api/tasks/{cancelled}/requeue"): (
        {"extra_attempts": 1},
        {"extra_attempts": [*integer(1, 1000), None]},
    ),
    ("POST", "/api/dead-letters/requeue"): (
        {"all": True},
        {**DEAD_LETTERS, "extra_attempts": [*integer(1, 1000), None]},
    ),
    ("POST", "/api/dead-letters/purge"): ({"all": True}, DEAD_LETTERS),
    ("PATCH", "/api/queue"): (
        {"is_paused": True},
        {"is_paused": [*NO_FLAG, None], "is_draining": [*NO_FLAG, None]},
    ),
    ("POST", "/api/workers/w/command"): ({"command": "quiet"}, {"command": NO_COMMAND}),
    ("POST", "/api/workers/command"): ({"command": None}, {"command": NO_COMMAND}),
    ("POST", "/api/keys"): (
        {"name": "new", "scopes": ["read"]},
        {
            "name": [*name(), None],
            "scopes": [[], "read", {}, 5, True, [5], [None], ["root"], ["read"] * 11, [["read"]], None],
            "expires_at": NO_INSTANT,
        },
    ),
    ("PATCH", "/api/keys/{key}"): ({"name": "changed"}, {"name": [*name(), None], "expires_at": NO_INSTANT}),
}
# Where the body may be left out.
OPTIONAL = {("POST", "/api/housekeeping/run"), ("POST", "/api/tasks/{cancelled}/requeue")}
QUERIES: dict[str, dict[str, list[str]]] = {
    "/api/workers": {
        "type": ["", " ", "x" * 256, "a\x00"],
        "seen_within_seconds": ["0", "-1", "604801", "1.5", "x", "", "9" * 30],
        "limit": ["0", "-1", "1001", "1.0", "ten", "", "9" * 30],
        "cursor": ["x" * 2001, "a\x00"],
    },
    "/api/tasks": {
        "status": ["x" * 201, "pend\x00ing"],
        "type": ["x" * 256, "a\x00", "a\n"],
        "worker_id": ["x" * 256, "a\x00"],
        "tag": ["", " ", ",", "a,", "a,,b", ",".join("abcdefghijk"), "a\x00", "x" * 2601],
        "metadata": ["", "a", "=", "=a", "a\x00=b", "a=b\n", "x" * 510 + "=a"],
        "workflow_id": ["", "0", "-1", "x", "1.5", str(2**63)],
        "created_from": ["yesterday", "2026-01-01", "0001-01-01T00:00:00Z", ""],
        "created_before": ["tomorrow", "9999-12-31T23:59:59Z", ""],
        "cursor": ["x" * 501, "a\x00"],
        "include": ["everything", "params,secrets", "params result", "x" * 51],
        "limit": ["0", "-1", "1001", "1.0", "ten", "", "9" * 30, "1e1", "\u0663", "0x1", str(2**63)],
        "offset": ["-1", "1000000001", "1.5", "x", "", "9" * 5000],
    },
    "/api/workflows": {
        "cursor": ["x" * 501, "a\x00"],
        "limit": ["0", "-1", "1001", "1.0", "ten", ""],
    },
    "/api/audit": {
        "action": ["x" * 65, "a\x00"],
        "subject": ["x" * 301, "a\n"],
        "actor": ["x" * 256, "a\x00"],
        "created_from": ["yesterday", ""],
        "created_before": ["2026-01-01", ""],
        "cursor": ["x" * 501, "a\x00"],
        "limit": ["0", "1001", "ten", ""],
    },
    "/api/schedules": {
        "type": ["x" * 256, "a\x00"],
        "cursor": ["x" * 501, "a\x00"],
        "limit": ["0", "-1", "1001", "1.0", "ten", ""],
    },
    "/api/dead-letters": {
        "type": ["x" * 256, "a\x00", "", " "],
        "failure_reason": ["", "nonsense", "attempts_exhausted,not_retryable"],
        "error_contains": ["", "x" * 1001, "a\x00"],
        "failed_from": ["yesterday", "2026-01-01", ""],
        "failed_before": ["tomorrow", "9999-12-31T23:59:59Z", ""],
        "worker_id": ["", "x" * 256, "a\x00"],
        "tag": ["", "x" * 256, "a\x00"],
        "cursor": ["x" * 501, "a\x00"],
        "limit": ["0", "-1", "501", "1.0", "ten", "", "9" * 30],
    },
    "/api/dead-letters/summary": {"type": ["x" * 256, "a\x00", "", " "]},
    "/api/operations": {
        "status": ["", "nonsense", "running,failed"],
        "cursor": ["x" * 501, "a\x00"],
        "limit": ["0", "-1", "501", "1.0", "ten", "", "9" * 30],
    },
    "/api/tasks/1": {"wait": ["-1", "61", "1.5", "x", "", "0x1", str(2**63)]},
    "/api/tasks/1/logs": {
        "after_id": ["-1", "x", "", "1.5", str(2**63)],
        "limit": ["0", "-1", "501", "ten", "", "1.0"],
    },
    "/api/task-types": {
        "active_only": ["yes", "", "2", "truee"],
        "sort_by": ["", "param_schema", "name; DROP TABLE tasks", "id desc"],
        "sort_order": ["", "up", "asc;"],
    },
    "/api/task-types/checksum/stats": {
        "window_seconds": ["59", "0", "-60", "86401", "1.5", "60s", "", "\u0663", "9" * 5000],
    },
}


class Stage:
    """An application with a type, a pending and a claimed task and a key, and a look at all that is stored."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.expect(201, "POST", "/api/task-types/register", name="checksum", version="1", param_schema=CHECKSUM)
        self.expect(201, "POST", "/api/tasks", type="checksum", params={"path": "a"})
        waiting = self.expect(201, "POST", "/api/tasks", type="checksum", params={"path": "b"})
        claimed = self.expect(200, "POST", "/api/tasks/claim", worker_id="w", types=["checksum"])
        key = self.expect(201, "POST", "/api/keys", name="one more", scopes=["read"])
        hourly = {"name": "hourly", "type": "checksum", "params": {"path": "a"}, "interval_seconds": 3600}
        schedule = self.expect(201, "POST", "/api/schedules", **hourly)
        cancelled = self.expect(201, "POST", "/api/tasks", type="checksum", params={"path": "c"})
        self.expect(200, "POST", f"/api/tasks/{cancelled['id']}/cancel")
        made = {"claimed": claimed, "waiting": waiting, "cancelled": cancelled, "key": key, "schedule": schedule}
        self.ids = {name: row["id"] for name, row in made.items()}
        self.token = claimed["lease_token"]

    def expect(self, status: int, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = self.client.request(method, path, json=body)
        assert answer.status_code == status, answer.get_data(as_text=True)
        data: dict[str, Any] = answer.get_json()["data"]
        return data

    def path(self, path: str) -> str:
        return path.format(**self.ids)

    def stored(self) -> dict[str, list[Any]]:
        def read(tx: Any) -> dict[str, list[Any]]:
            return {table.name: tx.all(select(table)) for table in metadata.sorted_tables}

        return self.client.database.read(read)


@pytest.fixture
def stage(client: Client) -> Stage:
    return Stage(client)


# For what is refused before the database is asked.
before_the_database = pytest.mark.parametrize("database_kind", ["sqlite"])


def fault_of(answer: TestResponse, status: int, codes: str | tuple[str, ...], field: str | None = None) -> str | None:
    """Return what is wrong with a refusal, or None."""
    shown = answer.get_data(as_text=True)
    if answer.status_code != status:
        return f"{answer.status_code} instead of {status}: {shown[:300]}"
    body = answer.get_json()
    if body["code"] not in ((codes,) if isinstance(codes, str) else codes):
        return f"code {body['code']} instead of {codes}: {shown[:300]}"
    if field is not None and not any(is_about(detail["field"], field) for detail in body["details"]):
        return f"the details do not name {field}: {body['details']}"
    if len(shown) > 60_000:
        return f"the refusal has {len(shown)} characters"
    leaks = [leak for leak in LEAKS if leak in shown]
    return f"leaks {leaks}: {shown[:500]}" if leaks else None


def is_about(named: str, field: str) -> bool:
    return named == field or named.startswith(f"{field}.")


def show_part(part: str) -> str:
    return part.removeprefix("/api/")


INVALID = ("invalid_request", "missing_field", "invalid_schema", "invalid_schedule")
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


# --- ids in paths ---------------------------------------------------------------------------------------------------
TASK_PATHS = [("GET", ""), ("GET", "/attempts"), ("GET", "/explain"), ("POST", "/cancel"), ("POST", "/requeue")]
WORKER_PATHS = ["heartbeat", "progress", "complete", "release"]


def requests_with_an_id(stage: Stage, given: str) -> Iterator[tuple[str, TestResponse]]:
    for method, rest in TASK_PATHS:
        yield f"{method} {rest}", stage.client.request(method, f"/api/tasks/{given}{rest}")
    for verb in WORKER_PATHS:
        for token in (None, stage.token, "no token", "99999999999999999999-300-x", "1-300-😀"):
            body = {**BODIES["POST", f"/api/tasks/{{claimed}}/{verb}"][0], "lease_token": token}
            yield f"POST {verb} {token}", stage.client.post(f"/api/tasks/{given}/{verb}", json=body)
    yield "GET schedule", stage.client.get(f"/api/schedules/{given}")
    yield "PATCH schedule", stage.client.patch(f"/api/schedules/{given}", json={"priority": 1})
    yield "DELETE schedule", stage.client.delete(f"/api/schedules/{given}")
    yield "DELETE dead letter", stage.client.delete(f"/api/dead-letters/{given}")
    yield "GET operation", stage.client.get(f"/api/operations/{given}")
    yield "POST operation", stage.client.post(f"/api/operations/{given}/cancel")
    yield "PATCH key", stage.client.patch(f"/api/keys/{given}", json={"name": "x"})
    yield "DELETE key", stage.client.delete(f"/api/keys/{given}")


UNKNOWN_IDS = [
    0,
    987654321,
    2**31,
    2**32,
    2**53 + 1,
    MAX_ID,
    MAX_ID + 1,
    2**64,
    10**30,
    "0" * 9 + "987654321",
    "9" * 5000,
]


@pytest.mark.parametrize("number", UNKNOWN_IDS, ids=shorten)
def test_an_id_that_does_not_exist_is_not_found(stage: Stage, number: Any) -> None:
    before = stage.stored()
    for what, answer in requests_with_an_id(stage, str(number)):
        nouns = [noun for noun in ("key", "operation", "schedule") if noun in what] or ["task"]
        code = f"{nouns[0]}_not_found"
        assert fault_of(answer, 404, code) is None, (what, answer.get_data(as_text=True))
    assert stage.stored() == before


@before_the_database
@pytest.mark.parametrize(
    "number", ["-1", "1.0", "1e3", "abc", "%00", "1%00", "\u0663", "%20", "+1", "0x1", "1_0"], ids=shorten
)
def test_what_is_no_id_is_no_endpoint(stage: Stage, number: str) -> None:
    before = stage.stored()
    for what, answer in requests_with_an_id(stage, number):
        assert answer.status_code in (404, 405), (what, answer.get_data(as_text=True))
        assert fault_of(answer, answer.status_code, ("endpoint_not_found", "method_not_allowed")) is None, what
    assert stage.stored() == before


@pytest.mark.parametrize(
    "token",
    [
        "no token",
        "1-300-😀",
        "ü",
        "99999999999999999999-300-x",
        "0-0-0",
        "1-999999999999-x",
        "--",
        "²-³-x",
        "\u0663-\u0663-x",
        "-1-1-1",
        "' OR 1=1",
    ],
    ids=shorten,
)
def test_a_token_that_was_never_given_out_loses_the_lease(stage: Stage, token: str) -> None:
    before = stage.stored()
    for verb in WORKER_PATHS:
        bodies = [BODIES["POST", f"/api/tasks/{{claimed}}/{verb}"][0]]
        if verb == "complete":
            bodies.append({"worker_id": "w", "success": False})
        for body in bodies:
            answer = stage.client.post(
                stage.path(f"/api/tasks/{{claimed}}/{verb}"), json={**body, "lease_token": token}
            )
            assert fault_of(answer, 409, "lease_lost") is None, (verb, answer.get_data(as_text=True))
    assert stage.stored() == before


@pytest.mark.parametrize(
    "name",
    ["nothing", "%00", "%0A", "%FF%FE", "%ED%A0%80", "x" * 5000, "😀", "%F0%9F%98%80", "a/b/c", "%2F", "'%20OR%201=1"],
    ids=shorten,
)
def test_a_type_that_does_not_exist_is_not_found(stage: Stage, name: str) -> None:
    before = stage.stored()
    for answer in (
        stage.client.get(f"/api/task-types/{name}"),
        stage.client.get(f"/api/task-types/{name}/stats"),
        stage.client.patch(f"/api/task-types/{name}", json={"is_paused": True}),
    ):
        assert fault_of(answer, 404, ("task_type_not_found", "endpoint_not_found")) is None, answer.get_data(
            as_text=True
        )
    answer = stage.client.post("/api/tasks", json={"type": "nothing", "params": {}})
    assert fault_of(answer, 404, "task_type_not_found") is None
    assert stage.stored() == before


@pytest.mark.parametrize("number", [2**63, 10**30, -1, 0])
def test_a_task_type_id_out_of_range_is_refused_and_one_that_does_not_exist_finds_nothing(
    stage: Stage, number: int
) -> None:
    answer = stage.client.post("/api/tasks/claim", json={"worker_id": "w", "task_type_id": number})
    assert fault_of(answer, 400, "invalid_request", "task_type_id") is None
    answer = stage.client.post("/api/tasks/claim", json={"worker_id": "w", "task_type_id": MAX_ID})
    assert fault_of(answer, 404, "no_available_tasks") is None


# --- queries and headers --------------------------------------------------------------------------------------------
@before_the_database
@pytest.mark.parametrize("path", QUERIES)
def test_each_wrong_value_of_a_query_is_refused_by_name(stage: Stage, path: str) -> None:
    faults = []
    for field, values in QUERIES[path].items():
        for value in values:
            answer = stage.client.get(path, query_string={field: value})
            fault = fault_of(answer, 400, "invalid_request", field)
            if fault is not None:
                faults.append(f"{field} = {value[:60]!r}: {fault}")
    assert not faults, "\n".join(faults)


@before_the_database
@pytest.mark.parametrize("path", QUERIES)
def test_unknown_and_repeated_query_parameters_are_named(stage: Stage, path: str) -> None:
    known = next(reversed(QUERIES[path]))
    answer = stage.client.get(f"{path}?surprise=1&{'x' * 1000}=2&%F0%9F%98%80=3&%FF=4")
    assert fault_of(answer, 400, "invalid_request", "surprise") is None, answer.get_data(as_text=True)
    assert {"surprise", "x" * 500, "😀"} <= {detail["field"] for detail in answer.get_json()["details"]}
    answer = stage.client.get(f"{path}?{known}=1&{known}=1&other=1&other=2")
    assert fault_of(answer, 400, "invalid_request", known) is None, answer.get_data(as_text=True)
    assert {detail["field"] for detail in answer.get_json()["details"]} == {known, "other"}


def tampered() -> Iterator[str]:
    good = make_cursor(17)
    yield from (good[:-1], good[1:], good + "A", good + "====", good.upper(), good + " ", "x", "%", "😀", "=", "=" * 8)
    for value in (0, -1, 2**63, 10**400, 1.5, True, "17", None, [17], {"a": 1}):
        yield encode({"below_id": value})
    yield from (encode(17), encode([]), encode({}), encode("text"), encode(None), encode({"above_id": 1}))
    yield from (
        encode_bytes(b"\xff\xfe"),
        encode_bytes(b"{"),
        encode_bytes(b"[" * 300),
        encode_bytes(b'{"below_id": NaN}'),
    )


def encode(value: Any) -> str:
    return encode_bytes(json.dumps(value).encode())


def encode_bytes(raw: bytes) -> str:
    import base64

    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@before_the_database
@pytest.mark.parametrize("cursor", list(tampered()), ids=shorten)
def test_a_tampered_cursor_is_refused(stage: Stage, cursor: str) -> None:
    answer = stage.client.get("/api/tasks", query_string={"cursor": cursor})
    if len(cursor) > 500:
        assert fault_of(answer, 400, "invalid_request", "cursor") is None
    else:
        assert fault_of(answer, 400, "invalid_cursor") is None, answer.get_data(as_text=True)


@before_the_database
@pytest.mark.parametrize("cursor", [*tampered(), make_cursor(17)], ids=shorten)
def test_a_tampered_cursor_of_dead_letters_is_refused(stage: Stage, cursor: str) -> None:
    answer = stage.client.get("/api/dead-letters", query_string={"cursor": cursor})
    assert answer.status_code == 400, answer.get_data(as_text=True)


@before_the_database
@pytest.mark.parametrize(
    "key", ["", " ", "two words", "x" * 256, "tab\tbed", "ünïcode", "a\x7f", "x" * 100_000], ids=shorten
)
def test_an_idempotency_key_that_cannot_be_kept_is_refused(stage: Stage, key: str) -> None:
    before = stage.stored()
    body = {"type": "checksum", "params": {"path": "new"}}
    answer = stage.client.post("/api/tasks", json=body, headers={"Idempotency-Key": key})
    assert fault_of(answer, 400, "invalid_header") is None, answer.get_data(as_text=True)
    assert "Idempotency-Key" in answer.get_json()["detail"]
    assert stage.stored() == before


def test_an_idempotency_key_of_255_characters_is_kept(stage: Stage) -> None:
    body = {"type": "checksum", "params": {"path": "new"}}
    headers = {"Idempotency-Key": "!~" * 127 + "x"}
    first = stage.client.post("/api/tasks", json=body, headers=headers)
    again = stage.client.post("/api/tasks", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.get_json()["data"] == again.get_json()["data"]
    other = stage.client.post("/api/tasks", json={**body, "priority": 1}, headers=headers)
    assert fault_of(other, 409, "idempotency_key_reused") is None


@before_the_database
@pytest.mark.parametrize("override", ["DELETE; DROP", "TRACE", "x" * 10_000, "GET", "ü"], ids=shorten)
def test_an_override_of_the_method_that_makes_no_sense_changes_nothing(stage: Stage, override: str) -> None:
    answer = stage.client.post("/api/keys", json={}, headers={"X-HTTP-Method-Override": override})
    assert fault_of(answer, 400, "missing_field") is None


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
