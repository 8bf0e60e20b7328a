"""How many SQL statements each hot request costs: the numbers may not grow unnoticed.

They are counted with warm caches (key and task type are read once every few seconds), without the round of
housekeeping after an answer, which comes at most once a second and is one indexed read when nothing is due.
"""

import time

import pytest

from app.web.current import EXTENSION
from tests.support.statements import counted_statements


@pytest.fixture
def api(client, app):
    """A client with a registered type, warm caches, and housekeeping that has just been done."""
    body = {"name": "work", "version": "1", "param_schema": {"type": "object"}, "retry_delay_seconds": 5}
    assert client.post("/api/task-types/register", json=body).status_code == 201
    _claim(client, _create(client))
    assert client.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]}).status_code == 404
    assert client.get("/api/tasks").status_code == 200
    housekeeper = app.extensions[EXTENSION].housekeeping
    housekeeper._next_round = time.monotonic() + 3600
    return client


def _create(client, **more):
    _create.number = getattr(_create, "number", 0) + 1
    answer = client.post("/api/tasks", json={"type": "work", "params": {"n": _create.number}, **more})
    assert answer.status_code == 201
    return answer.json["data"]


def _claim(client, task=None, **more):
    answer = client.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"], **more})
    assert answer.status_code == 200
    return answer.json["data"]


def _count(client, method, path, **options):
    with counted_statements(client.database) as seen:
        answer = client.request(method, path, **options)
    return answer.status_code, len(seen), seen


def test_create_is_one_statement(api):
    assert _count(api, "POST", "/api/tasks", json={"type": "work", "params": {}})[:2] == (201, 1)


def test_a_duplicate_is_two_statements(api):
    _create(api)
    again = {"type": "work", "params": {"n": _create.number}}
    assert _count(api, "POST", "/api/tasks", json=again)[:2] == (200, 2)


def test_create_with_an_idempotency_key_is_five_statements_and_its_repetition_one(api):
    options = {"json": {"type": "work", "params": {"k": 1}}, "headers": {"Idempotency-Key": "k"}}
    assert _count(api, "POST", "/api/tasks", **options)[:2] == (201, 5)
    assert _count(api, "POST", "/api/tasks", **options)[:2] == (201, 1)


def test_a_claim_is_two_statements(api):
    _create(api)
    body = {"worker_id": "w", "types": ["work"]}
    status, number, seen = _count(api, "POST", "/api/tasks/claim", json=body)
    assert (status, number) == (200, 2), seen


def test_an_empty_claim_is_one_statement_that_writes_nothing(api):
    body = {"worker_id": "w", "types": ["work"]}
    status, number, seen = _count(api, "POST", "/api/tasks/claim", json=body)
    assert (status, number) == (404, 1)
    assert seen[0].startswith("SELECT")
    assert "FOR UPDATE" not in seen[0]


def test_an_empty_claim_looks_at_most_once_a_second_for_what_is_due(api, app):
    app.extensions[EXTENSION].housekeeping._next_round = 0.0
    body = {"worker_id": "w", "types": ["work"]}
    counts = [_count(api, "POST", "/api/tasks/claim", json=body)[1] for _ in range(3)]
    assert counts == [2, 1, 1]


def test_an_empty_claim_of_several_types_is_one_statement(api):
    for name in ("other", "third"):
        body = {"name": name, "version": "1", "param_schema": {"type": "object"}}
        api.post("/api/task-types/register", json=body)
    body = {"worker_id": "w", "types": ["work", "other", "third"]}
    api.post("/api/tasks/claim", json=body)
    assert _count(api, "POST", "/api/tasks/claim", json=body)[:2] == (404, 1)
    _create(api)
    assert _count(api, "POST", "/api/tasks/claim", json=body)[:2] == (200, 3)


@pytest.mark.parametrize("minimal", [True, False])
def test_complete_and_progress_are_one_guarded_update_and_one_look_for_the_answer(api, minimal):
    _create(api)
    task = _claim(api)
    headers = {"Prefer": "return=minimal"} if minimal else {}
    holder = {"worker_id": "w", "lease_token": task["lease_token"]}
    expected = 1 if minimal else 2
    path = f"/api/tasks/{task['id']}"
    options = {"headers": headers, "json": {**holder, "progress": 5}}
    assert _count(api, "POST", path + "/progress", **options)[:2] == (200, expected)
    options["json"] = {**holder, "progress": 6, "result": {"half": 1}}
    assert _count(api, "POST", path + "/progress", **options)[:2] == (200, expected)
    options = {"headers": headers, "json": {**holder, "success": True}}
    assert _count(api, "POST", path + "/complete", **options)[:2] == (200, expected)


def test_a_heartbeat_is_one_statement(api):
    _create(api)
    task = _claim(api)
    body = {"worker_id": "w", "lease_token": task["lease_token"]}
    assert _count(api, "POST", f"/api/tasks/{task['id']}/heartbeat", json=body)[:2] == (200, 1)


def test_an_old_client_without_a_token_costs_one_look_more(api):
    _create(api)
    task = _claim(api)
    path = f"/api/tasks/{task['id']}"
    assert _count(api, "POST", path + "/heartbeat", json={"worker_id": "w"})[:2] == (200, 2)
    assert _count(api, "POST", path + "/progress", json={"worker_id": "w", "progress": 1})[:2] == (200, 3)
    assert _count(api, "POST", path + "/complete", json={"worker_id": "w", "success": 1})[:2] == (200, 3)


def test_a_failure_is_five_statements(api):
    _create(api)
    task = _claim(api)
    body = {"worker_id": "w", "lease_token": task["lease_token"], "success": False, "error": "x"}
    # Look, then in one transaction: update the task, write down the attempt.
    assert _count(api, "POST", f"/api/tasks/{task['id']}/complete", json=body)[:2] == (200, 5)


def _claim_batch(client, number, **more):
    body = {"worker_id": "w", "types": ["work"], "max_tasks": number, **more}
    answer = client.post("/api/tasks/batch/claim", json=body)
    assert (answer.status_code, answer.json["data"]["count"]) == (200, number)
    return answer.json["data"]["tasks"]


def _done(tasks):
    return [{"id": task["id"], "lease_token": task["lease_token"], "success": True, "result": 1} for task in tasks]


@pytest.mark.parametrize("number", [2, 50, 100])
def test_a_batch_claim_is_three_statements_and_its_completion_one(api, number):
    for _ in range(number):
        _create(api)
    body = {"worker_id": "w", "types": ["work"], "max_tasks": number}
    with counted_statements(api.database) as seen:
        answer = api.post("/api/tasks/batch/claim", json=body)
    assert (answer.json["data"]["count"], len(seen)) == (number, 3), seen
    body = {"worker_id": "w", "results": _done(answer.json["data"]["tasks"])}
    assert _count(api, "POST", "/api/tasks/batch/complete", json=body)[:2] == (200, 1)
    # The same again looks why nothing was to be done: begin, look, attempts, commit.
    assert _count(api, "POST", "/api/tasks/batch/complete", json=body)[1] <= 5


def test_an_empty_batch_claim_is_one_statement_that_writes_nothing(api):
    body = {"worker_id": "w", "types": ["work"], "max_tasks": 50}
    status, number, seen = _count(api, "POST", "/api/tasks/batch/claim", json=body)
    assert (status, number) == (200, 1), seen
    assert seen[0].startswith("SELECT")
    assert "FOR UPDATE" not in seen[0]


@pytest.mark.parametrize(("number", "expected"), [(1, 3), (50, 4)])
def test_an_exchange_is_one_statement_more_than_its_claim(api, number, expected):
    for _ in range(2 * number):
        _create(api)
    body = {
        "worker_id": "w",
        "results": _done(_claim_batch(api, number)),
        "claim": {"types": ["work"], "max_tasks": number},
    }
    with counted_statements(api.database) as seen:
        answer = api.post("/api/tasks/batch/exchange", json=body)
    assert (answer.status_code, answer.json["data"]["count"]) == (200, number)
    assert len(seen) == expected, seen


def test_a_batch_of_failures_is_six_statements(api):
    for _ in range(50):
        _create(api)
    results = [{**one, "success": False, "error": "x"} for one in _done(_claim_batch(api, 50))]
    body = {"worker_id": "w", "results": results}
    # Begin, look, write the attempts down, change the tasks, commit.
    status, number, seen = _count(api, "POST", "/api/tasks/batch/complete", json=body)
    assert (status, number) == (200, 5), seen


def test_a_list_of_several_statuses_is_one_statement_that_sees_one_moment(api):
    assert _count(api, "GET", "/api/tasks?status=pending,claimed,completed")[:2] == (200, 1)


def test_a_read_and_a_list_are_one_statement(api):
    task = _create(api)
    assert _count(api, "GET", f"/api/tasks/{task['id']}")[:2] == (200, 1)
    assert _count(api, "GET", "/api/tasks?limit=2")[:2] == (200, 1)
    assert _count(api, "GET", "/api/tasks?limit=2&tag=a&workflow_id=1")[:2] == (200, 1)
    # With several labels the rarest is found first.
    assert _count(api, "GET", "/api/tasks?limit=2&tag=a,b&metadata=n=1&workflow_id=1")[:2] == (200, 2)
    # One look more tells whether there is anything to wait for.
    assert _count(api, "GET", f"/api/tasks/{task['id']}?wait=9")[:2] == (200, 2)


def test_a_change_of_priority_is_a_look_and_a_guarded_update(api):
    task = _create(api)
    body = {"priority": 5}
    assert _count(api, "PATCH", f"/api/tasks/{task['id']}", json=body)[:2] == (200, 4)
    assert _count(api, "PATCH", f"/api/tasks/{task['id']}", json=body)[:2] == (200, 1)


def test_log_lines_are_written_in_five_statements(api):
    _create(api)
    task = _claim(api)
    body = {"worker_id": "w", "lease_token": task["lease_token"], "lines": [{"message": "x"}] * 100}
    assert _count(api, "POST", f"/api/tasks/{task['id']}/logs", json=body)[:2] == (200, 5)
    assert _count(api, "GET", f"/api/tasks/{task['id']}/logs")[:2] == (200, 1)


def test_the_health_of_the_server_is_one_statement(api):
    assert _count(api, "GET", "/api/health")[:2] == (200, 1)
