"""Workflows: a graph of tasks in one call, whatever its shape."""

import pytest

from app.errors import BatchRefused, CyclicWorkflow, InvalidWorkflow, WorkflowNotFound
from app.lifecycle import TaskStatus
from app.queue.complete import complete_task
from app.queue.dependencies import attach_results
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.new_task import NewTask
from app.queue.tasks import list_tasks, read_task
from app.queue.workflows import (
    Node,
    create_workflow,
    list_members,
    read_workflow,
    state_of,
)
from app.storage.models import workflow_tasks


def node(name, *depends_on, **more):
    return Node(name, NewTask(type_name="work", params={}, **more), depends_on)


def create(queue, *nodes):
    return queue.database.write(lambda tx: create_workflow(tx, "test", nodes), atomic=False)


def state(queue, workflow):
    return state_of(queue.do(read_workflow, workflow["id"])[1])


def complete(queue, task, result=None):
    queue.do(complete_task, task["id"], worker_id="w1", lease_token=task["lease_token"], result=result)


def do_all_that_is_due(queue):
    while queue.do(do_what_is_due):
        pass


def test_a_diamond_is_worked_off_in_its_order_with_the_results_handed_on(queue):
    kind = queue.register()
    workflow, ids = create(
        queue, node("end", "left", "right"), node("left", "start"), node("right", "start"), node("start")
    )
    names = {task_id: name for name, task_id in ids.items()}
    order = []
    while (task := queue.claim(kind)) is not None:
        order.append(names[task["id"]])
        (with_results,) = queue.do(attach_results, [task])
        handed_on = {each["name"]: each["result"] for each in with_results["dependencies"]}
        assert handed_on == {"start": {}, "left": {"start": "start"}, "right": {"start": "start"}}.get(
            order[-1], handed_on
        )
        assert task["extras"]["workflow_id"] == workflow["id"]
        complete(queue, task, result=order[-1])
    assert order[0] == "start"
    assert order[-1] == "end"
    assert sorted(order) == ["end", "left", "right", "start"]
    assert handed_on == {"left": "left", "right": "right"}
    assert state(queue, workflow) == "completed"


def test_equal_tasks_of_a_workflow_are_tasks_of_their_own(queue):
    queue.register(dedupe="forever")
    queue.create("work", {})
    _, ids = create(queue, node("a"), node("b"))
    assert len(set(ids.values())) == 2
    assert len(queue.do(list_tasks, limit=10)) == 3


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ([node("a", "a")], "a -> a"),
        ([node("a", "b"), node("b", "c"), node("c", "a"), node("d", "a")], "a -> b -> c -> a"),
        ([node("x"), node("a", "x", "b"), node("b", "a")], "a -> b -> a"),
        ([node("a", "b", "x"), node("b", "a", "x"), node("x")], "a -> b -> a"),
    ],
)
def test_a_cycle_is_refused_and_named(queue, nodes, named):
    queue.register()
    with pytest.raises(CyclicWorkflow, match=named):
        create(queue, *nodes)
    assert queue.do(list_tasks, limit=10) == []


def test_names_must_be_known_and_used_once(queue):
    queue.register()
    with pytest.raises(InvalidWorkflow) as refused:
        create(queue, node("a"), node("a"), node("b", "nobody"))
    assert [detail["field"] for detail in refused.value.details] == ["tasks.1.name", "tasks.2.depends_on"]


def test_a_fault_of_one_task_refuses_the_whole_and_names_it(queue):
    queue.register(param_schema={"type": "object", "required": ["n"]})
    with pytest.raises(BatchRefused) as refused:
        create(queue, Node("good", NewTask(type_name="work", params={"n": 1}), ()), node("bad", "good"))
    assert "Task `bad`" in refused.value.details[0]["problem"]
    assert queue.do(list_tasks, limit=10) == []
    with pytest.raises(WorkflowNotFound):
        queue.do(read_workflow, 1)


def test_a_chain_of_a_thousand(queue):
    queue.register()
    nodes = [node("0"), *(node(str(number), str(number - 1)) for number in range(1, 1000))]
    workflow, ids = create(queue, *nodes)
    first = queue.do(read_task, ids["0"])
    kind = first["type_id"]
    for number in range(5):
        task = queue.must_claim(kind)
        assert task["id"] == ids[str(number)]
        complete(queue, task)
    report = {"error": "x", "retryable": False, "retry_after_seconds": None}
    task = queue.must_claim(kind)
    queue.do(fail_task, task["id"], worker_id="w1", lease_token=task["lease_token"], **report)
    do_all_that_is_due(queue)
    _, counts = queue.do(read_workflow, workflow["id"])
    assert counts == {TaskStatus.COMPLETED: 5, TaskStatus.FAILED: 995}
    assert state(queue, workflow) == "failed"


def test_a_fan_out_of_ten_thousand_and_back(queue):
    kind = queue.register()
    middle = [str(number) for number in range(9998)]
    workflow, ids = create(queue, node("start"), *(node(name, "start") for name in middle), node("end", *middle))
    complete(queue, queue.must_claim(kind))
    do_all_that_is_due(queue)
    _, counts = queue.do(read_workflow, workflow["id"])
    assert counts == {TaskStatus.COMPLETED: 1, TaskStatus.PENDING: 9998, TaskStatus.BLOCKED: 1}
    task = queue.must_claim(kind)
    complete(queue, task)
    assert queue.do(read_task, ids["end"])["status"] == TaskStatus.BLOCKED
    assert not queue.do(read_task, ids["start"])["has_followers"]


def test_its_tasks_are_shown_in_pages_with_their_names(queue):
    queue.register()
    workflow, ids = create(queue, node("a"), node("b", "a"), node("c", "a", "b"))
    first, after_id = queue.do(list_members, workflow["id"], after_id=0, limit=2)
    rest, end = queue.do(list_members, workflow["id"], after_id=after_id, limit=2)
    assert (after_id, end) == (first[-1]["id"], None)
    assert [(member["name"], member["id"], member["depends_on"]) for member in first + rest] == [
        ("a", ids["a"], []),
        ("b", ids["b"], ["a"]),
        ("c", ids["c"], ["a", "b"]),
    ]


def test_a_workflow_goes_with_the_last_of_its_tasks(queue, clock):
    kind = queue.register(retention_seconds=10)
    workflow, _ = create(queue, node("a"), node("b", "a"))
    while (task := queue.claim(kind)) is not None:
        complete(queue, task)
    for _ in range(2):
        clock.advance(seconds=100)
        do_all_that_is_due(queue)
    assert queue.do(lambda tx: tx.all(workflow_tasks.select())) == []
    with pytest.raises(WorkflowNotFound):
        queue.do(read_workflow, workflow["id"])
