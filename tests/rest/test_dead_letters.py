"""Dead letters and operations over HTTP."""

import pytest

from app.lifecycle import TaskStatus
from app.queue.operate import run_operations
from app.queue.walk import SLICE
from app.rest import operations
from app.web.current import EXTENSION
from tests.support.factories import Queue
from tests.support.rows import add_rows, label_rows


@pytest.fixture
def queue(database) -> Queue:
    """The verbs of the queue on the test's database."""
    return Queue(database)


@pytest.fixture
def dead(queue, database) -> list[int]:
    """Three dead letters of the type `work`."""
    return add_rows(database, queue.register(), TaskStatus.FAILED, 3)


def post(client, path, **body):
    return client.post(f"/api{path}", json=body)


def test_a_small_operation_is_done_when_it_is_answered(client, dead):
    answer = post(client, "/dead-letters/requeue", type="work", extra_attempts=2)
    assert answer.status_code == 200
    assert answer.json["message"] == "Operation completed successfully"
    data = answer.json["data"]
    assert (data["kind"], data["filter"], data["options"]) == (
        "requeue_dead_letters",
        {"type": "work"},
        {"extra_attempts": 2},
    )
    assert (data["status"], data["examined"], data["changed"], data["percent"]) == ("completed", 3, 3, 100)
    assert data["created_by"] == "admin"
    assert client.get(f"/api/tasks/{dead[0]}").json["data"]["max_attempts"] == 5


def test_a_large_one_goes_on_in_housekeeping_and_can_be_watched_and_cancelled(
    client, app, queue, database, monkeypatch
):
    app.extensions[EXTENSION].housekeeping._next_round = float("inf")
    monkeypatch.setattr(operations, "_AT_ONCE_SECONDS", 0)
    add_rows(database, queue.register(), TaskStatus.FAILED, 3 * SLICE)
    answer = post(client, "/dead-letters/requeue", all=True)
    assert (answer.status_code, answer.json["message"]) == (202, "Operation started successfully")
    operation_id = answer.json["data"]["id"]
    seen = []
    for _ in range(2):
        seen.append(client.get(f"/api/operations/{operation_id}").json["data"])
        queue.do(run_operations)
    assert [(one["status"], one["examined"], one["percent"]) for one in seen] == [
        ("running", 0, 0),
        ("running", SLICE, 33),
    ]
    for _ in range(2):
        cancelled = client.post(f"/api/operations/{operation_id}/cancel")
        assert (cancelled.status_code, cancelled.json["data"]["status"]) == (200, "cancelled")
    assert cancelled.json["data"]["changed"] == 2 * SLICE
    done = post(client, "/dead-letters/purge", all=True).json["data"]
    app.extensions[EXTENSION].housekeeping.run(budget_seconds=5)
    ended = client.post(f"/api/operations/{done['id']}/cancel")
    assert (ended.status_code, ended.json["code"]) == (409, "operation_ended")


@pytest.mark.parametrize("path", ["/dead-letters/requeue", "/dead-letters/purge", "/tasks/cancel"])
@pytest.mark.parametrize("body", [{}, {"all": False}])
def test_nothing_never_means_everything(client, dead, path, body):
    answer = post(client, path, **body)
    assert (answer.status_code, answer.json["code"]) == (400, "missing_field")
    assert [detail["field"] for detail in answer.json["details"]] == ["all"]
    assert client.get("/api/operations").json["data"]["count"] == 0


def test_extra_attempts_alone_do_not_say_which(client, dead):
    assert post(client, "/dead-letters/requeue", extra_attempts=2).json["code"] == "missing_field"


def test_the_filter_is_shown_as_it_was_asked_for(client, dead, database):
    label_rows(database, dead[:1], "tag:nightly")
    body = {
        "type": "w%",
        "failure_reason": "attempts_exhausted",
        "error_contains": "brok",
        "failed_from": "2025-12-31T12:00:00.000Z",
        "failed_before": "2026-01-01T13:00:00+01:00",
        "tag": "nightly",
        "ids": dead,
    }
    data = post(client, "/dead-letters/requeue", **body).json["data"]
    assert data["filter"] == {**body, "failed_before": "2026-01-01T12:00:00.000Z"}
    assert data["changed"] == 1


def test_tasks_are_cancelled_by_a_filter(client, queue):
    queue.register()
    queue.register("other")
    made = [queue.create()["id"], queue.create()["id"]]
    other = queue.create("other")["id"]
    data = post(client, "/tasks/cancel", type="work", statuses=["pending", "claimed"]).json["data"]
    assert (data["kind"], data["changed"]) == ("cancel_tasks", 2)
    listed = {task["id"]: task["status"] for task in client.get("/api/tasks").json["data"]["tasks"]}
    assert listed == {**dict.fromkeys(made, "cancelled"), other: "pending"}


def test_one_task_is_requeued_with_or_without_a_body(client, dead):
    first = client.post(f"/api/tasks/{dead[0]}/requeue")
    assert (first.status_code, first.json["message"]) == (200, "Task requeued successfully")
    assert (first.json["data"]["status"], first.json["data"]["attempts"]) == ("pending", 0)
    second = post(client, f"/tasks/{dead[1]}/requeue", extra_attempts=4)
    assert (second.json["data"]["attempts"], second.json["data"]["max_attempts"]) == (3, 7)
    again = client.post(f"/api/tasks/{dead[0]}/requeue", json={})
    assert (again.status_code, again.json["code"]) == (409, "task_not_requeuable")
    for wrong in (0, 1001, "2", 1.5, None):
        answer = post(client, f"/tasks/{dead[2]}/requeue", extra_attempts=wrong)
        assert (answer.status_code, answer.json["details"][0]["field"]) == (400, "extra_attempts")
    assert client.post(f"/api/tasks/{dead[2]}/requeue", data="[]").json["code"] == "invalid_json"


def test_one_dead_letter_is_purged(client, dead, clock):
    clock.advance(seconds=61)
    answer = client.delete(f"/api/dead-letters/{dead[0]}")
    assert (answer.status_code, answer.json["data"]) == (200, {"id": dead[0], "is_removed": True})
    assert client.get(f"/api/tasks/{dead[0]}").status_code == 404
    client.post(f"/api/tasks/{dead[1]}/requeue")
    refused = client.delete(f"/api/dead-letters/{dead[1]}")
    assert (refused.status_code, refused.json["code"]) == (409, "not_a_dead_letter")


def test_the_list_is_walked_by_its_cursor(client, dead):
    found, cursor = [], ""
    while cursor is not None:
        data = client.get("/api/dead-letters", query_string={"limit": 2, "cursor": cursor}).json["data"]
        found += [task["id"] for task in data["dead_letters"]]
        cursor = data["next_cursor"]
    assert found == dead[::-1]
    assert data["dead_letters"][0]["failure_reason"] == "attempts_exhausted"


def test_the_summary_counts_by_cause(client, dead):
    data = client.get("/api/dead-letters/summary").json["data"]
    assert (data["count"], data["is_complete"]) == (3, True)
    (cause,) = data["causes"]
    assert {name: cause[name] for name in ("type", "failure_reason", "error", "count", "example_task_id")} == {
        "type": "work",
        "failure_reason": "attempts_exhausted",
        "error": "it broke",
        "count": 3,
        "example_task_id": dead[2],
    }


def test_operations_are_listed_page_by_page(client, dead):
    ids = [post(client, "/dead-letters/requeue", ids=[task_id]).json["data"]["id"] for task_id in dead]
    first = client.get("/api/operations", query_string={"limit": 2}).json["data"]
    assert [one["id"] for one in first["operations"]] == ids[:0:-1]
    rest = client.get("/api/operations", query_string={"limit": 2, "cursor": first["next_cursor"]}).json["data"]
    assert ([one["id"] for one in rest["operations"]], rest["next_cursor"]) == (ids[:1], None)
    assert client.get("/api/operations", query_string={"status": "running"}).json["data"]["count"] == 0


def test_who_changed_what_is_written_down(client, dead):
    operation_id = post(client, "/dead-letters/requeue", ids=dead[:1], extra_attempts=2).json["data"]["id"]
    client.post(f"/api/tasks/{dead[1]}/requeue")
    client.delete(f"/api/dead-letters/{dead[2]}")
    entries = client.get("/api/audit", query_string={"limit": 3}).json["data"]["entries"]
    assert [(entry["actor"], entry["action"], entry["subject"], entry["details"]) for entry in entries] == [
        ("admin", "purge_dead_letter", f"tasks/{dead[2]}", {}),
        ("admin", "requeue_task", f"tasks/{dead[1]}", {}),
        (
            "admin",
            "requeue_dead_letters",
            f"operations/{operation_id}",
            {"filter": {"ids": dead[:1]}, "extra_attempts": 2},
        ),
    ]


def test_a_workflow_is_cancelled_whole_and_nothing_else(client, queue, app):
    queue.register()
    other = queue.create()["id"]
    steps = [
        {"name": name, "type": "work", "params": {"n": name}, "depends_on": list(before)}
        for name, before in (("a", ""), ("b", "a"), ("c", "ab"), ("d", "c"))
    ]
    workflow_id = post(client, "/workflows", name="steps", tasks=steps).json["data"]["id"]
    answer = client.post(f"/api/workflows/{workflow_id}/cancel")
    assert (answer.status_code, answer.json["data"]["changed"]) == (200, 4)
    app.extensions[EXTENSION].housekeeping.run(budget_seconds=5)
    view = client.get(f"/api/workflows/{workflow_id}").json["data"]
    assert (view["status"], view["counts"]) == ("cancelled", {"cancelled": 4})
    assert client.get(f"/api/tasks/{other}").json["data"]["status"] == "pending"
    assert client.post(f"/api/workflows/{workflow_id}/cancel").json["data"]["changed"] == 0
    missing = client.post(f"/api/workflows/{workflow_id + 1}/cancel")
    assert (missing.status_code, missing.json["code"]) == (404, "workflow_not_found")
