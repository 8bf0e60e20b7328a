"""Batches over HTTP: what is asked, what is answered, and what one bad item does to the others: nothing."""

import pytest

from app.storage.columns import MAX_ID
from app.web.current import EXTENSION
from tests.support.statements import counted_statements

LATER = "1-300-" + "0" * 32


@pytest.fixture
def api(client):
    """A client with a type and ten tasks."""
    body = {"name": "work", "version": "1", "param_schema": {"type": "object"}, "retry_delay_seconds": 5}
    assert client.post("/api/task-types/register", json=body).status_code == 201
    _create(client, 10)
    return client


def _create(client, number):
    for _ in range(number):
        _create.number = getattr(_create, "number", 0) + 1
        answer = client.post("/api/tasks", json={"type": "work", "params": {"n": _create.number}})
        assert answer.status_code == 201


def _claim(client, number, **more):
    body = {"worker_id": "w", "types": ["work"], "max_tasks": number, **more}
    answer = client.post("/api/tasks/batch/claim", json=body)
    assert answer.status_code == 200, answer.json
    return answer.json["data"]["tasks"]


def _report(client, *results, worker_id="w"):
    answer = client.post("/api/tasks/batch/complete", json={"worker_id": worker_id, "results": list(results)})
    assert answer.status_code == 200, answer.json
    return answer.json["data"]


def _done(task, **more):
    return {"id": task["id"], "lease_token": task["lease_token"], "success": True, **more}


def test_a_claimed_task_is_shown_as_a_single_claim_shows_it(api):
    (one,) = _claim(api, 1)
    two, three = _claim(api, 2)
    single = api.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]}).json["data"]
    own = ("id", "params", "lease_token")
    shown = [{name: value for name, value in task.items() if name not in own} for task in (one, two, three, single)]
    assert shown[0] == shown[1] == shown[2] == shown[3]
    assert list(two) == list(single)


def test_an_empty_batch_says_when_to_ask_again(api):
    assert len(_claim(api, 100)) == 10
    answer = api.post("/api/tasks/batch/claim", json={"worker_id": "w", "types": ["work"]})
    assert (answer.json["data"], answer.json["message"]) == (
        {"tasks": [], "count": 0, "command": None},
        "No available tasks",
    )
    assert int(answer.headers["Retry-After"]) >= 1
    answer = api.post("/api/tasks/batch/exchange", json={"worker_id": "w", "claim": {"types": ["work"]}})
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_batch_with_tasks_does_not_tell_to_wait(api):
    answer = api.post("/api/tasks/batch/claim", json={"worker_id": "w", "types": ["work"]})
    assert "Retry-After" not in answer.headers
    answer = api.post("/api/tasks/batch/exchange", json={"worker_id": "w"})
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("path", ["claim", "exchange"])
def test_a_claim_that_finds_nothing_does_first_what_is_due(api, clock, path):
    tasks = _claim(api, 10, lease_seconds=60)
    clock.advance(seconds=60)
    claim = {"types": ["work"], "max_tasks": 4}
    body = {"worker_id": "w2", **(claim if path == "claim" else {"claim": claim})}
    api.app.extensions[EXTENSION].housekeeping._next_round = 0.0
    data = api.post(f"/api/tasks/batch/{path}", json=body).json["data"]
    assert [task["id"] for task in data["tasks"]] == [task["id"] for task in tasks[:4]]


def test_a_type_that_does_not_exist_is_named(api):
    answer = api.post("/api/tasks/batch/claim", json={"worker_id": "w", "types": ["work", "nothing"]})
    assert (answer.status_code, answer.json["code"]) == (404, "task_type_not_found")


# --- verdicts --------------------------------------------------------------------------------------------------------
WRONG_ITEMS = [
    (5, None),
    (None, None),
    ("x", None),
    ([], None),
    ({}, "id"),
    ({"id": "17", "success": True}, "id"),
    ({"id": 0, "success": True}, "id"),
    ({"id": MAX_ID + 1, "success": True}, "id"),
    ({"id": True, "success": True}, "id"),
    ({"id": 17}, "success"),
    ({"id": 17, "success": "yes"}, "success"),
    ({"id": 17, "success": True, "lease_token": 5}, "lease_token"),
    ({"id": 17, "success": True, "lease_token": "x" * 65}, "lease_token"),
    ({"id": 17, "success": False, "retryable": None}, "retryable"),
    ({"id": 17, "success": False, "retry_after_seconds": -1}, "retry_after_seconds"),
    ({"id": 17, "success": False, "retry_after_seconds": "5"}, "retry_after_seconds"),
    ({"id": 17, "success": True, "worker_id": "w"}, "worker_id"),
    ({"id": 17, "success": True, "surprise": 1}, "surprise"),
]


def test_items_that_cannot_be_understood_are_refused_alone_and_by_name(api):
    first, last = _claim(api, 2)
    data = _report(api, _done(first, result=1), *(item for item, _ in WRONG_ITEMS), _done(last, result=2))
    assert data["results"][0] == {"id": first["id"], "success": True, "status": "completed", "will_retry": False}
    assert data["results"][-1] == {"id": last["id"], "success": True, "status": "completed", "will_retry": False}
    assert data["refused"] == len(WRONG_ITEMS)
    for (item, field), verdict in zip(WRONG_ITEMS, data["results"][1:-1], strict=True):
        assert (verdict["success"], verdict["code"]) in ((False, "invalid_request"), (False, "missing_field")), item
        assert (field is None) == (verdict["details"] == []), item
        assert field is None or field in [detail["field"] for detail in verdict["details"]]
        assert verdict["error"], item
        assert verdict["id"] is None
    assert api.get(f"/api/tasks/{last['id']}").json["data"]["result"] == 2


def test_a_refusal_says_what_the_error_alone_would_say(api):
    (task,) = _claim(api, 1)
    alone = api.post(
        f"/api/tasks/{task['id']}/complete", json={"worker_id": "w", "success": True, "lease_token": LATER}
    ).json
    (verdict,) = _report(api, {**_done(task), "lease_token": LATER})["results"]
    assert verdict == {
        "id": task["id"],
        "success": False,
        **{name: alone[name] for name in ("code", "error", "detail", "details")},
    }


def test_a_result_that_does_not_fit_names_every_fault(api):
    schema = {"type": "object", "required": ["a"], "properties": {"b": {"type": "integer"}}}
    body = {"name": "work", "version": "1", "param_schema": {"type": "object"}, "result_schema": schema}
    assert api.post("/api/task-types/register", json=body).status_code == 200
    good, bad = _claim(api, 2)
    verdicts = _report(api, _done(bad, result={"b": "x"}), _done(good, result={"a": 1}))["results"]
    assert (verdicts[0]["code"], verdicts[1]["status"]) == ("invalid_result", "completed")
    assert len(verdicts[0]["details"]) == 2


def test_each_kind_of_end_is_told(api):
    done, retried, dead = _claim(api, 3)
    failed = {"success": False, "error": "bad", "error_details": "very\nbad"}
    data = _report(api, _done(done), {**_done(retried), **failed}, {**_done(dead), **failed, "retryable": False})
    assert [(verdict["status"], verdict["will_retry"]) for verdict in data["results"]] == [
        ("completed", False),
        ("scheduled", True),
        ("failed", False),
    ]
    assert data["refused"] == 0


def test_the_same_task_twice_counts_once(api):
    (task,) = _claim(api, 1)
    data = _report(api, _done(task, result=1), _done(task, result=1), _done(task, result=2))
    assert [verdict.get("code") for verdict in data["results"]] == [None, None, "invalid_request"]
    assert api.get(f"/api/tasks/{task['id']}").json["data"]["result"] == 1


def test_a_hundred_reports_and_no_more(api):
    results = [{"id": number, "success": True} for number in range(10**9, 10**9 + 101)]
    answer = api.post("/api/tasks/batch/complete", json={"worker_id": "w", "results": results})
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
    assert answer.json["details"][0]["field"] == "results"
    data = _report(api, *results[:100])
    assert {verdict["code"] for verdict in data["results"]} == {"task_not_found"}


# --- exchange --------------------------------------------------------------------------------------------------------
def test_an_exchange_reports_and_receives(api):
    first, second = _claim(api, 2)
    body = {
        "worker_id": "w",
        "results": [_done(first), {**_done(second), "success": False}],
        "claim": {"types": ["work"], "max_tasks": 3},
    }
    data = api.post("/api/tasks/batch/exchange", json=body).json["data"]
    assert [verdict["status"] for verdict in data["results"]] == ["completed", "scheduled"]
    assert (data["count"], data["refused"]) == (3, 0)
    assert all(task["claimed_by"] == "w" and task["lease_token"] for task in data["tasks"])
    assert not {first["id"], second["id"]} & {task["id"] for task in data["tasks"]}


def test_an_exchange_that_is_sent_again_applies_its_results_once(api):
    body = {"worker_id": "w", "results": [], "claim": {"types": ["work"], "max_tasks": 2}}
    tasks = api.post("/api/tasks/batch/exchange", json=body).json["data"]["tasks"]
    body["results"] = [_done(tasks[0]), {**_done(tasks[1]), "success": False, "error": "x"}]
    first, again = (api.post("/api/tasks/batch/exchange", json=body).json["data"] for _ in range(2))
    assert first["results"] == again["results"]
    assert len(api.get(f"/api/tasks/{tasks[1]['id']}/attempts").json["data"]["attempts"]) == 1
    assert not {task["id"] for task in first["tasks"]} & {task["id"] for task in again["tasks"]}


def test_an_exchange_whose_claim_is_wrong_changes_nothing(api):
    (task,) = _claim(api, 1)
    for claim, status in (({"types": ["nothing"]}, 404), ({}, 400), ({"types": ["work"], "max_tasks": 101}, 400)):
        body = {"worker_id": "w", "results": [_done(task)], "claim": claim}
        answer = api.post("/api/tasks/batch/exchange", json=body)
        assert answer.status_code == status
        assert api.get(f"/api/tasks/{task['id']}").json["data"]["status"] == "claimed"


def test_what_an_exchange_reports_makes_room_for_what_it_claims(api):
    body = {"name": "work", "version": "1", "param_schema": {"type": "object"}, "max_concurrency": 3}
    assert api.post("/api/task-types/register", json=body).status_code == 200
    tasks = _claim(api, 10)
    assert len(tasks) == 3
    body = {"worker_id": "w", "results": [_done(task) for task in tasks[:2]], "claim": {"types": ["work"]}}
    assert api.post("/api/tasks/batch/exchange", json=body).json["data"]["count"] == 2


def test_an_exchange_without_results_or_claim_does_the_other(api):
    (task,) = _claim(api, 1)
    with counted_statements(api.database) as seen:
        for claim in ({}, {"claim": None}):
            body = {"worker_id": "w", "results": [_done(task)], **claim}
            data = api.post("/api/tasks/batch/exchange", json=body).json["data"]
            assert (data["count"], data["tasks"], data["refused"]) == (0, [], 0)
    assert not any("ix_tasks_claim" in statement for statement in seen)
    body = {"worker_id": "w", "claim": {"types": ["work"], "max_tasks": 100}}
    data = api.post("/api/tasks/batch/exchange", json=body).json["data"]
    assert (data["results"], data["count"]) == ([], 9)


def test_an_idle_worker_hears_of_a_command(api):
    api.post("/api/tasks/batch/claim", json={"worker_id": "w", "types": ["work"]})
    assert api.post("/api/workers/w/command", json={"command": "quiet"}).status_code == 200
    claim = {"types": ["work"], "max_tasks": 5}
    for path, body in (
        ("claim", {"worker_id": "w", **claim}),
        ("exchange", {"worker_id": "w", "claim": claim}),
        ("exchange", {"worker_id": "w", "claim": None}),
    ):
        data = api.post(f"/api/tasks/batch/{path}", json=body).get_json()["data"]
        assert (data["command"], data["tasks"]) == ("quiet", [])


def test_a_failure_reported_again_says_again_that_it_will_be_retried(api):
    api.patch("/api/task-types/work", json={"key_max_concurrency": 1, "retry_delay_seconds": 0})
    task = api.post("/api/tasks", json={"type": "work", "params": {"k": 1}, "concurrency_key": "k"}).json["data"]
    higher = {"type": "work", "params": {"k": 2}, "concurrency_key": "k", "priority": 5}
    tokens = {each["id"]: each["lease_token"] for each in _claim(api, 100)}
    assert api.post("/api/tasks", json=higher).json["data"]["status"] == "blocked"
    report = {"worker_id": "w", "lease_token": tokens[task["id"]], "success": False, "error": "x"}
    told = [api.post(f"/api/tasks/{task['id']}/complete", json=report).json["data"] for _ in range(2)]
    assert [each["will_retry"] for each in told] == [True, True]
    assert told[1]["status"] == "blocked"
    (verdict,) = api.post(
        "/api/tasks/batch/complete", json={"worker_id": "w", "results": [{**_without_worker(report), "id": task["id"]}]}
    ).json["data"]["results"]
    assert (verdict["status"], verdict["will_retry"]) == ("blocked", True)


def _without_worker(report):
    return {name: value for name, value in report.items() if name != "worker_id"}
