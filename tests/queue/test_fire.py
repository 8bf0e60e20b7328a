"""Fire: schedules become tasks, one for each instant, after any downtime, whatever the previous task does."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError

from app.errors import DatabaseUnavailable, TryAgain
from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.fire import TASKS, fire_due_schedules
from app.queue.schedules import change_schedule, delete_schedule, read_schedule, save_schedule
from app.queue.tasks import list_tasks, read_task
from app.storage.models import schedules, task_labels
from tests.support.faults import full_disk

MINUTE, HOUR = 60, 3600


@pytest.fixture
def kind(queue):
    """The type `work`."""
    return queue.register()


@pytest.fixture
def save(queue, kind):
    """Save a schedule of the type `work`, every minute unless the test says otherwise."""

    def save_it(name="often", **given):
        given = {"type": "work", **({} if "cron" in given else {"interval_seconds": MINUTE}), **given}
        return queue.database.write(lambda tx: save_schedule(tx, name=name, **given))[0]

    return save_it


def fire(queue) -> None:
    """Do all that is due, as housekeeping does it."""
    while queue.do(fire_due_schedules):
        pass


def made(queue) -> list:
    """The tasks there are, oldest first."""
    return queue.do(list_tasks, limit=1000)[::-1]


def instants(queue) -> list[str]:
    """The instants for which there is a task, oldest first."""
    return [task["extras"]["scheduled_for"] for task in made(queue)]


def test_nothing_is_fired_before_its_time(queue, save, clock):
    save()
    clock.advance(seconds=59.9)
    assert queue.do(fire_due_schedules) == 0
    clock.advance(seconds=0.1)
    assert queue.do(fire_due_schedules) == 2
    assert queue.do(fire_due_schedules) == 0


def test_a_task_knows_its_schedule_and_its_instant(queue, save, clock):
    row = save(params={"path": "a"}, priority=7, tags=["nightly"], metadata={"customer": 42})
    clock.advance(seconds=61)
    fire(queue)
    (task,) = made(queue)
    assert task["extras"] == {
        "tags": ["nightly"],
        "metadata": {"customer": 42},
        "schedule_id": row["id"],
        "scheduled_for": "2026-01-01T12:01:00.000Z",
    }
    assert (task["status"], task["priority"], task["available_at"]) == (TaskStatus.PENDING, 7, clock.instant)
    assert queue.do(read_task, task["id"])["params"] == {"path": "a"}
    after = queue.do(read_schedule, row["id"])
    assert (after["last_task_id"], after["created_count"], after["skipped_count"]) == (task["id"], 1, 0)
    assert after["last_at"] == row["next_at"]
    assert after["next_at"] == row["next_at"] + timedelta(seconds=MINUTE)
    assert after["updated_at"] == row["updated_at"]


def test_a_task_is_found_by_its_labels_and_waits_in_the_line_of_its_key(queue, save, clock):
    kind = queue.register(key_max_concurrency=1)
    save(overlap="queue", tags=["nightly"], concurrency_key="tenant-7")
    for _ in range(2):
        clock.advance(seconds=MINUTE)
        fire(queue)
    assert [task["status"] for task in made(queue)] == [TaskStatus.PENDING, TaskStatus.BLOCKED]
    labels = queue.database.read(lambda tx: tx.all(select(task_labels)))
    assert labels == [{"label": "tag:nightly", "task_id": task["id"]} for task in made(queue)]
    assert queue.must_claim(kind)["id"] == made(queue)[0]["id"]


@pytest.mark.parametrize("dedupe", ["unfinished", "forever", "never"])
def test_equal_tasks_of_a_schedule_are_no_duplicates(queue, save, clock, dedupe):
    queue.register(dedupe=dedupe)
    save(overlap="queue", params={"same": 1})
    save("other", overlap="queue", params={"same": 1})
    queue.create(params={"same": 1})
    for _ in range(3):
        clock.advance(seconds=MINUTE)
        fire(queue)
    assert len(made(queue)) == 7


def test_an_interval_does_not_drift_when_it_is_fired_late(queue, save, clock):
    save(overlap="queue")
    for _ in range(3):
        clock.advance(seconds=MINUTE + 1.5)
        fire(queue)
    assert instants(queue) == [f"2026-01-01T12:0{minute}:00.000Z" for minute in (1, 2, 3)]


@pytest.mark.parametrize(
    ("catch_up", "limit", "expected"),
    [
        ("none", 100, []),
        ("one", 100, ["15:00"]),
        ("all", 100, ["13:00", "14:00", "15:00"]),
        ("all", 2, ["14:00", "15:00"]),
    ],
)
def test_what_was_missed_is_caught_up_as_the_policy_says(queue, save, clock, catch_up, limit, expected):
    row = save(interval_seconds=HOUR, catch_up=catch_up, catch_up_limit=limit, overlap="queue")
    clock.advance(seconds=3 * HOUR + 61)
    fire(queue)
    assert instants(queue) == [f"2026-01-01T{at}:00.000Z" for at in expected]
    after = queue.do(read_schedule, row["id"])
    assert (after["created_count"], after["skipped_count"]) == (len(expected), 3 - len(expected))
    assert after["next_at"] == row["created_at"] + timedelta(hours=4)
    assert after["last_at"] == row["created_at"] + timedelta(hours=3)


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [("none", ["15:00"]), ("one", ["15:00"]), ("all", ["13:00", "14:00", "15:00"])],
)
def test_an_instant_that_is_a_minute_late_is_in_time_and_makes_up_for_the_missed(
    queue, save, clock, catch_up, expected
):
    save(interval_seconds=HOUR, catch_up=catch_up, overlap="queue")
    clock.advance(seconds=3 * HOUR + 60)
    fire(queue)
    assert instants(queue) == [f"2026-01-01T{at}:00.000Z" for at in expected]


@pytest.mark.parametrize(("overlap", "expected"), [("queue", 4), ("skip", 1), ("replace", 1)])
def test_several_instants_of_one_minute_are_all_in_time(queue, save, clock, overlap, expected):
    save(interval_seconds=10, catch_up="none", overlap=overlap)
    clock.advance(seconds=45)
    fire(queue)
    assert len(made(queue)) == expected


def test_jitter_does_not_make_an_instant_late(queue, save, clock):
    row = save(interval_seconds=HOUR, jitter_seconds=HOUR, catch_up="none", overlap="queue")
    for number in range(1, 6):
        due_at = queue.do(read_schedule, row["id"])["due_at"]
        clock.advance(seconds=(due_at - clock.instant).total_seconds() - 0.001)
        fire(queue)
        assert len(made(queue)) == number - 1
        clock.advance(seconds=30)
        fire(queue)
        assert len(made(queue)) == number
    assert instants(queue) == [f"2026-01-01T{hour}:00:00.000Z" for hour in range(13, 18)]


def test_with_skip_there_is_one_unfinished_task_at_a_time(queue, save, clock, kind):
    row = save()
    for _ in range(3):
        clock.advance(seconds=MINUTE)
        fire(queue)
    (task,) = made(queue)
    after = queue.do(read_schedule, row["id"])
    assert (after["created_count"], after["skipped_count"], after["last_task_id"]) == (1, 2, task["id"])
    queue.do(cancel_task, task["id"])
    clock.advance(seconds=MINUTE)
    fire(queue)
    assert instants(queue) == ["2026-01-01T12:01:00.000Z", "2026-01-01T12:04:00.000Z"]


def test_with_replace_the_previous_task_is_cancelled_also_while_it_runs(queue, save, clock, kind):
    row = save(overlap="replace", catch_up="all")
    clock.advance(seconds=MINUTE)
    fire(queue)
    first = queue.must_claim(kind)
    clock.advance(seconds=5 * MINUTE)
    fire(queue)
    statuses = {task["id"]: task["status"] for task in made(queue)}
    assert list(statuses.values()) == [TaskStatus.CANCELLED, TaskStatus.PENDING]
    assert next(iter(statuses)) == first["id"]
    after = queue.do(read_schedule, row["id"])
    assert (after["created_count"], after["skipped_count"]) == (2, 4)
    clock.advance(seconds=MINUTE)
    queue.do(cancel_task, after["last_task_id"])
    fire(queue)
    assert len(made(queue)) == 3


def test_a_replacement_that_is_refused_leaves_the_previous_task_alone(queue, save, clock):
    save(overlap="replace")
    clock.advance(seconds=MINUTE)
    fire(queue)
    queue.register(is_active=False)
    clock.advance(seconds=MINUTE)
    fire(queue)
    assert [task["status"] for task in made(queue)] == [TaskStatus.PENDING]


def test_what_does_not_fit_its_type_any_more_is_skipped_with_the_reason_until_it_does(queue, save, clock):
    row = save(overlap="queue")
    for changes, error in (
        ({"param_schema": {"type": "object", "required": ["path"]}}, "Parameter validation failed"),
        ({"is_active": False}, "Task type is not active"),
    ):
        queue.register(**changes)
        clock.advance(seconds=MINUTE)
        fire(queue)
        assert queue.do(read_schedule, row["id"])["error_message"].startswith(error)
    assert made(queue) == []
    queue.register(is_active=True)
    clock.advance(seconds=MINUTE)
    fire(queue)
    after = queue.do(read_schedule, row["id"])
    assert (after["created_count"], after["skipped_count"], after["error_message"]) == (1, 2, None)
    assert instants(queue) == ["2026-01-01T12:03:00.000Z"]


def test_a_broken_schedule_waits_and_does_not_stop_the_others(queue, save, clock):
    broken = [save(f"broken {number}") for number in range(25)]
    whole = save("whole")
    wrong = {"interval_seconds": None, "cron": "no cron at all", "timezone": "Mars/Base"}
    ids = [row["id"] for row in broken]
    queue.database.write(lambda tx: tx.execute(update(schedules).where(schedules.c.id.in_(ids)).values(**wrong)))
    clock.advance(seconds=MINUTE)
    fire(queue)
    assert [task["extras"]["schedule_id"] for task in made(queue)] == [whole["id"]]
    first = queue.do(read_schedule, broken[0]["id"])
    assert first["error_message"].startswith("timezone: ")
    assert first["due_at"] > clock.instant
    assert first["next_at"] == broken[0]["next_at"]
    queue.database.write(lambda tx: change_schedule(tx, broken[0]["id"], {"interval_seconds": 30, "timezone": "UTC"}))
    clock.advance(seconds=30)
    fire(queue)
    assert len(made(queue)) == 2


def test_a_schedule_that_cannot_be_fired_is_counted_and_those_behind_it_are_fired_at_once(queue, save, clock):
    rows = []
    for name in ("first", "broken", "last"):
        rows.append(save(name))
        clock.advance(seconds=1)
    wrong = {"interval_seconds": None, "cron": "no cron at all"}
    queue.database.write(
        lambda tx: tx.execute(update(schedules).where(schedules.c.id == rows[1]["id"]).values(**wrong))
    )
    clock.advance(seconds=MINUTE)
    # Two schedules with a task each, and one that is put off.
    assert queue.do(fire_due_schedules) == 2 * 2 + 1


def test_a_schedule_that_has_to_wait_does_not_stop_those_behind_it(queue, save, clock, monkeypatch):
    from app.queue import fire as module

    create = module._create_tasks
    rows = []
    for name in ("busy", "free"):
        rows.append(save(name))
        clock.advance(seconds=1)

    def refuse_one(tx, schedule, instants):
        if schedule["id"] == rows[0]["id"]:
            raise TryAgain(retry_after_seconds=1)
        return create(tx, schedule, instants)

    monkeypatch.setattr(module, "_create_tasks", refuse_one)
    clock.advance(seconds=MINUTE)
    assert queue.do(fire_due_schedules) == 2
    assert [task["extras"]["schedule_id"] for task in made(queue)] == [rows[1]["id"]]


def test_a_slice_has_no_more_tasks_than_it_may_however_many_schedules_ask_for_them(queue, save, clock):
    for number in range(3):
        save(f"{number}", catch_up="all", overlap="queue")
    clock.advance(seconds=60 * MINUTE)
    # 60 of the first, 40 of the second, and the third is left for the next time.
    assert [queue.do(fire_due_schedules) for _ in range(3)] == [102, 82, 0]


def test_a_slice_passes_over_no_more_instants_than_it_may(queue, save, clock, monkeypatch):
    monkeypatch.setattr("app.queue.fire.PASSED_OVER", 6)
    for number in range(3):
        save(f"{number}", interval_seconds=HOUR, catch_up="none")
    clock.advance(seconds=3 * HOUR + 61)
    assert [queue.do(fire_due_schedules) for _ in range(3)] == [2, 1, 0]


def test_an_unforeseen_error_is_logged_and_stops_only_its_schedule(queue, save, clock, monkeypatch, caplog):
    bad, good = save("bad"), save("good")
    from app.queue import fire as module

    plan = module.plan_firing

    def fail(schedule, now, most):
        if schedule["id"] == bad["id"]:
            raise RuntimeError("secret of the server")
        return plan(schedule, now, most)

    monkeypatch.setattr(module, "plan_firing", fail)
    clock.advance(seconds=MINUTE)
    fire(queue)
    assert [task["extras"]["schedule_id"] for task in made(queue)] == [good["id"]]
    assert "secret" not in queue.do(read_schedule, bad["id"])["error_message"]
    assert "secret of the server" in caplog.text


def test_a_full_disk_puts_no_schedule_off(queue, database, save, clock, database_kind):
    if database_kind != "sqlite":
        pytest.skip("the disk of a server is not ours to fill")
    save(params={"large": "x" * 50_000})
    clock.advance(seconds=MINUTE)
    with full_disk(database), pytest.raises(DatabaseUnavailable):
        fire(queue)
    fire(queue)
    assert instants(queue) == ["2026-01-01T12:01:00.000Z"]


def test_a_schedule_ends_with_its_end(queue, save, clock):
    row = save(ends_at=clock.instant + timedelta(seconds=2 * MINUTE), overlap="queue")
    for _ in range(4):
        clock.advance(seconds=MINUTE)
        fire(queue)
    assert len(made(queue)) == 2
    after = queue.do(read_schedule, row["id"])
    assert (after["next_at"], after["due_at"]) == (None, None)


def test_a_deleted_schedule_fires_no_more_and_its_tasks_stay(queue, save, clock):
    row = save()
    clock.advance(seconds=MINUTE)
    fire(queue)
    queue.database.write(lambda tx: delete_schedule(tx, row["id"]))
    clock.advance(seconds=MINUTE)
    fire(queue)
    assert len(made(queue)) == 1


def test_a_paused_schedule_fires_nothing_and_catches_up_nothing(queue, save, clock):
    row = save(catch_up="all", overlap="queue")
    queue.database.write(lambda tx: change_schedule(tx, row["id"], {"is_paused": True}))
    clock.advance(seconds=10 * MINUTE)
    fire(queue)
    queue.database.write(lambda tx: change_schedule(tx, row["id"], {"is_paused": False}))
    fire(queue)
    assert made(queue) == []
    clock.advance(seconds=MINUTE)
    fire(queue)
    assert instants(queue) == ["2026-01-01T12:11:00.000Z"]


def test_a_year_of_minutes_is_caught_up_in_slices_and_costs_little(queue, save, clock):
    rows = [
        save(f"{number}", cron="* * * * *", timezone="Europe/Berlin", overlap="queue", **policy)
        for number, policy in enumerate(
            ({"catch_up": "none"}, {"catch_up": "one"}, {"catch_up": "all", "catch_up_limit": 250})
        )
    ]
    clock.advance(seconds=365 * 86400 + 30)
    began = time.process_time()
    slices = []
    while done := queue.do(fire_due_schedules):
        slices.append(done)
    assert time.process_time() - began < 10
    assert max(slices) <= TASKS + len(rows)
    counts = [queue.do(read_schedule, row["id"])["created_count"] for row in rows]
    assert counts == [1, 1, 251]
    assert len(set(instants(queue))) == 251
    assert all(queue.do(read_schedule, row["id"])["skipped_count"] <= 1100 for row in rows)


def test_no_more_than_a_slice_is_done_at_once(queue, save, clock):
    for number in range(45):
        save(f"s{number}")
    clock.advance(seconds=MINUTE)
    assert [queue.do(fire_due_schedules) for _ in range(4)] == [40, 40, 10, 0]


def test_an_instant_that_is_none_any_more_makes_no_task(queue, save, clock):
    """The rules of a zone change now and then, and so the instants that were computed before."""
    row = save(cron="0 13 * * *")
    was = {"next_at": clock.instant, "due_at": clock.instant}
    queue.database.write(lambda tx: tx.execute(update(schedules).values(**was)))
    fire(queue)
    after = queue.do(read_schedule, row["id"])
    assert made(queue) == []
    assert (after["next_at"], after["last_at"]) == (row["next_at"], None)


def test_a_change_in_the_moment_of_firing_is_obeyed(queue, save, clock, open_database, database_kind):
    if database_kind == "sqlite":
        pytest.skip("one writer at a time")
    row = save(overlap="queue")
    other = open_database()
    clock.advance(seconds=MINUTE)
    changes = iter([{"params": {"changed": True}}])

    def change_it_first(_connection, _cursor, statement, *_rest):
        # Right before the schedule that has been read is moved on, somebody changes it.
        if statement.startswith("START") and (change := next(changes, None)):
            other.write(lambda tx: change_schedule(tx, row["id"], change))

    event.listen(queue.database.engine, "before_cursor_execute", change_it_first)
    assert queue.do(fire_due_schedules) == 0
    fire(queue)
    (task,) = made(queue)
    assert queue.do(read_task, task["id"])["params"] == {"changed": True}


class _Lost(Exception):
    args = (2013, "Lost connection to server during query")


def _lose_the_answer(database, part):
    lost = []

    def lose(_connection, _cursor, statement, *_rest):
        if part in statement and not lost:
            lost.append(statement)
            raise OperationalError(statement, {}, _Lost())

    event.listen(database.engine, "after_cursor_execute", lose)
    return lost


@pytest.mark.parametrize("part", ["UPDATE schedules SET next_at", "INSERT INTO tasks", "skipped_count=", "COMMIT"])
def test_a_firing_whose_answer_was_lost_is_done_once(queue, save, clock, database_kind, part):
    if database_kind == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")
    row = save(overlap="queue")
    clock.advance(seconds=MINUTE)
    lost = _lose_the_answer(queue.database, part)
    queue.do(fire_due_schedules)
    assert lost
    fire(queue)
    assert instants(queue) == ["2026-01-01T12:01:00.000Z"]
    assert queue.do(read_schedule, row["id"])["created_count"] == 1


def test_an_instant_that_has_its_task_never_gets_another(queue, save, clock, kind):
    """The second guard: should the first ever fail, the task's own hash holds, also when that task is finished."""
    row = save(overlap="queue")
    clock.advance(seconds=MINUTE)
    fire(queue)
    queue.do(cancel_task, made(queue)[0]["id"])
    back = {"next_at": row["next_at"], "due_at": row["due_at"]}
    queue.database.write(lambda tx: tx.execute(update(schedules).values(**back)))
    fire(queue)
    assert len(made(queue)) == 1


def test_saving_and_deleting_whose_answer_was_lost_are_done_once(queue, save, clock, database_kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")
    lost = _lose_the_answer(queue.database, "COMMIT")
    given = {"type": "work", "interval_seconds": 60}
    row, is_new = queue.database.write(lambda tx: save_schedule(tx, name="a", **given))
    assert lost and is_new
    lost = _lose_the_answer(queue.database, "COMMIT")
    queue.database.write(lambda tx: delete_schedule(tx, row["id"]))
    assert lost
