"""Pairs of tasks that wait for each other."""

from app.errors import QueueError, TaskFinished
from app.lifecycle import TaskStatus
from app.queue.complete import complete_task
from app.queue.fail import fail_task
from app.queue.filters import TaskFilter
from app.queue.new_task import NewTask
from app.queue.operate import run_operation
from app.queue.operations import CANCEL, NewOperation, start_operation
from app.queue.workflows import Node, create_workflow
from tests.race.pairs_of_creates import NEW, OLD, a_type, both_are_done, cancel
from tests.race.scene import Pair, Scene, is_unknown, succeeded
from tests.support.factories import Queue
from tests.support.soundness import housekeep


def _a_claimed_task(scene: Scene, **policies) -> None:
    a_type(scene, **policies)
    scene.queue.create(params=OLD)
    scene.task = scene.queue.must_claim(scene.kind)


def _two_claimed_one_waits(scene: Scene) -> None:
    a_type(scene)
    parents = [scene.queue.create(params={"parent": number})["id"] for number in range(2)]
    scene.task = scene.queue.create(depends_on=parents)
    # Claimed only now, so that their tokens say that others wait.
    scene.parents = scene.queue.claim_batch(scene.kind)


def _create_dependent(on_failure: str = "fail"):
    def step(scene: Scene, queue: Queue):
        return queue.create(params=NEW, depends_on=[scene.task["id"]], on_dependency_failure=on_failure)

    return step


def _create_workflow(scene: Scene, queue: Queue):
    def node(name: str, *depends_on: str) -> Node:
        return Node(name, NewTask(type_name="work", params={"name": name}), depends_on)

    nodes = [node("a"), node("b", "a"), node("c", "a", "b")]
    return queue.database.write(lambda tx: create_workflow(tx, "flow", nodes))


def _end(verb, **said):
    def step(scene: Scene, queue: Queue):
        return queue.do(verb, scene.task["id"], worker_id="w1", lease_token=scene.task["lease_token"], **said)

    return step


_complete = _end(complete_task, result=None)
_fail = _end(fail_task, error="it broke", retryable=False, retry_after_seconds=None)


def _complete_parent(number: int):
    def step(scene: Scene, queue: Queue):
        parent = scene.parents[number]
        token = parent["lease_token"]
        return queue.do(complete_task, parent["id"], worker_id="w1", lease_token=token, result=None)

    return step


def _fail_parent(scene: Scene, queue: Queue):
    parent = scene.parents[0]
    said = {"error": "it broke", "retryable": False, "retry_after_seconds": None}
    return queue.do(fail_task, parent["id"], worker_id="w1", lease_token=parent["lease_token"], **said)


def _cancel_all(scene: Scene, queue: Queue):
    def start(tx):
        return start_operation(tx, NewOperation(kind=CANCEL, filter=TaskFilter(type="work")))

    operation = queue.database.write(start)
    while queue.do(run_operation, operation["id"]):
        pass


def _all_ended_or_none(scene: Scene) -> None:
    assert len(scene.rows()) in ((3,) if succeeded(scene.a) else (0, 3))
    assert succeeded(scene.a) or is_unknown(scene.a)


def _dependent_knows(scene: Scene) -> None:
    assert succeeded(scene.a) or isinstance(scene.a, QueueError) or is_unknown(scene.a)
    assert succeeded(scene.b) or is_unknown(scene.b) or isinstance(scene.b, TaskFinished)


def _waits_no_more(scene: Scene) -> None:
    both_are_done(scene)
    if not scene.has_died:
        # Where an answer was lost, the second run finds the task ended, and leaves its followers to housekeeping.
        scene.come_back()
        housekeep(scene.queue)
        assert scene.status() == TaskStatus.PENDING


FOLLOWERS = (
    Pair("dependent and complete", _a_claimed_task, _create_dependent(), _complete, both_are_done),
    Pair("dependent and fail", _a_claimed_task, _create_dependent(), _fail, both_are_done),
    Pair("dependent and cancel", _a_claimed_task, _create_dependent("run_anyway"), cancel, both_are_done),
    Pair(
        "two parents complete", _two_claimed_one_waits, _complete_parent(0), _complete_parent(1), _waits_no_more, True
    ),
    Pair(
        "a parent fails and another completes",
        _two_claimed_one_waits,
        _fail_parent,
        _complete_parent(1),
        both_are_done,
    ),
    Pair(
        "a parent fails and its dependent is cancelled", _two_claimed_one_waits, _fail_parent, cancel, _dependent_knows
    ),
    Pair("workflow and cancel of all", a_type, _create_workflow, _cancel_all, _all_ended_or_none),
)
