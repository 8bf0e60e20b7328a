"""Schedules: saved, changed, listed, deleted, previewed."""

from datetime import timedelta

import pytest

from app.errors import (
    InvalidParameters,
    InvalidSchedule,
    ScheduleNotFound,
    TaskTypeInactive,
    TaskTypeNotFound,
)
from app.queue.audit import Actor, list_audit
from app.queue.schedules import (
    change_schedule,
    delete_schedule,
    list_schedules,
    preview_schedule,
    read_schedule,
    save_schedule,
)

NEEDS_PATH = {"type": "object", "required": ["path"]}


@pytest.fixture
def save(queue):
    """Save a schedule of the type `work`, with only what the test is about."""
    queue.register()

    def save_it(name="nightly", **given):
        rule = {} if given.keys() & {"cron", "interval_seconds"} else {"cron": "0 3 * * *"}
        return queue.database.write(lambda tx: save_schedule(tx, name=name, **{"type": "work", **rule, **given}))

    return save_it


def _change(queue, schedule_id, **given):
    return queue.database.write(lambda tx: change_schedule(tx, schedule_id, given))


def test_a_new_schedule_waits_for_its_next_instant(queue, save, clock):
    row, is_new = save()
    assert is_new
    assert row["next_at"] == row["due_at"] == clock.instant.replace(day=2, hour=3)
    read = queue.do(read_schedule, row["id"])
    assert read == row
    assert (read["overlap"], read["catch_up"], read["timezone"], read["extras"]) == ("skip", "one", "UTC", {})


def test_saving_the_same_again_changes_nothing(queue, save, clock):
    given = {"interval_seconds": 60, "params": {"a": 1}, "tags": ["x"], "starts_at": clock.instant, "jitter_seconds": 9}
    first, _ = save(**given)
    clock.advance(seconds=90)
    again, is_new = save(name="  NIGHTLY".strip().lower(), **given)
    assert not is_new
    assert again == first


def test_a_changed_name_is_the_same_schedule_in_another_case(queue, save, clock):
    first, _ = save(name="Straße")
    clock.advance(seconds=1)
    again, is_new = save(name="STRASSE")
    assert not is_new
    assert (again["id"], again["name"], again["next_at"]) == (first["id"], "STRASSE", first["next_at"])


def test_what_is_left_out_stays_and_one_rule_replaces_the_other(queue, save, clock):
    first, _ = save(tags=["a"], metadata={"b": 1}, priority=5, is_paused=True)
    clock.advance(seconds=1)
    again, _ = save(interval_seconds=60, tags=[])
    assert (again["cron"], again["interval_seconds"]) == (None, 60)
    assert (again["extras"], again["priority"], again["is_paused"]) == ({"metadata": {"b": 1}}, 5, True)
    assert again["next_at"] is None
    assert queue.do(read_schedule, first["id"]) == again


def test_values_that_python_calls_equal_are_still_changes(queue, save, clock):
    row, _ = save(params={"a": 1})
    clock.advance(seconds=1)
    _change(queue, row["id"], params={"a": True})
    assert queue.do(read_schedule, row["id"])["params"]["a"] is True


def test_a_change_of_anything_but_the_timetable_leaves_the_next_instant_alone(queue, save, clock):
    row, _ = save(interval_seconds=3600)
    clock.advance(seconds=4000)
    changed = _change(queue, row["id"], priority=3, overlap="queue", catch_up="all", params={"x": 1})
    assert changed["next_at"] == row["next_at"] < clock.instant
    assert changed["updated_at"] == clock.instant


def test_a_new_timetable_begins_now(queue, save, clock):
    row, _ = save(interval_seconds=3600)
    clock.advance(seconds=4000)
    changed = _change(queue, row["id"], interval_seconds=600)
    assert changed["next_at"] == row["created_at"] + timedelta(seconds=4200)


def test_a_pause_has_no_next_instant_and_its_end_catches_up_nothing(queue, save, clock):
    row, _ = save(interval_seconds=3600, catch_up="all")
    paused = _change(queue, row["id"], is_paused=True)
    assert (paused["next_at"], paused["due_at"]) == (None, None)
    clock.advance(seconds=86400)
    assert _change(queue, row["id"], is_paused=False)["next_at"] == clock.instant + timedelta(seconds=3600)


def test_jitter_is_the_same_every_time_and_ends_before_the_next_instant(queue, save, clock):
    row, _ = save(interval_seconds=60, jitter_seconds=3600)
    assert row["next_at"] < row["due_at"] < row["next_at"] + timedelta(seconds=60)
    other, _ = save(name="other", interval_seconds=60, jitter_seconds=3600)
    assert other["due_at"] != row["due_at"]
    without = _change(queue, row["id"], jitter_seconds=0)
    assert (without["next_at"], without["due_at"]) == (row["next_at"], row["next_at"])
    assert _change(queue, row["id"], jitter_seconds=3600)["due_at"] == row["due_at"]


def test_parameters_and_the_type_are_checked_when_they_are_saved(queue, save, clock):
    queue.register("strict", param_schema=NEEDS_PATH)
    queue.register("off", is_active=False)
    for kind, error in (("strict", InvalidParameters), ("off", TaskTypeInactive), ("gone", TaskTypeNotFound)):
        with pytest.raises(error):
            save(type=kind)
    assert queue.do(list_schedules, limit=10) == ([], None)
    row, _ = save(type="strict", params={"path": "a"})
    with pytest.raises(InvalidParameters):
        _change(queue, row["id"], params={})
    with pytest.raises(InvalidParameters):
        save(type="strict", params={})
    assert queue.do(read_schedule, row["id"])["params"] == {"path": "a"}


def test_a_schedule_whose_type_was_switched_off_can_still_be_paused(queue, save, clock):
    row, _ = save()
    queue.register(is_active=False)
    clock.advance(seconds=1)
    assert _change(queue, row["id"], is_paused=True)["is_paused"]
    assert not save()[1]


def test_an_impossible_timetable_is_refused_and_changes_nothing(queue, save, clock):
    row, _ = save()
    for given in ({"cron": "0 0 30 2 *"}, {"timezone": "Mars/Base"}, {"ends_at": clock.instant}):
        with pytest.raises(InvalidSchedule):
            _change(queue, row["id"], **given)
        with pytest.raises(InvalidSchedule):
            save("another", **given)
    assert queue.do(read_schedule, row["id"]) == row


def test_the_same_again_is_no_error_after_the_end(queue, save, clock):
    given = {"interval_seconds": 60, "ends_at": clock.instant + timedelta(seconds=100)}
    first, _ = save(**given)
    clock.advance(seconds=1000)
    assert save(**given) == (first, False)


def test_a_schedule_that_is_not_there_is_not_found(queue):
    for verb in (read_schedule, delete_schedule):
        with pytest.raises(ScheduleNotFound):
            queue.do(verb, 4711)
    with pytest.raises(ScheduleNotFound):
        _change(queue, 4711, is_paused=True)


def test_schedules_are_listed_in_pages_and_by_type(queue, save):
    queue.register("other")
    made = [save(f"s{number}", type="work" if number % 2 else "other")[0]["id"] for number in range(5)]
    seen, below = [], None
    while True:
        page, below = queue.do(list_schedules, limit=2, below_id=below)
        seen += [row["id"] for row in page]
        if below is None:
            break
    assert seen == made[::-1]
    page, _ = queue.do(list_schedules, limit=10, type_name="WORK")
    assert [row["name"] for row in page] == ["s3", "s1"]
    assert queue.do(list_schedules, limit=10, type_name="nothing") == ([], None)


def test_who_saved_changed_and_deleted_a_schedule_is_written_down(queue, save, clock):
    ann = Actor(7, "ann")
    row, _ = save(params={"a": 1}, actor=ann)
    clock.advance(seconds=1)
    save(params={"a": 1}, actor=ann)
    save(params={"a": True}, priority=2, actor=ann)
    queue.database.write(lambda tx: change_schedule(tx, row["id"], {"cron": "0 4 * * *", "priority": 2}, ann))
    queue.database.write(lambda tx: change_schedule(tx, row["id"], {}, ann))
    queue.database.write(lambda tx: delete_schedule(tx, row["id"], ann))
    entries = queue.do(list_audit, limit=10)[0][::-1]
    assert {(entry["actor"], entry["subject"]) for entry in entries} == {("ann", f"schedules/{row['id']}")}
    assert [(entry["action"], entry["details"]) for entry in entries] == [
        ("save_schedule", {"name": "nightly", "type": "work", "cron": "0 3 * * *"}),
        ("save_schedule", {"params": "changed", "priority": {"old": 0, "new": 2}}),
        ("change_schedule", {"cron": {"old": "0 3 * * *", "new": "0 4 * * *"}}),
        ("delete_schedule", {"name": "nightly"}),
    ]


def test_a_preview_saves_nothing_and_refuses_what_saving_refuses(queue, save, clock):
    _, instants = queue.do(preview_schedule, count=3, cron="0 3 * * *", timezone="Europe/Berlin")
    assert [instant.isoformat() for instant in instants] == [f"2026-01-0{day}T02:00:00+00:00" for day in (2, 3, 4)]
    _, instants = queue.do(preview_schedule, count=100, interval_seconds=60, ends_at=clock.instant + timedelta(hours=1))
    assert len(instants) == 60
    with pytest.raises(InvalidSchedule):
        queue.do(preview_schedule, count=1, cron="0 0 31 6 *")
    queue.register("strict", param_schema=NEEDS_PATH)
    with pytest.raises(InvalidParameters):
        queue.do(preview_schedule, count=1, type="strict", cron="* * * * *")
    assert queue.do(list_schedules, limit=10) == ([], None)
