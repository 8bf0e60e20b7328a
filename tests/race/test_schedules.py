"""Many processes fire the same schedules: exactly one task for each instant."""

from collections import Counter
from datetime import timedelta

from app.queue.fire import fire_due_schedules
from app.queue.schedules import read_schedule, save_schedule
from app.queue.tasks import list_tasks
from tests.race.test_many_workers import WORKERS, run_at_once
from tests.support.factories import Queue


def test_every_instant_has_one_task_however_many_fire_it(queue, open_database, clock):
    queue.register()
    overlaps = ("queue", "queue", "skip", "replace")
    rows = [
        queue.database.write(
            lambda tx, number=number, overlap=overlap: save_schedule(
                tx, name=f"s{number}", type="work", interval_seconds=60, overlap=overlap, catch_up="all"
            )
        )[0]
        for number, overlap in enumerate(overlaps)
    ]
    for _ in range(4):
        clock.advance(seconds=300)

        def work():
            mine = Queue(open_database())
            for _ in range(4):
                mine.do(fire_due_schedules)

        run_at_once([work] * WORKERS)
    while queue.do(fire_due_schedules):
        pass
    tasks = queue.do(list_tasks, limit=1000)
    by_instant = Counter((task["extras"]["schedule_id"], task["extras"]["scheduled_for"]) for task in tasks)
    assert set(by_instant.values()) == {1}
    by_schedule = Counter(schedule_id for schedule_id, _ in by_instant)
    assert [by_schedule[row["id"]] for row in rows] == [20, 20, 1, 4]
    for row in rows:
        after = queue.do(read_schedule, row["id"])
        assert after["created_count"] == by_schedule[row["id"]]
        assert after["created_count"] + after["skipped_count"] == 20
        assert after["next_at"] == clock.instant + timedelta(seconds=60)


def test_saving_one_name_at_once_makes_one_schedule(queue, open_database):
    queue.register()
    saved = []

    def work():
        # With clocks that go: what is created at the very instant of a rerun counts as its own.
        mine = open_database(clock=None)
        saved.append(mine.write(lambda tx: save_schedule(tx, name="same", type="work", interval_seconds=60)))

    run_at_once([work] * WORKERS)
    assert len({row["id"] for row, _ in saved}) == 1
    assert [is_new for _, is_new in saved].count(True) == 1
