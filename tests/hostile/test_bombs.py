"""Schemas, patterns, lists and texts that ask for endless work, sent to a live server: answered in bounded time."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.hostile.schema_bombs import BOMBS
from tests.hostile.target import PATIENCE, Target

NO_ERRORS = (200, 201, 400, 404, 409, 413)


def call(target: Target, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Call with `PATIENCE`, and fail for an error of the server."""
    status, answer = target.call(method, path, body, patience=PATIENCE)
    assert status in NO_ERRORS, (status, answer)
    assert len(json.dumps(answer)) < 3_000_000
    return status, answer


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_in_a_schema_is_refused_or_harmless(unharmed: Target, name: str) -> None:
    schema, value = BOMBS[name]
    kind = {"name": f"bomb {name}", "version": "1"}
    status, _ = call(unharmed, "POST", "/api/task-types/register", {**kind, "param_schema": schema})
    if status == 201:
        # The same again is compiled again by the other process.
        for _ in range(2):
            call(unharmed, "POST", "/api/tasks", {"type": kind["name"], "params": {"x": value}})
    kind["name"] += ", of results"
    new = {**kind, "param_schema": {"type": "object"}, "result_schema": schema}
    status, _ = call(unharmed, "POST", "/api/task-types/register", new)
    if status == 201:
        call(unharmed, "POST", "/api/tasks", {"type": kind["name"], "params": {}})
        order = {"worker_id": "w", "types": [kind["name"]]}
        _, claimed = call(unharmed, "POST", "/api/tasks/claim", order)
        report = {"worker_id": "w", "success": True, "lease_token": claimed["data"]["lease_token"]}
        call(unharmed, "POST", f"/api/tasks/{claimed['data']['id']}/complete", {**report, "result": {"x": value}})


def test_patterns_of_names_cannot_take_for_ever(unharmed: Target) -> None:
    for number in range(30):
        name = f"{'a' * 200}{number}"
        kind = {"name": name, "version": "1", "param_schema": {"type": "object"}}
        assert call(unharmed, "POST", "/api/task-types/register", kind)[0] == 201
    for pattern in ("%a" * 120 + "b", "%" * 255, "%_" * 120 + "b", "\\" * 255, "%a_%a_%a_%a_%a_b", "(a+)+$", "[a-"):
        call(unharmed, "POST", "/api/tasks/claim", {"worker_id": "w", "type_pattern": pattern})
        call(unharmed, "GET", "/api/tasks?" + urlencode({"type": pattern}))
        call(unharmed, "GET", "/api/dead-letters?" + urlencode({"type": pattern, "error_contains": pattern}))
        call(unharmed, "GET", "/api/tasks?" + urlencode({"tag": pattern, "metadata": f"{pattern[:90]}=%_%"}))
        call(unharmed, "GET", "/api/tasks?" + urlencode({"cursor": pattern, "worker_id": pattern}))


@pytest.mark.parametrize(
    "cron",
    [
        ",".join(["*"] * 100) + " * * * *",
        ",".join(map(str, range(60))) + " * * * *",
        "*/1 */1 */1 */1 */1",
        "0-59/1,0-59/2,0-59/3,0-59/4 0-23 1-31 1-12 0-7",
        "0 0 30 2 *",
        "0 0 29 2 1#5",
        "0 0 31 2,4,6,9,11 *",
        "59 23 29 2 1",
        "1" * 200 + " * * * *",
        "0-4294967295 * * * *",
        "*/0 * * * *",
        "*/-1 * * * *",
        "L L L L L",
        "0 0 LW * *",
        "0 0 * * 5L,5#1,5#2,5#3,5#4,5#5",
        "\u0661 * * * *",
        "* * * * * * *",
    ],
    ids=range(17),
)
def test_a_monstrous_timetable_is_refused_or_shown(unharmed: Target, cron: str) -> None:
    schedule = {"type": "work", "params": {}, "cron": cron, "timezone": "America/St_Johns"}
    call(unharmed, "POST", "/api/schedules/preview", {**schedule, "count": 100})


@pytest.mark.parametrize(
    "new",
    [
        {"tags": [f"{n}" * 20 for n in range(20)], "metadata": {f"m{n}": "x" * 100 for n in range(50)}},
        {"depends_on": list(range(1, 1001))},
        {"dedupe_key": "x" * 255, "concurrency_key": "\U0001f680" * 255},
        {"params": {f"key {n}": n for n in range(10_000)}},
        {"params": {"x" * 900_000: 1}},
        {"params": {"x": [[[[[n]]]] for n in range(20_000)]}},
        {"params": {"x": [10**4200] * 200}},
        {"params": {"x": ["\u0000\u001f\u2028\U0001f680"] * 40_000}},
    ],
    ids=["labels", "dependencies", "keys", "10,000 names", "a long name", "lists", "long numbers", "characters"],
)
def test_a_large_task_is_refused_or_kept_and_found(unharmed: Target, new: dict[str, Any]) -> None:
    status, answer = call(unharmed, "POST", "/api/tasks", {"type": "work", "params": {}, **new})
    if status == 201:
        whole = call(unharmed, "GET", f"/api/tasks/{answer['data']['id']}")[1]["data"]
        assert whole["params"] == new.get("params", {})
        call(unharmed, "GET", "/api/tasks?limit=20&include=params")
        call(unharmed, "GET", "/api/tasks?" + urlencode({"tag": ",".join(new.get("tags", ["a"])[:10])}))


def test_ten_thousand_items_in_one_request_are_refused(unharmed: Target) -> None:
    order = {"worker_id": "w", "types": [f"type {n}" for n in range(10_000)]}
    assert call(unharmed, "POST", "/api/tasks/claim", order)[0] == 400
    tasks = [{"type": "work", "params": {"n": n}} for n in range(10_000)]
    assert call(unharmed, "POST", "/api/tasks/batch", {"tasks": tasks})[0] == 400
    graph = [{"name": f"t{n}", "type": "work", "params": {}, "depends_on": [f"t{n + 1}"]} for n in range(10_000)]
    assert call(unharmed, "POST", "/api/workflows", {"tasks": graph})[0] == 400
    circle = [{"name": f"t{n}", "type": "work", "params": {}, "depends_on": [f"t{(n + 1) % 900}"]} for n in range(900)]
    assert call(unharmed, "POST", "/api/workflows", {"tasks": circle})[0] == 400
    results = [{"id": n, "success": True, "lease_token": "1.1.a"} for n in range(10_000)]
    assert call(unharmed, "POST", "/api/tasks/batch/complete", {"worker_id": "w", "results": results})[0] == 400
