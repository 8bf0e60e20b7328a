"""Batches and workflows over HTTP: a result for each item, all or none, once."""

import pytest


@pytest.fixture
def api(client):
    """A client with a registered type."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    answer = client.post("/api/task-types/register", json={"name": "work", "version": "1", "param_schema": schema})
    assert answer.status_code == 201
    return client


def item(number, **more):
    return {"type": "work", "params": {"n": number}, **more}


def count(client):
    return client.get("/api/tasks?limit=1000").get_json()["data"]["count"]


def test_a_batch_has_a_result_for_each_item_and_one_bad_item_hurts_no_other(api):
    items = [
        item(1),
        item(1),
        item("x"),
        {"type": "none", "params": {}},
        {"typ": "work"},
        5,
        None,
        item(2, priority="high"),
        item(3, tags=["a"], metadata={"customer": 7}, concurrency_key="k"),
    ]
    answer = api.post("/api/tasks/batch", json={"tasks": items})
    assert answer.status_code == 200
    data = answer.get_json()["data"]
    assert (data["created"], data["deduplicated"], data["refused"]) == (2, 1, 6)
    assert [result["index"] for result in data["results"]] == list(range(9))
    codes = [result.get("code", result["status"]) for result in data["results"]]
    assert codes == [
        *(201, 200, "invalid_parameters", "task_type_not_found", "missing_field"),
        *("invalid_request", "invalid_request", "invalid_request", 201),
    ]
    assert data["results"][7]["details"] == [{"field": "priority", "problem": "Not a valid integer."}]
    created = data["results"][8]["task"]
    assert (created["tags"], created["metadata"], created["concurrency_key"]) == (["a"], {"customer": 7}, "k")
    assert api.get(f"/api/tasks/{created['id']}").get_json()["data"] == {
        name: value for name, value in created.items() if name not in ("deduplicated", "replaced")
    }
    assert count(api) == 2


def test_an_atomic_batch_is_all_or_none(api):
    bad = {"tasks": [item(1), item("x"), {"type": "work"}], "atomic": True}
    answer = api.post("/api/tasks/batch", json=bad)
    body = answer.get_json()
    assert (answer.status_code, body["code"]) == (400, "batch_refused")
    assert [detail["field"] for detail in body["details"]] == ["tasks.1.params.n", "tasks.2.params"]
    assert count(api) == 0
    good = {"tasks": [item(1), item(2)], "atomic": True}
    assert api.post("/api/tasks/batch", json=good).get_json()["data"]["created"] == 2


@pytest.mark.parametrize("atomic", [True, False])
def test_a_batch_with_an_idempotency_key_is_done_once(api, atomic):
    body = {"tasks": [item(1), item(2)], "atomic": atomic}
    headers = {"Idempotency-Key": "batch-1"}
    first = api.post("/api/tasks/batch", json=body, headers=headers).get_json()["data"]
    again = api.post("/api/tasks/batch", json=body, headers=headers).get_json()["data"]
    assert first == again
    assert first["created"] == 2
    other = api.post("/api/tasks/batch", json={"tasks": [item(3)]}, headers=headers)
    assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")


def test_a_type_changed_elsewhere_does_not_stop_a_batch_with_an_idempotency_key(api, open_database):
    from tests.support.factories import Queue

    assert api.post("/api/tasks", json=item(1)).status_code == 201
    Queue(open_database()).register("work", param_schema={"type": "object", "properties": {"n": {"type": "string"}}})
    answer = api.post("/api/tasks/batch", json={"tasks": [item(2), item("a")]}, headers={"Idempotency-Key": "k"})
    assert [result["status"] for result in answer.get_json()["data"]["results"]] == [400, 201]


def test_a_workflow_from_its_creation_to_its_end(api):
    nodes = [
        {"name": "download", **item(1)},
        {"name": "resize", **item(2), "depends_on": ["download"]},
        {"name": "notify", **item(3), "depends_on": ["resize"], "on_dependency_failure": "run_anyway"},
    ]
    answer = api.post("/api/workflows", json={"name": "thumbnails", "tasks": nodes})
    assert answer.status_code == 201
    workflow = answer.get_json()["data"]
    path = f"/api/workflows/{workflow['id']}"
    view = api.get(path).get_json()["data"]
    assert (view["status"], view["counts"]) == ("running", {"blocked": 2, "pending": 1})
    assert [(task["name"], task["status"], task["depends_on"]) for task in view["tasks"]] == [
        ("download", "pending", []),
        ("resize", "blocked", ["download"]),
        ("notify", "blocked", ["resize"]),
    ]
    claimed = api.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]}).get_json()["data"]
    assert (claimed["id"], claimed["workflow_id"], claimed["dependencies"]) == (
        workflow["task_ids"]["download"],
        workflow["id"],
        [],
    )
    holder = {"worker_id": "w", "lease_token": claimed["lease_token"]}
    api.post(f"/api/tasks/{claimed['id']}/complete", json={**holder, "success": True, "result": [1, 2]})
    claimed = api.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]}).get_json()["data"]
    assert claimed["depends_on"] == [workflow["task_ids"]["download"]]
    assert claimed["dependencies"] == [
        {
            "id": workflow["task_ids"]["download"],
            "name": "download",
            "status": "completed",
            "result": [1, 2],
            "is_omitted": False,
        }
    ]
    holder = {"worker_id": "w", "lease_token": claimed["lease_token"]}
    report = {**holder, "success": False, "retryable": False, "error": "no memory"}
    api.post(f"/api/tasks/{claimed['id']}/complete", json=report)
    claimed = api.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]}).get_json()["data"]
    assert [(each["name"], each["status"]) for each in claimed["dependencies"]] == [("resize", "failed")]
    holder = {"worker_id": "w", "lease_token": claimed["lease_token"]}
    api.post(f"/api/tasks/{claimed['id']}/complete", json={**holder, "success": True})
    view = api.get(path).get_json()["data"]
    assert (view["status"], view["counts"]) == ("failed", {"completed": 2, "failed": 1})


def test_a_workflow_is_created_once_and_shown_in_pages(api):
    body = {"tasks": [{"name": str(number), **item(number)} for number in range(5)]}
    headers = {"Idempotency-Key": "workflow-1"}
    first = api.post("/api/workflows", json=body, headers=headers).get_json()["data"]
    assert api.post("/api/workflows", json=body, headers=headers).get_json()["data"] == first
    second = api.post("/api/workflows", json={"tasks": [{"name": "a", **item(1)}]}).get_json()["data"]
    names = []
    after_id = 0
    while after_id is not None:
        view = api.get(f"/api/workflows/{first['id']}?limit=2&after_id={after_id}").get_json()["data"]
        names += [task["name"] for task in view["tasks"]]
        after_id = view["next_after_id"]
    assert names == ["0", "1", "2", "3", "4"]
    page = api.get("/api/workflows?limit=1").get_json()["data"]
    assert [each["id"] for each in page["workflows"]] == [second["id"]]
    rest = api.get(f"/api/workflows?cursor={page['next_cursor']}").get_json()["data"]
    assert [each["id"] for each in rest["workflows"]] == [first["id"]]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("tasks", "code", "problem"),
    [
        ([{"name": "a", **item(1), "depends_on": ["a"]}], "cyclic_workflow", "a -> a"),
        ([{"name": "a", **item(1), "depends_on": ["b"]}], "invalid_workflow", "no task named `b`"),
        ([{"name": "a", **item("x")}], "batch_refused", "Task `a`"),
        ([{"name": "a", **item(1), "dedupe_key": "x"}], "invalid_request", "Unknown field"),
        ([{"name": "a", "type": "none", "params": {}}], "batch_refused", "Task `a`"),
    ],
)
def test_a_workflow_that_cannot_be_is_refused_whole(api, tasks, code, problem):
    answer = api.post("/api/workflows", json={"tasks": [{"name": "good", **item(7)}, *tasks]})
    body = answer.get_json()
    assert (answer.status_code, body["code"]) == (400, code)
    assert any(problem in detail["problem"] for detail in body["details"])
    assert count(api) == 0
    assert api.get("/api/workflows").get_json()["data"]["count"] == 0


def test_limits_below_what_is_running_are_refused_by_name(api):
    for number in range(3):
        api.post("/api/tasks", json=item(number, concurrency_key="k"))
        api.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]})
    change = {"max_concurrency": 2, "key_max_concurrency": 1}
    answer = api.patch("/api/task-types/work", json=change)
    body = answer.get_json()
    assert (answer.status_code, body["code"]) == (409, "limit_below_running")
    assert body["details"] == [
        {"field": "max_concurrency", "problem": "3 tasks are claimed now."},
        {"field": "key_max_concurrency", "problem": "3 tasks of one concurrency key are claimed now."},
    ]
    assert api.patch("/api/task-types/work", json={"max_concurrency": 3, "key_max_concurrency": 3}).status_code == 200
