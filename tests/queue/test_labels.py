"""Labels: what they are made of, and which tasks they find."""

import pytest

from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.labels import add_labels, labels_of, member_label, put_rarest_first, tag_label
from app.queue.tasks import list_tasks
from app.storage.models import task_labels, workflow_tasks, workflows


def test_labels_are_tags_and_short_plain_values():
    metadata = {
        "customer": "42",
        "number": 42,
        "share": 0.5,
        "large": 1e20,
        "tiny": 1e-7,
        "whole": 1.0,
        "is_test": True,
        "none": None,
        "list": [1],
        "object": {"a": 1},
        "empty": "",
        "long": "x" * 256,
        "just": "x" * 255,
        "digits": 10**300,
        "equals": "a=b",
        "fox": "🦊",
    }
    assert labels_of(["nightly", "a b", "nightly"], metadata) == [
        "tag:nightly",
        "tag:a b",
        "customer=42",
        "number=42",
        "share=0.5",
        "large=1e+20",
        "tiny=1e-07",
        "whole=1.0",
        "is_test=true",
        "empty=",
        "just=" + "x" * 255,
        "equals=a=b",
        "fox=🦊",
    ]
    assert labels_of([], {}) == []


def test_blanks_around_mean_nothing_on_any_database():
    assert labels_of(["a", "a ", " a"], {"n": "x  "}) == ["tag:a", "n=x"]
    assert (tag_label("a "), member_label("n", "x ")) == ("tag:a", "n=x")


@pytest.fixture
def labelled(queue):
    """Six tasks: even ones are tagged `even`, every third `third`; each has its number as metadata."""
    queue.register()
    created = [queue.create() for _ in range(6)]
    labels = {
        task["id"]: labels_of(
            [*(["even"] if number % 2 == 0 else []), *(["third"] if number % 3 == 0 else [])], {"number": number}
        )
        for number, task in enumerate(created)
    }
    queue.do(add_labels, labels)
    return [task["id"] for task in created]


def _found(queue, **filters):
    return [row["id"] for row in queue.do(list_tasks, limit=50, **filters)]


def test_tasks_are_found_by_all_the_labels_newest_first(queue, labelled):
    assert _found(queue, labels=["tag:even"]) == [labelled[4], labelled[2], labelled[0]]
    assert _found(queue, labels=["tag:even", "tag:third"]) == [labelled[0]]
    assert _found(queue, labels=["tag:even", "number=2"]) == [labelled[2]]
    assert _found(queue, labels=["tag:even", "tag:even"]) == [labelled[4], labelled[2], labelled[0]]
    assert _found(queue, labels=["tag:Even"]) == []
    assert _found(queue, labels=["tag:eve"]) == []
    assert _found(queue, labels=["tag:even", "tag:none"]) == []


def test_a_search_walks_along_the_label_that_fewest_tasks_have(queue, labelled):
    for labels in (["tag:even", "tag:third", "number=0"], ["number=0", "tag:even", "tag:third"]):
        assert queue.do(put_rarest_first, labels) == ["number=0", "tag:third", "tag:even"]
    assert queue.do(put_rarest_first, ["tag:even", "tag:none"]) == ["tag:none", "tag:even"]
    assert queue.do(put_rarest_first, ["tag:even"]) == ["tag:even"]


def test_labels_go_together_with_the_other_filters_and_with_pages(queue, labelled):
    kind = queue.register("other")
    other = queue.create("other")
    queue.do(add_labels, {other["id"]: ["tag:even"]})
    assert _found(queue, labels=["tag:even"], type_name="other") == [other["id"]]
    assert _found(queue, labels=["tag:even"], below_id=labelled[4]) == [labelled[2], labelled[0]]
    assert _found(queue, labels=["tag:even"], offset=1, below_id=labelled[4]) == [labelled[0]]
    claimed = queue.must_claim(kind, worker_id="w9")
    assert _found(queue, labels=["tag:even"], worker_id="w9") == [claimed["id"]]
    assert _found(queue, labels=["tag:even"], statuses=[]) == []


def test_tasks_of_a_workflow_are_found(queue, labelled):
    def add_workflow(tx):
        number = tx.insert(workflows.insert(), {"name": None, "created_at": tx.now})
        rows = [
            {"workflow_id": number, "task_id": task_id, "name": str(task_id)} for task_id in (labelled[1], labelled[2])
        ]
        tx.execute(workflow_tasks.insert(), rows)
        return number

    number = queue.do(add_workflow)
    assert _found(queue, workflow_id=number) == [labelled[2], labelled[1]]
    assert _found(queue, workflow_id=number, labels=["tag:even"]) == [labelled[2]]
    assert _found(queue, workflow_id=number + 1) == []


def test_nothing_is_written_for_tasks_without_labels(queue, labelled):
    before = queue.do(lambda tx: len(tx.all(task_labels.select())))
    queue.do(add_labels, {labelled[0]: [], labelled[1]: []})
    queue.do(add_labels, {})
    assert queue.do(lambda tx: len(tx.all(task_labels.select()))) == before


def test_labels_go_with_their_task(queue, clock):
    kind = queue.register(retention_seconds=0)
    task = queue.create()
    queue.do(add_labels, {task["id"]: ["tag:a"]})
    queue.must_claim(kind)
    queue.do(complete_task, task["id"], worker_id="w1", lease_token=None, result=None)
    clock.advance(seconds=3600)
    queue.do(do_what_is_due)
    assert queue.do(lambda tx: tx.all(task_labels.select())) == []


def test_the_api_filters_by_tags_metadata_and_workflow(client, queue, labelled):
    def found(**query):
        return [task["id"] for task in client.get("/api/tasks", query_string=query).json["data"]["tasks"]]

    assert found(tag="even, third") == [labelled[0]]
    assert found(tag="even", metadata="number=4") == [labelled[4]]
    assert found(metadata="number=4", status="completed") == []
    assert found(workflow_id="1000000") == []
    page = client.get("/api/tasks?tag=even&limit=2").json["data"]
    assert [task["id"] for task in page["tasks"]] == [labelled[4], labelled[2]]
    assert found(tag="even", cursor=page["next_cursor"]) == [labelled[0]]
    included = client.get("/api/tasks?tag=even&limit=1&include=params").json["data"]["tasks"]
    assert included[0]["params"] == {"n": 5}


def test_a_task_is_found_by_what_it_was_created_with(client):
    client.post("/api/task-types/register", json={"name": "work", "version": "1", "param_schema": {"type": "object"}})
    marks = {"tags": ["nightly", "two words"], "metadata": {"customer": "42", "share": 0.5, "is_test": True, "x": None}}
    task = client.post("/api/tasks", json={"type": "work", "params": {}, **marks}).json["data"]
    client.post("/api/tasks", json={"type": "work", "params": {"n": 1}})
    for query in (
        {"tag": "nightly"},
        {"tag": "two words,nightly"},
        {"metadata": "customer=42"},
        {"metadata": "share=0.5"},
        {"metadata": "is_test=true"},
    ):
        assert [found["id"] for found in client.get("/api/tasks", query_string=query).json["data"]["tasks"]] == [
            task["id"]
        ], query
    for query in ({"tag": "Nightly"}, {"metadata": "customer=4"}, {"metadata": "x=null"}, {"tag": "customer=42"}):
        assert client.get("/api/tasks", query_string=query).json["data"]["tasks"] == [], query
