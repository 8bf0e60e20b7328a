"""Pairs of batches, and of tasks that stand in line."""

from functools import partial

from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.expire import expire_leases
from app.queue.report_batch import Report
from tests.race.pairs_of_ends import LEASE_SECONDS, cancel, claim, complete, complete_new, fail
from tests.race.scene import Pair, Scene, is_unknown, succeeded
from tests.support.factories import Queue


def _in_line(scene: Scene, **policies) -> None:
    scene.kind = scene.queue.register(**policies)
    scene.queue.create(concurrency_key="k")
    scene.task = scene.queue.must_claim(scene.kind)
    scene.token = scene.task["lease_token"]
    scene.next = scene.queue.create(concurrency_key="k")


def _last_in_line(scene: Scene) -> None:
    scene.kind = scene.queue.register(key_max_concurrency=1)
    scene.queue.create(concurrency_key="k")
    scene.task = scene.queue.must_claim(scene.kind)
    scene.token = scene.task["lease_token"]


def _three_claimed(scene: Scene) -> None:
    scene.kind = scene.queue.register(lease_seconds=LEASE_SECONDS)
    for _ in range(3):
        scene.queue.create()
    scene.batch = scene.queue.claim_batch(scene.kind)
    scene.task = scene.batch[1]
    scene.token = scene.task["lease_token"]
    scene.clock.advance(seconds=LEASE_SECONDS)


def _three_taken_over(scene: Scene) -> None:
    _three_claimed(scene)
    scene.queue.do(expire_leases, [task["id"] for task in scene.batch])
    scene.new = scene.queue.claim_batch(scene.kind)[1]


def _cancel_next(scene: Scene, queue: Queue):
    return queue.do(cancel_task, scene.next["id"])


def _complete_batch(scene: Scene, queue: Queue):
    of = {"is_success": True, "result": "mine"}
    return queue.report(*(Report(task_id=task["id"], lease_token=task["lease_token"], **of) for task in scene.batch))


def _expire_batch(scene: Scene, queue: Queue):
    return queue.do(expire_leases, [task["id"] for task in scene.batch])


def _join_line(scene: Scene, queue: Queue):
    return queue.create(params={"new": True}, concurrency_key="k")


def _each_is_completed(scene: Scene) -> None:
    if succeeded(scene.a):
        assert scene.a == ["completed"] * len(scene.batch)
        assert {row["status"] for row in scene.rows()} == {TaskStatus.COMPLETED}


def _only_the_new_claims_count(scene: Scene) -> None:
    assert is_unknown(scene.a) or scene.a == ["lease_lost"] * 3
    assert [row["result"] for row in scene.rows()].count(None) >= 2, "an old lease had a say"
    assert succeeded(scene.b) or is_unknown(scene.b)


def _batch_or_cancel(scene: Scene) -> None:
    if succeeded(scene.a):
        others = [scene.status(task["id"]) for task in (scene.batch[0], scene.batch[2])]
        assert others == [TaskStatus.COMPLETED] * 2
        assert scene.a[1] == ("completed" if scene.status() == TaskStatus.COMPLETED else "task_cancelled")
    assert scene.status() == (TaskStatus.CANCELLED if succeeded(scene.b) else scene.status())


def _next_is_not_held_up(scene: Scene) -> None:
    assert succeeded(scene.a) or is_unknown(scene.a), scene.a
    got = scene.b if succeeded(scene.b) else None
    if isinstance(got, dict) and "lease_token" in got and got["id"] == scene.next["id"]:
        assert scene.status() == TaskStatus.COMPLETED, "two of one key at once"


def _both_are_done(scene: Scene) -> None:
    assert succeeded(scene.a) or is_unknown(scene.a), scene.a
    assert succeeded(scene.b) or is_unknown(scene.b), scene.b


BATCHES_AND_LINES = (
    Pair("batch complete and expire", _three_claimed, _complete_batch, _expire_batch, _each_is_completed),
    Pair(
        "batch complete of old and of new",
        _three_taken_over,
        _complete_batch,
        complete_new,
        _only_the_new_claims_count,
    ),
    Pair("batch complete and cancel", _three_claimed, _complete_batch, cancel, _batch_or_cancel),
    Pair(
        "batch complete and batch complete", _three_claimed, _complete_batch, _complete_batch, _each_is_completed, True
    ),
    Pair(
        "complete and claim of the next in line",
        partial(_in_line, key_max_concurrency=1),
        complete,
        claim,
        _next_is_not_held_up,
    ),
    Pair(
        "complete and claim of the next turn",
        partial(_in_line, key_order="round_robin"),
        complete,
        claim,
        _both_are_done,
    ),
    Pair(
        "complete and cancel of the next in line",
        partial(_in_line, key_max_concurrency=1),
        complete,
        _cancel_next,
        _both_are_done,
    ),
    Pair(
        "fail and cancel of the next in line",
        partial(_in_line, key_max_concurrency=1),
        fail,
        _cancel_next,
        _both_are_done,
    ),
    Pair("complete and create behind the last in line", _last_in_line, complete, _join_line, _both_are_done),
)
