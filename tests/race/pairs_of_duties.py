"""Pairs beside the tasks: schedules, keys, who does what time must do, and what is counted."""

from collections import Counter
from functools import partial

from sqlalchemy import select

from app.errors import (
    LastAdminKey,
    ScheduleNotFound,
)
from app.lifecycle import FINISHED
from app.queue.duties import HOUSEKEEPING, take_duty
from app.queue.fire import fire_due_schedules
from app.queue.keys import create_key, find_key, has_admin_key, revoke_key
from app.queue.schedules import change_schedule, delete_schedule, save_schedule
from app.queue.usage import count_usage, read_usage
from app.queue.waiting import take_slot
from app.storage.models import schedules
from tests.race.pairs_of_operators import old_dead_letter, remove, two_pending
from tests.race.scene import Pair, Scene, is_unknown, succeeded
from tests.support.factories import Queue


def _a_schedule(scene: Scene, **terms) -> None:
    scene.kind = scene.queue.register()
    rule = {"type": "work", "interval_seconds": 60, "overlap": "queue", "catch_up": "all", **terms}
    scene.schedule = scene.queue.do(save_schedule, name="s", **rule)[0]
    scene.clock.advance(seconds=185)


def _two_admins(scene: Scene) -> None:
    for name in ("first", "second"):
        secret, row = scene.queue.do(create_key, name=name, scopes=["admin"])
        setattr(scene, name, (secret, row))


def _many_uncounted(scene: Scene) -> None:
    two_pending(scene)
    scene.clock.advance(seconds=120)


def _nothing(scene: Scene) -> None:
    scene.kind = scene.queue.register()


def _a_duty(scene: Scene) -> None:
    assert scene.queue.do(take_duty, HOUSEKEEPING, "the one before")
    scene.clock.advance(seconds=60)


def _a_slot_that_came_free(scene: Scene) -> None:
    assert scene.queue.do(take_slot, slots=1, seconds=10)
    scene.clock.advance(seconds=60)


def _fire(scene: Scene, queue: Queue):
    return queue.do(fire_due_schedules)


def _change_schedule(**changes):
    def step(scene: Scene, queue: Queue):
        return queue.database.write(lambda tx: change_schedule(tx, scene.schedule["id"], changes))

    return step


def _delete_schedule(scene: Scene, queue: Queue):
    return queue.database.write(lambda tx: delete_schedule(tx, scene.schedule["id"]))


def _save_schedule(scene: Scene, queue: Queue):
    return queue.database.write(lambda tx: save_schedule(tx, name="New", type="work", interval_seconds=60))


def _revoke(which: str):
    def step(scene: Scene, queue: Queue):
        return queue.database.write(lambda tx: revoke_key(tx, getattr(scene, which)[1]["id"]))

    return step


def _use_key(scene: Scene, queue: Queue):
    return queue.database.read(lambda tx: (find_key(tx, scene.first[0]), tx.now))


def _take_duty(scene: Scene, queue: Queue):
    # Of the queue itself the next one may have the same, once it is gone.
    holder = f"holder {id(queue.database)}"
    return queue.do(take_duty, HOUSEKEEPING, holder)


def _take_slot(scene: Scene, queue: Queue):
    return queue.do(take_slot, slots=1, seconds=10)


def _count_usage(scene: Scene, queue: Queue):
    return queue.do(count_usage)


def _one_task_for_each_instant(scene: Scene) -> None:
    rows = scene.rows()
    instants = Counter(row["extras"]["scheduled_for"] for row in rows)
    assert set(instants.values()) <= {1}, "an instant was fired twice"
    known = scene.queue.do(lambda tx: tx.all(select(schedules)))
    if known:
        assert known[0]["created_count"] == len(rows)
        assert scene.has_died or known[0]["created_count"] + known[0]["skipped_count"] == 3 or len(rows) < 3


def _all_three_fired(scene: Scene) -> None:
    _one_task_for_each_instant(scene)
    assert len(scene.rows()) == 3 or scene.has_died


def _fired_before_the_change_or_not_at_all(scene: Scene) -> None:
    _one_task_for_each_instant(scene)
    assert len(scene.rows()) in (0, 1, 3)
    assert succeeded(scene.b) or is_unknown(scene.b) or isinstance(scene.b, ScheduleNotFound)
    assert succeeded(scene.a) or is_unknown(scene.a)


def _replaced_by_the_latest(scene: Scene) -> None:
    _one_task_for_each_instant(scene)
    assert sum(row["status"] not in FINISHED for row in scene.rows()) <= 1


def _one_schedule(scene: Scene) -> None:
    found = scene.queue.do(lambda tx: tx.all(select(schedules)))
    assert len(found) == 1
    for outcome in (scene.a, scene.b):
        assert is_unknown(outcome) or outcome[0]["id"] == found[0]["id"]
    if not scene.has_died:
        assert [scene.a[1], scene.b[1]].count(True) == 1


def _an_admin_is_left(scene: Scene) -> None:
    assert scene.queue.do(has_admin_key), "nobody can administer the server any more"
    refused = [outcome for outcome in (scene.a, scene.b) if not succeeded(outcome) and not is_unknown(outcome)]
    assert all(isinstance(outcome, LastAdminKey) for outcome in refused)
    assert len(refused) == 1 or scene.has_died


def _key_is_known(scene: Scene) -> None:
    assert succeeded(scene.a) or is_unknown(scene.a)
    key = scene.queue.database.read(lambda tx: find_key(tx, scene.first[0]))
    if succeeded(scene.a):
        assert key is not None
        assert not key.is_usable(scene.clock.instant)


def _one_holder(scene: Scene) -> None:
    told = [outcome for outcome in (scene.a, scene.b) if not is_unknown(outcome)]
    assert told.count(True) <= 1, "two hold it at once"
    assert told.count(True) == 1 or scene.has_died


def _one_slot(scene: Scene) -> None:
    told = [outcome for outcome in (scene.a, scene.b) if not is_unknown(outcome)]
    assert sum(outcome is not None for outcome in told) <= 1, "one slot, two waiters"
    assert scene.has_died or any(told)


def _counted_once(scene: Scene) -> None:
    usage = scene.queue.do(read_usage)
    assert usage[scene.kind]["usage_count"] == len(scene.made)


def _counted_though_removed(scene: Scene) -> None:
    assert scene.queue.do(read_usage)[scene.kind]["usage_count"] == 1


DUTIES = (
    Pair("fire and fire", _a_schedule, _fire, _fire, _all_three_fired, True),
    Pair(
        "fire and fire, the latest alone",
        partial(_a_schedule, overlap="replace"),
        _fire,
        _fire,
        _replaced_by_the_latest,
        True,
    ),
    Pair(
        "fire and pause", _a_schedule, _fire, _change_schedule(is_paused=True), _fired_before_the_change_or_not_at_all
    ),
    Pair(
        "fire and another interval",
        _a_schedule,
        _fire,
        _change_schedule(interval_seconds=100),
        _fired_before_the_change_or_not_at_all,
    ),
    Pair("fire and delete", _a_schedule, _fire, _delete_schedule, _fired_before_the_change_or_not_at_all),
    Pair("save and save", _nothing, _save_schedule, _save_schedule, _one_schedule, True),
    Pair("revoke and revoke", _two_admins, _revoke("first"), _revoke("second"), _an_admin_is_left, True),
    Pair("revoke and use", _two_admins, _revoke("first"), _use_key, _key_is_known),
    Pair("hold and hold", _a_duty, _take_duty, _take_duty, _one_holder, True),
    Pair("hold and hold for the first time", _nothing, _take_duty, _take_duty, _one_holder, True),
    Pair("slot and slot", _nothing, _take_slot, _take_slot, _one_slot, True),
    Pair("slot and slot that came free", _a_slot_that_came_free, _take_slot, _take_slot, _one_slot, True),
    Pair("count and count", _many_uncounted, _count_usage, _count_usage, _counted_once, True),
    Pair("removal and count", old_dead_letter, remove, _count_usage, _counted_though_removed),
)
