"""Letters beyond ASCII wherever a text may be: some columns hold none, and must not be an error for that."""

import json
from urllib.parse import quote

import pytest

from tests.support.bodies import BODIES, QUERIES
from tests.support.stage import Stage

WORDS = ("1.\u00fc\u0661\U0001f680",)


@pytest.mark.parametrize("word", WORDS)
def test_no_letter_in_any_field_is_an_error_of_the_server(stage: Stage, word: str) -> None:
    faults = []
    for (method, path), (right, fields) in BODIES.items():
        extra = {"lease_token"} if "{claimed}" in path else set()
        for field in {*fields, *extra}:
            answer = stage.client.request(method, stage.path(path), data=json.dumps({**right, field: word}))
            if answer.status_code >= 500:
                faults.append(f"{method} {path} {field}")
    for path, arguments in QUERIES.items():
        for argument in arguments:
            answer = stage.client.get(path, query_string={argument: word})
            if answer.status_code >= 500:
                faults.append(f"GET {path}?{argument}")
    assert not faults, faults


@pytest.mark.parametrize("word", WORDS)
def test_no_letter_in_a_token_is_an_error_of_the_server(stage: Stage, word: str) -> None:
    task = stage.path("/api/tasks/{claimed}")
    report = {"worker_id": "w", "lease_token": word}
    assert stage.client.post(f"{task}/heartbeat", json=report).status_code in (400, 409)
    assert stage.client.post(f"{task}/progress", json={**report, "progress": 5}).status_code in (400, 409)
    assert stage.client.post(f"{task}/release", json=report).status_code in (400, 409)
    assert stage.client.post(f"{task}/logs", json={**report, "lines": [{"message": "x"}]}).status_code in (400, 409)
    for success in (True, False):
        assert stage.client.post(f"{task}/complete", json={**report, "success": success}).status_code in (400, 409)
    results = [{"id": int(task.rsplit("/", 1)[1]), "success": True, "lease_token": word}]
    answer = stage.client.post("/api/tasks/batch/complete", json={"worker_id": "w", "results": results})
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("word", WORDS)
def test_no_letter_in_a_header_or_path_is_an_error_of_the_server(stage: Stage, word: str) -> None:
    new = {"type": "checksum", "params": {"path": word}}
    for name in ("Idempotency-Key", "Prefer", "X-Request-ID", "X-API-Key", "Authorization", "User-Agent", "Origin"):
        raw = word.encode().decode("latin-1")
        assert stage.client.post("/api/tasks", json=new, headers={name: raw}).status_code < 500, name
    for path in (
        "/api/task-types/%s",
        "/api/schedules/%s",
        "/api/workers/%s",
        "/api/tasks/%s",
        "/api/task-types/%s/stats",
    ):
        assert stage.client.get(path % quote(word)).status_code < 500, path
