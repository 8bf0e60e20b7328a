"""Pairs in which an attempt or a task ends."""

from datetime import timedelta
from functools import partial

from sqlalchemy import select

from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.expire import expire_leases
from app.queue.fail import fail_task
from app.queue.heartbeat import beat, report_progress
from app.queue.logs import LogLine, add_logs
from app.queue.release import release_task
from app.storage.database import Row
from app.storage.models import attempts
from tests.race.scene import Pair, Scene, is_unknown, succeeded
from tests.support.factories import Queue

# The lease ends between the clocks of the two: to the one it is over, to the other not yet.
_BETWEEN_THEM_SECONDS = 0.015
LEASE_SECONDS = 60


def _one_claimed(scene: Scene, **policies) -> None:
    scene.kind = scene.queue.register(lease_seconds=LEASE_SECONDS, **policies)
    scene.queue.create()
    scene.task = scene.queue.must_claim(scene.kind)
    scene.token = scene.task["lease_token"]


def _lease_over(scene: Scene, **policies) -> None:
    _one_claimed(scene, **policies)
    scene.clock.advance(seconds=LEASE_SECONDS)


def _lease_just_over(scene: Scene) -> None:
    _one_claimed(scene)
    scene.clock.advance(seconds=LEASE_SECONDS - _BETWEEN_THEM_SECONDS)


def _put_back(scene: Scene) -> None:
    _lease_over(scene)
    scene.queue.do(expire_leases, [scene.task["id"]])


def _taken_over(scene: Scene) -> None:
    _put_back(scene)
    # A worker of the same name: the tokens alone tell the two apart.
    scene.new = scene.queue.must_claim(scene.kind)


def _followed(scene: Scene) -> None:
    scene.kind = scene.queue.register(lease_seconds=LEASE_SECONDS)
    first = scene.queue.create()
    scene.follower = scene.queue.create(depends_on=[first["id"]])
    # Claimed only now, so that its token says that another waits.
    scene.task = scene.queue.must_claim(scene.kind)
    scene.token = scene.task["lease_token"]


def _followed_and_over(scene: Scene) -> None:
    _followed(scene)
    scene.clock.advance(seconds=LEASE_SECONDS)


def _report(verb, **said):
    def step(scene: Scene, queue: Queue):
        return queue.do(verb, scene.task["id"], worker_id="w1", lease_token=scene.token, **said)

    return step


complete = _report(complete_task, result="mine")
fail = _report(fail_task, error="it broke", retryable=True, retry_after_seconds=0)
_release = _report(release_task, delay_seconds=0)
_beat = _report(beat, lease_seconds=None)
_progress = _report(report_progress, progress=50, message=None)
_log = _report(add_logs, lines=[LogLine(level="info", message="x")])


def _expire(scene: Scene, queue: Queue):
    return queue.do(expire_leases, [scene.task["id"]])


def cancel(scene: Scene, queue: Queue):
    return queue.do(cancel_task, scene.task["id"])


def claim(scene: Scene, queue: Queue):
    return queue.claim(scene.kind, worker_id="w2")


def complete_new(scene: Scene, queue: Queue):
    token = scene.new["lease_token"]
    return queue.do(complete_task, scene.task["id"], worker_id="w1", lease_token=token, result="new")


def ends_of(scene: Scene, outcome: str) -> list[Row]:
    """Return the attempts of the task that ended so."""
    of_task = (attempts.c.task_id == scene.task["id"], attempts.c.outcome == outcome)
    return scene.queue.do(lambda tx: tx.all(select(attempts).where(*of_task)))


def _is_completed(scene: Scene) -> None:
    """Check that the result counts, whatever happened beside it."""
    row = scene.row()
    assert succeeded(scene.a) or is_unknown(scene.a), scene.a
    if succeeded(scene.a):
        assert (row["status"], row["result"], row["claimed_by"]) == (TaskStatus.COMPLETED, "mine", "w1")


def _one_of_them_ended_it(first: TaskStatus, second: TaskStatus):
    """Return the check that just one of two contradicting ends was accepted."""

    def check(scene: Scene) -> None:
        status = scene.status()
        assert not (succeeded(scene.a) and succeeded(scene.b)), "both were accepted"
        assert status != first or not succeeded(scene.b)
        assert status != second or not succeeded(scene.a)
        assert not succeeded(scene.a) or status == first
        assert not succeeded(scene.b) or status == second
        if not scene.has_died:
            assert succeeded(scene.a) or succeeded(scene.b), "neither was accepted"

    return check


def _both_completed(scene: Scene) -> None:
    _is_completed(scene)
    assert succeeded(scene.b) or is_unknown(scene.b), scene.b


def _taken_over_or_completed(scene: Scene) -> None:
    row = scene.row()
    if succeeded(scene.a):
        assert (row["status"], row["result"]) == (TaskStatus.COMPLETED, "mine")
        assert scene.b is None or is_unknown(scene.b), "claimed though it was completed"
    elif scene.b is not None and succeeded(scene.b):
        assert (row["status"], row["lease_token"]) == (TaskStatus.CLAIMED, scene.b["lease_token"])
        kept = [attempt["late_report"] for attempt in ends_of(scene, "expired")]
        assert kept == [{"success": True, "result": "mine"}] or is_unknown(scene.a)
    else:
        assert scene.has_died


def _only_the_new_one_counts(scene: Scene) -> None:
    assert not succeeded(scene.a)
    assert scene.row()["result"] == (
        "new" if succeeded(scene.b) or scene.row()["status"] == TaskStatus.COMPLETED else None
    )
    assert succeeded(scene.b) or is_unknown(scene.b)


def _counted_once(scene: Scene) -> None:
    ends = [*ends_of(scene, "failed"), *ends_of(scene, "expired")]
    row = scene.row()
    assert row["attempts"] == 1
    assert len(ends) <= 1
    if not scene.has_died:
        assert (len(ends), row["status"]) == (1, TaskStatus.PENDING)


def _alive_or_expired(scene: Scene) -> None:
    row = scene.row()
    if succeeded(scene.a):
        assert (row["status"], row["lease_token"]) == (TaskStatus.CLAIMED, scene.token)
        assert row["due_at"] > scene.clock.instant + timedelta(seconds=LEASE_SECONDS / 2)
        assert not ends_of(scene, "expired")
    elif not scene.has_died:
        assert (row["status"], len(ends_of(scene, "expired"))) == (TaskStatus.PENDING, 1)


def _released_or_expired(scene: Scene) -> None:
    row = scene.row()
    assert len(ends_of(scene, "released")) + len(ends_of(scene, "expired")) <= 1
    if succeeded(scene.a):
        assert (row["status"], row["attempts"]) == (TaskStatus.PENDING, 0)
    elif not scene.has_died:
        assert (row["status"], row["attempts"]) == (TaskStatus.PENDING, 1)


def _cancelled_in_any_case(scene: Scene) -> None:
    if succeeded(scene.b):
        assert scene.status() == TaskStatus.CANCELLED


def _expired_or_cancelled(scene: Scene) -> None:
    _cancelled_in_any_case(scene)
    if not is_unknown(scene.a):
        assert ends_of(scene, "expired") or scene.status() == TaskStatus.CANCELLED


_DONE_OR_CANCELLED = _one_of_them_ended_it(TaskStatus.COMPLETED, TaskStatus.CANCELLED)


ENDS = (
    Pair("complete and expire", _lease_over, complete, _expire, _is_completed),
    Pair(
        "complete and expire of the last attempt",
        partial(_lease_over, max_attempts=1),
        complete,
        _expire,
        _is_completed,
    ),
    Pair("complete and expire, followed", _followed_and_over, complete, _expire, _is_completed),
    Pair("complete and cancel", _one_claimed, complete, cancel, _DONE_OR_CANCELLED),
    Pair("complete and complete", _one_claimed, complete, complete, _both_completed, True),
    Pair("complete and complete, followed", _followed, complete, complete, _both_completed, True),
    Pair("complete and claim by another", _put_back, complete, claim, _taken_over_or_completed),
    Pair("complete of old and of new", _taken_over, complete, complete_new, _only_the_new_one_counts),
    Pair("fail and expire", _lease_over, fail, _expire, _counted_once),
    Pair("fail and fail", _one_claimed, fail, fail, _counted_once, True),
    Pair("fail and cancel", _one_claimed, fail, cancel, _cancelled_in_any_case),
    Pair("heartbeat and expire", _lease_just_over, _beat, _expire, _alive_or_expired),
    Pair("progress and cancel", _one_claimed, _progress, cancel, _cancelled_in_any_case),
    Pair("log and complete", _one_claimed, complete, _log, _is_completed),
    Pair("release and expire", _lease_over, _release, _expire, _released_or_expired),
    Pair("release and cancel", _one_claimed, _release, cancel, _cancelled_in_any_case),
    Pair("expire and cancel", _lease_over, _expire, cancel, _expired_or_cancelled),
)
