"""Pairs in which somebody creates tasks, or replaces them."""

import hashlib
from functools import partial

from app.lifecycle import FINISHED, TaskStatus
from app.queue.cancel import cancel_task
from app.queue.create_many import create_tasks
from app.queue.expire import expire_waiting
from app.queue.idempotency import RepeatableRequest, answer_once
from app.queue.new_task import NewTask
from tests.race.pairs_of_claims import granted
from tests.race.scene import Pair, Scene, is_unknown, succeeded
from tests.support.factories import Queue

OLD, NEW = {"is": "old"}, {"is": "new"}


def a_type(scene: Scene, **policies) -> None:
    scene.kind = scene.queue.register(**policies)
    scene.kinds = [scene.kind]


def _a_task(scene: Scene, **policies) -> None:
    a_type(scene, **policies)
    scene.task = scene.queue.create(params=OLD, dedupe_key="same")


def _a_finished_task(scene: Scene) -> None:
    _a_task(scene)
    scene.queue.do(cancel_task, scene.task["id"])


def _an_overdue_task(scene: Scene) -> None:
    a_type(scene, expires_after_seconds=60)
    scene.task = scene.queue.create(params=OLD, dedupe_key="same")
    scene.clock.advance(seconds=60)


def create(params=NEW, **options):
    def step(scene: Scene, queue: Queue):
        return queue.create(params=params, **options)

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


def _replace(scene: Scene, queue: Queue):
    return queue.database.write(
        lambda tx: create_tasks(tx, [NewTask(type_name="work", params=NEW, dedupe_key="same", on_duplicate="replace")])[
            0
        ],
        atomic=False,
    )


def claim(scene: Scene, queue: Queue):
    return queue.claim(scene.kind, worker_id="w2")


def cancel(scene: Scene, queue: Queue):
    return queue.do(cancel_task, scene.task["id"])


def _expire(scene: Scene, queue: Queue):
    return queue.do(expire_waiting, [scene.task["id"]])


def both_are_done(scene: Scene) -> None:
    for outcome in (scene.a, scene.b):
        assert succeeded(outcome) or is_unknown(outcome), outcome


def _there_is_one(scene: Scene) -> None:
    both_are_done(scene)
    rows = [row for row in scene.rows() if row["status"] not in FINISHED]
    assert len(rows) == 1 or (scene.has_died and not rows)
    for outcome in (scene.a, scene.b):
        if not is_unknown(outcome):
            assert outcome["id"] == rows[0]["id"]


def _there_are_three(scene: Scene) -> None:
    both_are_done(scene)
    told = [outcome for outcome in (scene.a, scene.b) if not is_unknown(outcome)]
    hashes = [row["dedupe_key"] for row in scene.rows()]
    assert len(set(hashes)) == len(hashes)
    assert len(hashes) == 3 or scene.has_died
    ids = {(task["dedupe_key"], task["id"]) for tasks in told for task in tasks}
    assert len(ids) <= 3, "one key, two tasks"


def _answered_alike(scene: Scene) -> None:
    both_are_done(scene)
    (row,) = scene.rows()
    assert {str(answer) for answer in (scene.a, scene.b) if not is_unknown(answer)} == {str((201, {"id": row["id"]}))}


def _claimed_as_it_is(scene: Scene) -> None:
    row = scene.row()
    is_replaced = succeeded(scene.a) and scene.a.is_replaced
    if is_replaced:
        assert row["params"] == NEW
    elif succeeded(scene.a):
        assert row["params"] == OLD
        assert row["status"] in (TaskStatus.CLAIMED, *FINISHED)
    for task in granted(scene.b):
        assert (row["status"], row["lease_token"]) == (TaskStatus.CLAIMED, task["lease_token"])
        assert task["params"] == row["params"], "the worker does what nobody asks for any more"


def _replaced_or_ended(scene: Scene) -> None:
    assert succeeded(scene.a) or is_unknown(scene.a), scene.a
    live = [row for row in scene.rows() if row["status"] not in FINISHED]
    if succeeded(scene.a) and scene.a.is_replaced and scene.status() in FINISHED:
        assert scene.row()["params"] == NEW, "ended as what it was before"
    assert len(live) <= 1


CREATES = (
    Pair("create and create of one key", a_type, create(dedupe_key="x"), create(dedupe_key="x"), _there_is_one, True),
    Pair(
        "create and create beside a finished one",
        _a_finished_task,
        create(dedupe_key="same"),
        create(dedupe_key="same"),
        _there_is_one,
        True,
    ),
    Pair(
        "create and create of one concurrency key",
        partial(a_type, key_max_concurrency=1),
        create({"n": 1}, concurrency_key="k"),
        create({"n": 2}, concurrency_key="k"),
        both_are_done,
        True,
    ),
    Pair(
        "batches of the same keys crosswise", a_type, _create_many("xyz"), _create_many("zyx"), _there_are_three, True
    ),
    Pair("one Idempotency-Key twice", a_type, _create_repeatably, _create_repeatably, _answered_alike, True),
    Pair("replace and claim", _a_task, _replace, claim, _claimed_as_it_is),
    Pair("replace and claim within a limit", partial(_a_task, max_concurrency=1), _replace, claim, _claimed_as_it_is),
    Pair("replace and cancel", _a_task, _replace, cancel, _replaced_or_ended),
    Pair("replace and expire", _an_overdue_task, _replace, _expire, _replaced_or_ended),
    Pair("replace and replace", _a_task, _replace, _replace, both_are_done, True),
)
