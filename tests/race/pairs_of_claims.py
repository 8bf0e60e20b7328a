"""Pairs in which somebody claims."""

from datetime import timedelta
from functools import partial

from app.errors import QueueError
from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.change import change_task
from app.queue.claim_batch import claim_tasks
from app.queue.expire import expire_waiting
from app.queue.fail import fail_task
from app.queue.report_batch import Report, apply_reports
from app.queue.take import ClaimOrder
from tests.race.scene import Pair, Scene
from tests.support.factories import Queue
from tests.support.pauses import Died


def _two_tasks(scene: Scene, number: int = 2, **policies) -> None:
    scene.kind = scene.queue.register(**policies)
    scene.kinds = [scene.kind]
    scene.made = [scene.queue.create(priority=-made)["id"] for made in range(number)]
    scene.task = {"id": scene.made[0]}


def _one_task(scene: Scene, **policies) -> None:
    _two_tasks(scene, 1, **policies)


def _two_types(scene: Scene) -> None:
    _two_tasks(scene)
    scene.kinds = [scene.kind, scene.queue.register("other")]
    scene.made.append(scene.queue.create("other", priority=5)["id"])


def _one_key(scene: Scene, **policies) -> None:
    scene.kind = scene.queue.register(**policies)
    scene.kinds = [scene.kind]
    scene.made = [scene.queue.create(concurrency_key=key)["id"] for key in ("a", "a", "b")]


def _claim(scene: Scene, queue: Queue, worker_id: str = "w1", **terms):
    return queue.claim(*scene.kinds, worker_id=worker_id, **terms)


def _claim_batch(scene: Scene, queue: Queue, worker_id: str = "w1", max_tasks: int = 2, **terms):
    return queue.claim_batch(*scene.kinds, worker_id=worker_id, max_tasks=max_tasks, **terms)


_other_claim = partial(_claim, worker_id="w2")
_other_batch = partial(_claim_batch, worker_id="w2")


def granted(outcome) -> list:
    """Return the tasks that a claim was given."""
    if outcome is None or isinstance(outcome, QueueError | Died):
        return []
    return outcome if isinstance(outcome, list) else [outcome]


def each_has_what_it_got(scene: Scene) -> int:
    """Check that no task was given to both, and that each is held with the token that was told; return how many."""
    got = [*granted(scene.a), *granted(scene.b)]
    ids = [task["id"] for task in got]
    assert len(set(ids)) == len(ids), "claimed twice"
    for task in got:
        row = scene.row(task["id"])
        assert (row["status"], row["lease_token"], row["attempts"]) == (TaskStatus.CLAIMED, task["lease_token"], 1)
        assert row["params"] == task["params"]
    claimed = scene.number_of(TaskStatus.CLAIMED)
    assert claimed == len(got) or scene.has_died
    return claimed


def _both_got(number: int):
    """Return the check that both together got all there was for them."""

    def check(scene: Scene) -> None:
        claimed = each_has_what_it_got(scene)
        assert claimed == number or (scene.has_died and claimed > 0)
        if not scene.has_died and number >= 2:
            assert granted(scene.a), "the first got nothing"
            assert granted(scene.b), "the second got nothing"

    return check


def _one_got_it(scene: Scene) -> None:
    claimed = each_has_what_it_got(scene)
    assert claimed == 1 or (scene.has_died and claimed == 0)


def _within_the_limit(scene: Scene) -> None:
    assert each_has_what_it_got(scene) <= 1


def _one_of_each_key_at_most(scene: Scene) -> None:
    each_has_what_it_got(scene)
    keys = [row["extras"]["concurrency_key"] for row in scene.rows() if row["status"] == TaskStatus.CLAIMED]
    assert len(set(keys)) == len(keys)
    assert len(keys) == 2 or scene.has_died


def _whole_attempt(scene: Scene, queue: Queue):
    """Claim, and fail at once: the task is claimable again, and not as it was seen."""
    task = _other_claim(scene, queue)
    if task is not None:
        said = {"error": "it broke", "retryable": True, "retry_after_seconds": 0}
        queue.do(fail_task, task["id"], worker_id="w2", lease_token=task["lease_token"], **said)
    return task


def _counted_as_it_was_told(scene: Scene) -> None:
    row = scene.row()
    for task in granted(scene.a):
        assert (row["status"], row["lease_token"]) == (TaskStatus.CLAIMED, task["lease_token"])
        assert row["attempts"] == task["attempts"]


def _cancel(scene: Scene, queue: Queue):
    return queue.do(cancel_task, scene.task["id"])


def _cancelled_whoever_has_it(scene: Scene) -> None:
    if not isinstance(scene.b, Died):
        assert scene.status() == TaskStatus.CANCELLED
    for task in granted(scene.a):
        assert task["lease_token"] == scene.row()["lease_token"]


def _one_with_a_deadline(scene: Scene) -> None:
    # Between the clocks of the two: to the one it is over, to the other not yet.
    scene.kind = scene.queue.register()
    scene.kinds = [scene.kind]
    deadline_at = scene.clock.instant + timedelta(seconds=0.015)
    scene.task = scene.queue.create(deadline_at=deadline_at)


def _expire(scene: Scene, queue: Queue):
    return queue.do(expire_waiting, [scene.task["id"]])


def _claimed_or_given_up(scene: Scene) -> None:
    row = scene.row()
    if granted(scene.a):
        assert (row["status"], row["lease_token"]) == (TaskStatus.CLAIMED, scene.a["lease_token"])
        assert scene.b in (0, None) or isinstance(scene.b, Died)
    elif not scene.has_died:
        assert row["status"] == TaskStatus.FAILED or (scene.a is None and row["status"] == TaskStatus.PENDING)


def _raise_priority(scene: Scene, queue: Queue):
    return queue.do(change_task, scene.made[-1], priority=9)


def _changed_before_the_claim_only(scene: Scene) -> None:
    if not isinstance(scene.b, QueueError | Died):
        assert scene.row(scene.made[-1])["priority"] == 9
    claimed = scene.number_of(TaskStatus.CLAIMED)
    assert claimed == 1 or isinstance(scene.a, Died)


def _each_has_one(scene: Scene) -> None:
    _two_tasks(scene, 4, max_concurrency=2)
    scene.of_worker = {worker: scene.queue.must_claim(scene.kind, worker_id=worker) for worker in ("w1", "w2")}


def _exchange(scene: Scene, queue: Queue, worker_id: str):
    mine = scene.of_worker[worker_id]
    report = Report(task_id=mine["id"], lease_token=mine["lease_token"], is_success=True)

    def work(tx):
        verdicts = apply_reports(tx, worker_id, [report])
        assert verdicts == [TaskStatus.COMPLETED]
        return claim_tasks(tx, scene.kinds, ClaimOrder(worker_id=worker_id), 2)

    return queue.database.write(work, atomic=False)


def _both_exchanged(scene: Scene) -> None:
    claimed = each_has_what_it_got(scene)
    assert claimed <= 2
    if not scene.has_died:
        assert (claimed, scene.number_of(TaskStatus.COMPLETED)) == (2, 2)


CLAIMS = (
    Pair("claim and claim", _two_tasks, _claim, _other_claim, _both_got(2), True),
    Pair("claim and claim of the only task", _one_task, _claim, _other_claim, _one_got_it, True),
    Pair("claim and claim, several types", _two_types, _claim, _other_claim, _both_got(2), True),
    Pair(
        "claim and claim, oldest first",
        _two_tasks,
        partial(_claim, sort_by="created_at"),
        partial(_other_claim, sort_by="created_at"),
        _both_got(2),
        True,
    ),
    Pair(
        "claim and claim, one at a time",
        partial(_two_tasks, max_concurrency=1),
        _claim,
        _other_claim,
        _within_the_limit,
        True,
    ),
    Pair(
        "claim and claim, one an hour",
        partial(_two_tasks, rate_limit="1/3600"),
        _claim,
        _other_claim,
        _within_the_limit,
        True,
    ),
    *(
        Pair(f"{name} of one key, {limit}", partial(_one_key, **{limit: number}), a, b, _one_of_each_key_at_most, True)
        for name, a, b in (("claim and claim", _claim, _other_claim), ("batch and batch", _claim_batch, _other_batch))
        for limit, number in (("key_max_concurrency", 1), ("key_rate_limit", "1/3600"))
    ),
    Pair(
        "claim and claim in turns",
        partial(_one_key, key_order="round_robin"),
        _claim,
        _other_claim,
        each_has_what_it_got,
        True,
    ),
    Pair("claim and a whole attempt", _one_task, _claim, _whole_attempt, _counted_as_it_was_told),
    Pair("batch and batch", partial(_two_tasks, number=4), _claim_batch, _other_batch, _both_got(4), True),
    Pair("claim and batch", partial(_two_tasks, number=3), _claim, _other_batch, _both_got(3)),
    Pair("claim and cancel", _one_task, _claim, _cancel, _cancelled_whoever_has_it),
    Pair("claim and expire", _one_with_a_deadline, _claim, _expire, _claimed_or_given_up),
    Pair("claim and change of priority", _two_tasks, _claim, _raise_priority, _changed_before_the_claim_only),
    Pair(
        "exchange and exchange",
        _each_has_one,
        partial(_exchange, worker_id="w1"),
        partial(_exchange, worker_id="w2"),
        _both_exchanged,
        True,
    ),
)
