"""Pairs in which a type or the whole queue is changed, and others use it."""

from functools import partial

from sqlalchemy import select

from app.errors import InvalidParameters, LimitBelowRunning, QueueDraining
from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.register import change_type, register_type
from app.queue.signals import change_queue
from app.storage.models import task_types
from tests.race.pairs_of_claims import granted
from tests.race.pairs_of_creates import a_type, both_are_done, claim, create
from tests.race.scene import Pair, Scene, is_unknown, succeeded
from tests.support.factories import ANYTHING, Queue

_NEEDS_URL = {"type": "object", "required": ["url"]}


def _two_waiting(scene: Scene, **policies) -> None:
    a_type(scene, **policies)
    scene.made = [scene.queue.create(params={"n": number}, concurrency_key="k")["id"] for number in range(2)]
    scene.task = {"id": scene.made[0]}


def _one_claimed_of_two(scene: Scene, **policies) -> None:
    _two_waiting(scene, **policies)
    scene.queue.must_claim(scene.kind, worker_id="w0")


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


def _made_under_the_schema_of_its_time(scene: Scene) -> None:
    was_late = scene.done_before is not None and not any("INTO tasks" in done for done in scene.done_before)
    if scene.is_a_held and was_late and not is_unknown(scene.b):
        assert isinstance(scene.a, InvalidParameters) or is_unknown(scene.a), "created under a schema that was replaced"
    assert succeeded(scene.a) or isinstance(scene.a, InvalidParameters) or is_unknown(scene.a)
    assert len(scene.rows()) == succeeded(scene.a) or is_unknown(scene.a)


def _there_is_one_type(scene: Scene) -> None:
    both_are_done(scene)
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


TYPES = (
    Pair("create and register", a_type, create(), _register("work", _NEEDS_URL), _made_under_the_schema_of_its_time),
    Pair(
        "create in line and register",
        a_type,
        create(concurrency_key="k"),
        _register("work", _NEEDS_URL),
        _made_under_the_schema_of_its_time,
    ),
    Pair(
        "create and limit per key",
        a_type,
        create(concurrency_key="k"),
        _change(key_max_concurrency=1),
        both_are_done,
    ),
    Pair("create and turns", a_type, create(), _change(key_order="round_robin"), both_are_done),
    Pair("register and register", a_type, _register("New"), _register("new", _NEEDS_URL), _there_is_one_type, True),
    Pair("create and drain", a_type, create(), _switch(is_draining=True), _not_while_draining),
    Pair("switch and switch", a_type, _switch(is_paused=True), _switch(is_paused=True), both_are_done, True),
    Pair("pause and claim", _two_waiting, _change(is_paused=True), claim, _claimed_or_not),
    Pair("pause of all and claim", _two_waiting, _switch(is_paused=True), claim, _claimed_or_not),
    Pair("limit and claim", _two_waiting, _change(max_concurrency=1), claim, _claimed_or_not),
    Pair(
        "lower limit and claim",
        partial(_one_claimed_of_two, max_concurrency=2),
        _change(max_concurrency=1),
        claim,
        _lowered_or_refused,
    ),
    Pair(
        "lower limit per key and claim",
        partial(_one_claimed_of_two, key_max_concurrency=2),
        _change(key_max_concurrency=1),
        claim,
        _lowered_or_refused,
    ),
)
