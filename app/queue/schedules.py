"""Schedules: rules that create tasks over time; saved, changed, listed, read, deleted."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.errors import ScheduleNotFound, TaskTypeInactive, TryAgain
from app.queue.audit import PROGRAM, Actor, describe_changes, write_audit
from app.queue.pages import cut_page
from app.queue.parameters import check_parameters
from app.queue.task_types import find_type, find_type_by_id, name_key, name_types
from app.queue.timetable import Timetable
from app.storage.columns import to_json
from app.storage.database import Row, Transaction
from app.storage.models import schedules

OVERLAPS = ("skip", "queue", "replace")
CATCH_UPS = ("none", "one", "all")
MAX_CATCH_UP = 1000

#: What a new schedule has where the caller says nothing.
DEFAULTS: dict[str, Any] = {
    "params": {},
    "priority": 0,
    "extras": {},
    "cron": None,
    "timezone": "UTC",
    "interval_seconds": None,
    "starts_at": None,
    "ends_at": None,
    "jitter_seconds": 0,
    "overlap": "skip",
    "catch_up": "one",
    "catch_up_limit": 100,
    "is_paused": False,
}
_EXTRAS = ("tags", "metadata", "concurrency_key")
# A change of these is a new timetable.
_RULE = {"cron", "timezone", "interval_seconds", "starts_at", "ends_at"}
_BY_KEY = select(schedules).where(schedules.c.name_key == bindparam("key"))
_BY_ID = select(schedules).where(schedules.c.id == bindparam("schedule_id"))
_DELETE = delete(schedules).where(schedules.c.id == bindparam("schedule_id"))


def save_schedule(tx: Transaction, *, name: str, actor: Actor = PROGRAM, **given: Any) -> tuple[Row, bool]:
    """Create the schedule, or change the one of that name; return its row and whether it is new.

    What the caller leaves out gets its default on a new schedule and stays as it is on an old one. Raises
    TaskTypeNotFound, TaskTypeInactive, InvalidParameters, InvalidSchedule.
    """
    key = name_key(name)
    found = tx.one(_BY_KEY.with_for_update(), {"key": key})
    if found is None:
        values = _new_row(tx, name, given)
        try:
            schedule_id = tx.insert(insert(schedules), values)
        except IntegrityError:
            # Somebody else has saved the same new name in this very moment.
            found = tx.one(_BY_KEY.with_for_update(), {"key": key})
            if found is None:
                raise TryAgain(retry_after_seconds=1) from None
        else:
            details = {told: value for told, value in given.items() if told in ("type", "cron", "interval_seconds")}
            write_audit(tx, actor, "save_schedule", f"schedules/{schedule_id}", {"name": name, **details})
            return _named(tx, {"id": schedule_id, **values}), True
    # After a lost answer the schedule may be the one that this very request created.
    is_own = tx.is_rerun and found["created_at"] == tx.now
    return _change(tx, found, {"name": name, **given}, actor, "save_schedule"), is_own


def change_schedule(tx: Transaction, schedule_id: int, given: Mapping[str, Any], actor: Actor = PROGRAM) -> Row:
    """Change what is given of a schedule and return its row; raises as `save_schedule`, and ScheduleNotFound."""
    found = tx.one(_BY_ID.with_for_update(), {"schedule_id": schedule_id})
    if found is None:
        raise ScheduleNotFound
    return _change(tx, found, given, actor, "change_schedule")


def read_schedule(tx: Transaction, schedule_id: int) -> Row:
    """Return the row of a schedule with its type's name as `type`; raises ScheduleNotFound."""
    row = tx.one(_BY_ID, {"schedule_id": schedule_id})
    if row is None:
        raise ScheduleNotFound
    return _named(tx, row)


def list_schedules(
    tx: Transaction, *, limit: int, below_id: int | None = None, type_name: str | None = None
) -> tuple[list[Row], int | None]:
    """Return a page of schedules, newest first, and the id below which the next one begins."""
    statement = select(schedules).order_by(schedules.c.id.desc()).limit(limit + 1)
    if below_id is not None:
        statement = statement.where(schedules.c.id < below_id)
    if type_name is not None:
        key = name_key(type_name)
        of_name = [type_id for type_id, known in name_types(tx).items() if name_key(known) == key]
        statement = statement.where(schedules.c.type_id.in_(of_name))
    page, next_below_id = cut_page(tx.all(statement), limit)
    return [_named(tx, row) for row in page], next_below_id


def delete_schedule(tx: Transaction, schedule_id: int, actor: Actor = PROGRAM) -> None:
    """Delete a schedule; its tasks stay. Raises ScheduleNotFound."""
    found = tx.one(_BY_ID.with_for_update(), {"schedule_id": schedule_id})
    if found is None:
        # After a lost answer it may be gone because this very request deleted it.
        if not tx.is_rerun:
            raise ScheduleNotFound
        return
    tx.execute(_DELETE, {"schedule_id": schedule_id})
    write_audit(tx, actor, "delete_schedule", f"schedules/{schedule_id}", {"name": found["name"]})


def preview_schedule(tx: Transaction, *, count: int, **given: Any) -> tuple[Timetable, list[datetime]]:
    """Return the timetable of a schedule that need not exist, and its next instants; raises as `save_schedule`."""
    values = {**DEFAULTS, **{name: given[name] for name in given.keys() & DEFAULTS.keys()}, "created_at": tx.now}
    if "type" in given:
        _check_task(tx, find_type(tx, given["type"]).id, values["params"])
    timetable = timetable_of(values)
    timetable.check(tx.now)
    return timetable, list(islice(timetable.after(tx.now), count))


def timetable_of(schedule: Row) -> Timetable:
    """Return the timetable of a schedule's row; an interval without a start is counted from the creation."""
    return Timetable(
        cron=schedule["cron"],
        interval_seconds=schedule["interval_seconds"],
        timezone=schedule["timezone"],
        anchor=schedule["starts_at"] or schedule["created_at"].replace(microsecond=0),
        starts_at=schedule["starts_at"],
        ends_at=schedule["ends_at"],
    )


def jittered(schedule: Row, instant: datetime, following: datetime | None) -> datetime:
    """Return when an instant is acted on: its jitter later, always the same, and before the following instant."""
    jitter = timedelta(seconds=schedule["jitter_seconds"])
    if following is not None:
        jitter = min(jitter, following - instant)
    # By the name: it is there before the id is, and as unique.
    digest = hashlib.sha256(f"{schedule['name_key']} {instant.isoformat()}".encode()).digest()
    return instant + jitter * (int.from_bytes(digest[:6], "big") / 2**48)


def alarm(schedule: Row, next_at: datetime | None, following: datetime | None) -> Row:
    """Return the columns that say when the schedule is due next."""
    due_at = None if next_at is None else jittered(schedule, next_at, following)
    return {"next_at": next_at, "due_at": due_at}


def _new_row(tx: Transaction, name: str, given: Mapping[str, Any]) -> Row:
    values: Row = {
        **DEFAULTS,
        **_columns(tx, {}, {"name": name, **given}),
        "last_at": None,
        "last_task_id": None,
        "created_count": 0,
        "skipped_count": 0,
        "error_message": None,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    _check_task(tx, values["type_id"], values["params"])
    timetable_of(values).check(tx.now)
    return {**values, **_next_alarm(values, tx.now)}


def _change(tx: Transaction, found: Row, given: Mapping[str, Any], actor: Actor, action: str) -> Row:
    """Change the row, which the transaction holds; what is as it was is not written."""
    changes = {
        name: value
        for name, value in _columns(tx, found, given).items()
        # As text, because to Python 1 and true are equal.
        if value != found[name] or (isinstance(value, dict) and to_json(value) != to_json(found[name]))
    }
    if not changes:
        return _named(tx, found)
    changed = {**found, **changes, "error_message": None, "updated_at": tx.now}
    # An old schedule of a type that is switched off can still be paused.
    if changes.keys() & {"type_id", "params"}:
        _check_task(tx, changed["type_id"], changed["params"])
    if changes.keys() & _RULE:
        timetable_of(changed).check(tx.now)
    if changes.keys() & {*_RULE, "is_paused"}:
        changed.update(_next_alarm(changed, tx.now))
    elif "jitter_seconds" in changes and found["next_at"] is not None:
        following = next(timetable_of(changed).after(found["next_at"]), None)
        changed.update(alarm(changed, found["next_at"], following))
    values = {name: value for name, value in changed.items() if name != "id"}
    tx.execute(update(schedules).where(schedules.c.id == found["id"]).values(**values))
    details = {**dict.fromkeys(changes, "changed"), **describe_changes(found, changes)}
    write_audit(tx, actor, action, f"schedules/{found['id']}", details)
    return _named(tx, changed)


def _columns(tx: Transaction, found: Row, given: Mapping[str, Any]) -> Row:
    """Return what the caller gave as columns: a cron expression replaces an interval, and the other way round."""
    columns = {name: value for name, value in given.items() if name not in ("type", *_EXTRAS)}
    if "name" in given:
        columns["name_key"] = name_key(given["name"])
    if "type" in given:
        columns["type_id"] = find_type(tx, given["type"]).id
    extras = {name: given[name] for name in _EXTRAS if name in given}
    if extras:
        merged = {**found.get("extras", {}), **extras}
        columns["extras"] = {name: value for name, value in merged.items() if value}
    for one, other in (("cron", "interval_seconds"), ("interval_seconds", "cron")):
        if one in given:
            columns[other] = None
    if "cron" in given:
        columns["cron"] = " ".join(given["cron"].split())
    return columns


def _check_task(tx: Transaction, type_id: int, params: dict[str, Any]) -> None:
    task_type = find_type_by_id(tx, type_id)
    if not task_type.is_active:
        raise TaskTypeInactive
    check_parameters(task_type.param_schema, params)


def _next_alarm(schedule: Row, now: datetime) -> Row:
    if schedule["is_paused"]:
        return alarm(schedule, None, None)
    next_at, following = [*islice(timetable_of(schedule).after(now), 2), None, None][:2]
    return alarm(schedule, next_at, following)


def _named(tx: Transaction, row: Row) -> Row:
    return {**row, "type": name_types(tx).get(row["type_id"]) or find_type_by_id(tx, row["type_id"]).name}
