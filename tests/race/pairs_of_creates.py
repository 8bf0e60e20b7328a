"""Pairs in which somebody creates tasks, or changes what tasks there may be."""

import hashlib
from functools import partial

from sqlalchemy import select

from app.errors import InvalidParameters, LimitBelowRunning, QueueDraining, QueueError, TaskFinished
from app.lifecycle import FINISHED, TaskStatus
from app.policies import Policies
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.create_many import create_tasks
from app.queue.expire import expire_waiting
from app.queue.fail import fail_task
from app.queue.filters import TaskFilter
from app.queue.idempotency import RepeatableRequest, answer_once
from app.queue.new_task import NewTask
from app.queue.operate import run_operation
from app.queue.operations import CANCEL, NewOperation, start_operation
from app.queue.register import change_type, register_type
from app.queue.signals import change_queue
from app.queue.workflows import Node, create_workflow
from app.storage.models import task_types
from tests.race.pairs_of_claims import granted
from tests.race.scene import Pair, Scene, is_unknown, succeeded
from tests.support.factories import ANYTHING, Queue
from tests.support.soundness import housekeep

_NEEDS_URL = {"type": "object", "required": ["url"]}
_OLD, _NEW = {"is": "old"}, {"is": "new"}


def _a_type(scene: Scene, **policies) -> None:
    scene.kind = scene.queue.register(**policies)
    scene.kinds = [scene.kind]


def _a_task(scene: Scene, **policies) -> None:
    _a_type(scene, **policies)
    scene.task = scene.queue.create(params=_OLD, dedupe_key="same")


def _a_finished_task(scene: Scene) -> None:
    _a_task(scene)
    scene.queue.do(cancel_task, scene.task["id"])


def _an_overdue_task(scene: Scene) -> None:
    _a_type(scene, expires_after_seconds=60)
    scene.task = scene.queue.create(params=_OLD, dedupe_key="same")
    scene.clock.advance(seconds=60)


def _a_claimed_task(scene: Scene, **policies) -> None:
    _a_type(scene, **policies)
    scene.queue.create(params=_OLD)
    scene.task = scene.queue.must_claim(scene.kind)


def _two_claimed_one_waits(scene: Scene) -> None:
    _a_type(scene)
    parents = [scene.queue.create(params={"parent": number})["id"] for number in range(2)]
    scene.task = scene.queue.create(depends_on=parents)
    # Claimed only now, so that their tokens say that others wait.
    scene.parents = scene.queue.claim_batch(scene.kind)


def _two_waiting(scene: Scene, **policies) -> None:
    _a_type(scene, **policies)
    scene.made = [scene.queue.create(params={"n": number}, concurrency_key="k")["id"] for number in range(2)]
    scene.task = {"id": scene.made[0]}


def _one_claimed_of_two(scene: Scene, **policies) -> None:
    _two_waiting(scene, **policies)
    scene.queue.must_claim(scene.kind, worker_id="w0")


def _create(params=_NEW, **options):
    def step(scene: Scene, queue: Queue):
        return queue.create(params=params, **options)

    return step


def _create_dependent(on_failure: str = "fail"):
    def step(scene: Scene, queue: Queue):
        return queue.create(params=_NEW, depends_on=[scene.task["id"]], on_dependency_failure=on_failure)

    return step


def _create_many(keys: str):
    def step(scene: Scene, queue: Queue):
        news = [NewTask(type_name="work", params={}, dedupe_key=key, concurrency_key=key) for key in keys]
        return [created.task for created in queue.do(create_tasks, news)]

    return step


def _create_repeatably(scene: Scene, queue: Queue):
    request = RepeatableRequest(0, "key", hashlib.sha256(b"request").hexdigest())

    def work(tx):
        (created,) = create_tasks(tx, [NewTask(type_name="work", params={}, is_unique=True)])
        return 201, {"id": created.task["id"]}

    return answer_once(queue.database, request, work)


def _create_workflow(scene: Scene, queue: Queue):
    def node(name: str, *depends_on: str) -> Node:
        return Node(name, NewTask(type_name="work", params={"name": name}), depends_on)

    nodes = [node("a"), node("b", "a"), node("c", "a", "b")]
    return queue.database.write(lambda tx: create_workflow(tx, "flow", nodes))


def _replace(scene: Scene, queue: Queue):
    return queue.database.write(
        lambda tx: create_tasks(
            tx, [NewTask(type_name="work", params=_NEW, dedupe_key="same", on_duplicate="replace")]
        )[0],
        atomic=False,
    )


def _claim(scene: Scene, queue: Queue):
    return queue.claim(scene.kind, worker_id="w2")


def _cancel(scene: Scene, queue: Queue):
    return queue.do(cancel_task, scene.task["id"])


def _expire(scene: Scene, queue: Queue):
    return queue.do(expire_waiting, [scene.task["id"]])


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


def _register(name: str, schema=ANYTHING, **policies):
    def step(scene: Scene, queue: Queue):
        return queue.database.write(
            lambda tx: register_type(
                tx, name=name, version="2", param_schema=schema, policies=policies, defaults=Policies()
            )
        )

    return step


def _change(**changes):
    def step(scene: Scene, queue: Queue):
        return queue.database.write(lambda tx: change_type(tx, "work", changes))

    return step


def _switch(**changes):
    def step(scene: Scene, queue: Queue):
        return queue.database.write(lambda tx: change_queue(tx, changes))

    return step


def _cancel_all(scene: Scene, queue: Queue):
    def start(tx):
        return start_operation(tx, NewOperation(kind=CANCEL, filter=TaskFilter(type="work")))

    operation = queue.database.write(start)
    while queue.do(run_operation, operation["id"]):
        pass


def _both_are_done(scene: Scene) -> None:
    for outcome in (scene.a, scene.b):
        assert succeeded(outcome) or is_unknown(outcome), outcome


def _there_is_one(scene: Scene) -> None:
    _both_are_done(scene)
    rows = [row for row in scene.rows() if row["status"] not in FINISHED]
    assert len(rows) == 1 or (scene.has_died and not rows)
    for outcome in (scene.a, scene.b):
        if not is_unknown(outcome):
            assert outcome["id"] == rows[0]["id"]


def _there_are_three(scene: Scene) -> None:
    _both_are_done(scene)
    told = [outcome for outcome in (scene.a, scene.b) if not is_unknown(outcome)]
    hashes = [row["dedupe_key"] for row in scene.rows()]
    assert len(set(hashes)) == len(hashes)
    assert len(hashes) == 3 or scene.has_died
    ids = {(task["dedupe_key"], task["id"]) for tasks in told for task in tasks}
    assert len(ids) <= 3, "one key, two tasks"


def _answered_alike(scene: Scene) -> None:
    _both_are_done(scene)
    (row,) = scene.rows()
    assert {str(answer) for answer in (scene.a, scene.b) if not is_unknown(answer)} == {str((201, {"id": row["id"]}))}


def _claimed_as_it_is(scene: Scene) -> None:
    row = scene.row()
    is_replaced = succeeded(scene.a) and scene.a.is_replaced
    if is_replaced:
        assert row["params"] == _NEW
    elif succeeded(scene.a):
        assert row["params"] == _OLD
        assert row["status"] in (TaskStatus.CLAIMED, *FINISHED)
    for task in granted(scene.b):
        assert (row["status"], row["lease_token"]) == (TaskStatus.CLAIMED, task["lease_token"])
        assert task["params"] == row["params"], "the worker does what nobody asks for any more"


def _replaced_or_ended(scene: Scene) -> None:
    assert succeeded(scene.a) or is_unknown(scene.a), scene.a
    live = [row for row in scene.rows() if row["status"] not in FINISHED]
    if succeeded(scene.a) and scene.a.is_replaced and scene.status() in FINISHED:
        assert scene.row()["params"] == _NEW, "ended as what it was before"
    assert len(live) <= 1


def _made_under_the_schema_of_its_time(scene: Scene) -> None:
    was_late = scene.done_before is not None and not any("INTO tasks" in done for done in scene.done_before)
    if scene.is_a_held and was_late and not is_unknown(scene.b):
        assert isinstance(scene.a, InvalidParameters) or is_unknown(scene.a), "created under a schema that was replaced"
    assert succeeded(scene.a) or isinstance(scene.a, InvalidParameters) or is_unknown(scene.a)
    assert len(scene.rows()) == succeeded(scene.a) or is_unknown(scene.a)


def _there_is_one_type(scene: Scene) -> None:
    _both_are_done(scene)
    (row,) = scene.queue.do(lambda tx: tx.all(select(task_types).where(task_types.c.name_key == "new")))
    for outcome in (scene.a, scene.b):
        assert is_unknown(outcome) or outcome[0]["id"] == row["id"]
    if not scene.has_died:
        assert scene.a[1] != scene.b[1] or row["revision"] > 1


def _not_while_draining(scene: Scene) -> None:
    assert succeeded(scene.a) or isinstance(scene.a, QueueDraining) or is_unknown(scene.a)
    assert len(scene.rows()) == succeeded(scene.a) or is_unknown(scene.a)


def _claimed_or_not(scene: Scene) -> None:
    assert len(granted(scene.b)) == scene.number_of(TaskStatus.CLAIMED) or is_unknown(scene.b)
    # What was claimed before the limit was known stays claimed.
    scene.limits = {"max_concurrency": 2, "key_max_concurrency": 2}


def _lowered_or_refused(scene: Scene) -> None:
    assert succeeded(scene.a) or isinstance(scene.a, LimitBelowRunning) or is_unknown(scene.a)
    scene.limits = {"max_concurrency": 2, "key_max_concurrency": 2}


def _all_ended_or_none(scene: Scene) -> None:
    assert len(scene.rows()) in ((3,) if succeeded(scene.a) else (0, 3))
    assert succeeded(scene.a) or is_unknown(scene.a)


def _dependent_knows(scene: Scene) -> None:
    assert succeeded(scene.a) or isinstance(scene.a, QueueError) or is_unknown(scene.a)
    assert succeeded(scene.b) or is_unknown(scene.b) or isinstance(scene.b, TaskFinished)


def _waits_no_more(scene: Scene) -> None:
    _both_are_done(scene)
    if not scene.has_died:
        # Where an answer was lost, the second run finds the task ended, and leaves its followers to housekeeping.
        scene.come_back()
        housekeep(scene.queue)
        assert scene.status() == TaskStatus.PENDING


CREATES = (
    Pair(
        "create and create of one key", _a_type, _create(dedupe_key="x"), _create(dedupe_key="x"), _there_is_one, True
    ),
    Pair(
        "create and create beside a finished one",
        _a_finished_task,
        _create(dedupe_key="same"),
        _create(dedupe_key="same"),
        _there_is_one,
        True,
    ),
    Pair(
        "create and create of one concurrency key",
        partial(_a_type, key_max_concurrency=1),
        _create({"n": 1}, concurrency_key="k"),
        _create({"n": 2}, concurrency_key="k"),
        _both_are_done,
        True,
    ),
    Pair(
        "batches of the same keys crosswise", _a_type, _create_many("xyz"), _create_many("zyx"), _there_are_three, True
    ),
    Pair("one Idempotency-Key twice", _a_type, _create_repeatably, _create_repeatably, _answered_alike, True),
    Pair("replace and claim", _a_task, _replace, _claim, _claimed_as_it_is),
    Pair("replace and claim within a limit", partial(_a_task, max_concurrency=1), _replace, _claim, _claimed_as_it_is),
    Pair("replace and cancel", _a_task, _replace, _cancel, _replaced_or_ended),
    Pair("replace and expire", _an_overdue_task, _replace, _expire, _replaced_or_ended),
    Pair("replace and replace", _a_task, _replace, _replace, _both_are_done, True),
    Pair("create and register", _a_type, _create(), _register("work", _NEEDS_URL), _made_under_the_schema_of_its_time),
    Pair(
        "create in line and register",
        _a_type,
        _create(concurrency_key="k"),
        _register("work", _NEEDS_URL),
        _made_under_the_schema_of_its_time,
    ),
    Pair(
        "create and limit per key",
        _a_type,
        _create(concurrency_key="k"),
        _change(key_max_concurrency=1),
        _both_are_done,
    ),
    Pair("create and turns", _a_type, _create(), _change(key_order="round_robin"), _both_are_done),
    Pair("register and register", _a_type, _register("New"), _register("new", _NEEDS_URL), _there_is_one_type, True),
    Pair("create and drain", _a_type, _create(), _switch(is_draining=True), _not_while_draining),
    Pair("switch and switch", _a_type, _switch(is_paused=True), _switch(is_paused=True), _both_are_done, True),
    Pair("pause and claim", _two_waiting, _change(is_paused=True), _claim, _claimed_or_not),
    Pair("pause of all and claim", _two_waiting, _switch(is_paused=True), _claim, _claimed_or_not),
    Pair("limit and claim", _two_waiting, _change(max_concurrency=1), _claim, _claimed_or_not),
    Pair(
        "lower limit and claim",
        partial(_one_claimed_of_two, max_concurrency=2),
        _change(max_concurrency=1),
        _claim,
        _lowered_or_refused,
    ),
    Pair(
        "lower limit per key and claim",
        partial(_one_claimed_of_two, key_max_concurrency=2),
        _change(key_max_concurrency=1),
        _claim,
        _lowered_or_refused,
    ),
    Pair("dependent and complete", _a_claimed_task, _create_dependent(), _complete, _both_are_done),
    Pair("dependent and fail", _a_claimed_task, _create_dependent(), _fail, _both_are_done),
    Pair("dependent and cancel", _a_claimed_task, _create_dependent("run_anyway"), _cancel, _both_are_done),
    Pair(
        "two parents complete", _two_claimed_one_waits, _complete_parent(0), _complete_parent(1), _waits_no_more, True
    ),
    Pair(
        "a parent fails and another completes",
        _two_claimed_one_waits,
        _fail_parent,
        _complete_parent(1),
        _both_are_done,
    ),
    Pair(
        "a parent fails and its dependent is cancelled", _two_claimed_one_waits, _fail_parent, _cancel, _dependent_knows
    ),
    Pair("workflow and cancel of all", _a_type, _create_workflow, _cancel_all, _all_ended_or_none),
)
