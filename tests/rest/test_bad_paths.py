"""What ids, names and tokens that do not exist get: a 4xx problem with a stable code; nothing written."""

from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.bodies import BODIES
from tests.support.stage import Stage, before_the_database, fault_of
from tests.support.wrong_values import MAX_ID, shorten

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
