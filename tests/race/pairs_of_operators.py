"""Pairs in which an operator acts on what has ended, or on many tasks."""

from datetime import timedelta

from sqlalchemy import func, select

from app.errors import (
    QueueError,
    TaskNotFound,
    TaskNotRequeuable,
    TryAgain,
)
from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.dead_letters import purge_dead_letter
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.filters import TaskFilter
from app.queue.operate import run_operation
from app.queue.operations import CANCEL, PURGE, REQUEUE, NewOperation, start_operation
from app.queue.remove import remove_tasks
from app.queue.requeue import requeue_task
from app.queue.tasks import read_task
from app.storage.models import audit_entries, line_places
from tests.race.pairs_of_claims import granted
from tests.race.scene import Pair, Scene, is_unknown, succeeded
from tests.support.factories import Queue
from tests.support.soundness import housekeep

_MONTH = timedelta(days=30).total_seconds()


def two_pending(scene: Scene, **policies) -> None:
    scene.kind = scene.queue.register(**policies)
    scene.kinds = [scene.kind]
    scene.made = [scene.queue.create()["id"] for _ in range(2)]
    scene.task = {"id": scene.made[0]}


def _kill(scene: Scene, **options) -> dict:
    """Create a task and let it fail for good."""
    scene.queue.create(**options)
    task = scene.queue.must_claim(scene.kind)
    said = {"error": "it broke", "retryable": False, "retry_after_seconds": None}
    return scene.queue.do(fail_task, task["id"], worker_id="w1", lease_token=task["lease_token"], **said)


def _dead_letter(scene: Scene, *, key: str | None = None, **policies) -> None:
    scene.kind = scene.queue.register(**policies)
    scene.kinds = [scene.kind]
    scene.task = _kill(scene, concurrency_key=key)
    # So that a purge may remove it at once.
    scene.clock.advance(seconds=120)
    housekeep(scene.queue)


def _dead_with_dependent(scene: Scene) -> None:
    _dead_letter(scene)
    scene.waits_for_dead = True
    scene.dependent = scene.queue.create(depends_on=[scene.task["id"]])
    assert scene.status(scene.dependent["id"]) == TaskStatus.FAILED


def old_dead_letter(scene: Scene) -> None:
    _dead_letter(scene)
    scene.clock.advance(seconds=_MONTH)


def _two_dead(scene: Scene) -> None:
    _dead_letter(scene)
    scene.other = _kill(scene)
    scene.clock.advance(seconds=120)
    housekeep(scene.queue)


def _dead_behind_another(scene: Scene) -> None:
    """Two of one key: the first is dead, the second is claimable."""
    _dead_letter(scene, key="k", key_max_concurrency=1)
    scene.queue.create(concurrency_key="k")


def _ending_with_dependent(scene: Scene) -> None:
    """What has just failed, and nobody has seen to its dependent yet."""
    scene.kind = scene.queue.register()
    scene.kinds = [scene.kind]
    scene.queue.create()
    scene.task = scene.queue.must_claim(scene.kind)
    scene.dependent = scene.queue.create(depends_on=[scene.task["id"]])
    said = {"error": "it broke", "retryable": False, "retry_after_seconds": None}
    token = scene.task["lease_token"]
    scene.queue.do(fail_task, scene.task["id"], worker_id="w1", lease_token=token, **said)


def _an_operation(kind: str, stage):
    def set_stage(scene: Scene) -> None:
        stage(scene)
        new = NewOperation(kind=kind, filter=TaskFilter(type="work"))
        scene.operation = scene.queue.do(start_operation, new)

    return set_stage


def _operate(scene: Scene, queue: Queue):
    while queue.do(run_operation, scene.operation["id"]):
        pass


def _one_claimed(scene: Scene) -> None:
    scene.kind = scene.queue.register()
    scene.queue.create()
    scene.task = scene.queue.must_claim(scene.kind)


def _complete(scene: Scene, queue: Queue):
    token = scene.task["lease_token"]
    return queue.do(complete_task, scene.task["id"], worker_id="w1", lease_token=token, result="mine")


def _claim(scene: Scene, queue: Queue):
    return queue.claim(scene.kind, worker_id="w2")


def _cancel(scene: Scene, queue: Queue):
    return queue.do(cancel_task, scene.task["id"])


def _requeue(scene: Scene, queue: Queue):
    return queue.database.write(lambda tx: requeue_task(tx, scene.task["id"]))


def _requeue_dependent(scene: Scene, queue: Queue):
    return queue.database.write(lambda tx: requeue_task(tx, scene.dependent["id"]))


def _purge(scene: Scene, queue: Queue):
    return queue.do(purge_dead_letter, scene.task["id"])


def _read(scene: Scene, queue: Queue):
    return queue.do(read_task, scene.task["id"])


def remove(scene: Scene, queue: Queue):
    return queue.do(remove_tasks, [scene.task["id"]])


def _do_what_is_due(scene: Scene, queue: Queue):
    return queue.do(do_what_is_due)


def _audited(scene: Scene, action: str) -> int:
    number = select(func.count()).select_from(audit_entries).where(audit_entries.c.action == action)
    return scene.queue.do(lambda tx: tx.execute(number).scalar_one())


def _exists(scene: Scene) -> bool:
    return any(row["id"] == scene.task["id"] for row in scene.rows())


def _requeued_or_gone(scene: Scene) -> None:
    """Check what comes of a requeue (a) and a removal by hand or by time (b)."""
    if succeeded(scene.a):
        assert _exists(scene), "removed though it was requeued"
        assert scene.status() == TaskStatus.PENDING
        assert not (succeeded(scene.b) and scene.b), "said to be removed, too"
    elif not is_unknown(scene.a):
        assert isinstance(scene.a, TaskNotFound)
        assert not _exists(scene)


def _requeued_once(scene: Scene) -> None:
    done = [outcome for outcome in (scene.a, scene.b) if succeeded(outcome)]
    assert scene.status() == TaskStatus.PENDING or scene.has_died
    assert len(done) == 1 or scene.has_died, "requeued twice, or never"
    assert _audited(scene, "requeue_task") == (scene.status() == TaskStatus.PENDING)
    refused = [outcome for outcome in (scene.a, scene.b) if isinstance(outcome, QueueError)]
    assert all(isinstance(outcome, TaskNotRequeuable) for outcome in refused)


def _purged_once(scene: Scene) -> None:
    assert not _exists(scene) or scene.has_died
    for outcome in (scene.a, scene.b):
        assert outcome is True or is_unknown(outcome) or isinstance(outcome, TaskNotFound), outcome


def _read_whole_or_not_at_all(scene: Scene) -> None:
    assert is_unknown(scene.b) or isinstance(scene.b, TaskNotFound) or scene.b["status"] == TaskStatus.FAILED


def _requeued_and_claimed(scene: Scene) -> None:
    for task in granted(scene.b):
        assert scene.row(task["id"])["lease_token"] == task["lease_token"]
    # A slice that somebody else holds is left to them, or to housekeeping.
    housekeep(scene.queue)
    waiting = {row["status"] for row in scene.rows()}
    assert scene.has_died or TaskStatus.FAILED not in waiting


def _cancelled_all(scene: Scene) -> None:
    housekeep(scene.queue)
    if not scene.has_died:
        assert {row["status"] for row in scene.rows()} == {TaskStatus.CANCELLED}
    for task in granted(scene.b):
        # Its worker learns of it at its next heartbeat.
        assert scene.row(task["id"])["lease_token"] == task["lease_token"]


def _completed_or_cancelled(scene: Scene) -> None:
    housekeep(scene.queue)
    row = scene.row()
    if succeeded(scene.b):
        assert (row["status"], row["result"]) == (TaskStatus.COMPLETED, "mine")
    elif not scene.has_died:
        assert row["status"] == TaskStatus.CANCELLED


def _dependent_waits_for_what_was_requeued(scene: Scene) -> None:
    for outcome in (scene.a, scene.b):
        assert (
            succeeded(outcome)
            or is_unknown(outcome)
            or isinstance(outcome, TaskNotRequeuable | TaskNotFound | TryAgain)
        )


def _sees_to_it_once(scene: Scene) -> None:
    if not scene.has_died:
        scene.come_back()
        housekeep(scene.queue)
        assert scene.status(scene.dependent["id"]) == TaskStatus.FAILED


def _in_its_line(scene: Scene) -> None:
    assert succeeded(scene.a) or is_unknown(scene.a), scene.a
    if succeeded(scene.a):
        places = scene.queue.do(lambda tx: {row["task_id"] for row in tx.all(select(line_places))})
        assert scene.task["id"] in places


OPERATORS = (
    Pair("requeue and purge", _dead_letter, _requeue, _purge, _requeued_or_gone),
    Pair("requeue and removal", old_dead_letter, _requeue, remove, _requeued_or_gone),
    Pair("requeue and requeue", _dead_letter, _requeue, _requeue, _requeued_once, True),
    Pair("purge and purge", _dead_letter, _purge, _purge, _purged_once, True),
    Pair("purge and read", _dead_letter, _purge, _read, _read_whole_or_not_at_all),
    Pair("requeue and claim of its key", _dead_behind_another, _requeue, _claim, _in_its_line),
    Pair(
        "requeue and requeue of the dependent",
        _dead_with_dependent,
        _requeue,
        _requeue_dependent,
        _dependent_waits_for_what_was_requeued,
    ),
    Pair(
        "purge and requeue of the dependent",
        _dead_with_dependent,
        _purge,
        _requeue_dependent,
        _dependent_waits_for_what_was_requeued,
    ),
    Pair(
        "requeue and follow-up",
        _ending_with_dependent,
        _requeue,
        _do_what_is_due,
        _dependent_waits_for_what_was_requeued,
    ),
    Pair("follow-up and follow-up", _ending_with_dependent, _do_what_is_due, _do_what_is_due, _sees_to_it_once, True),
    Pair("requeue of all and claim", _an_operation(REQUEUE, _two_dead), _operate, _claim, _requeued_and_claimed),
    Pair("requeue of all and requeue", _an_operation(REQUEUE, _dead_letter), _operate, _requeue, _requeued_and_claimed),
    Pair("requeue of all, twice", _an_operation(REQUEUE, _two_dead), _operate, _operate, _requeued_and_claimed, True),
    Pair("purge of all and requeue", _an_operation(PURGE, _dead_letter), _requeue, _operate, _requeued_or_gone),
    Pair("cancel of all and claim", _an_operation(CANCEL, two_pending), _operate, _claim, _cancelled_all),
    Pair(
        "cancel of all and complete", _an_operation(CANCEL, _one_claimed), _operate, _complete, _completed_or_cancelled
    ),
    Pair("cancel of all and cancel", _an_operation(CANCEL, two_pending), _operate, _cancel, _cancelled_all),
)
