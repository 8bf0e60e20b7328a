"""Schedules over HTTP."""

from typing import Any

from app.errors import (
    InvalidCursor,
    InvalidParameters,
    InvalidSchedule,
    ScheduleNotFound,
    TaskTypeInactive,
    TaskTypeNotFound,
    TryAgain,
)
from app.queue.keys import Scope
from app.queue.schedules import (
    change_schedule,
    delete_schedule,
    list_schedules,
    preview_schedule,
    read_schedule,
    save_schedule,
)
from app.rest.contract import Answer, contract
from app.rest.fields import show_instant
from app.rest.paging import make_cursor, read_cursor
from app.rest.representations import show_schedule
from app.rest.schemas import schedules as schemas
from app.web.auth import actor
from app.web.current import database

TAG = "Schedules"
SAVED = {201: "Schedule created successfully", 200: "Schedule updated successfully"}
_REFUSALS = (TaskTypeNotFound, TaskTypeInactive, InvalidParameters, InvalidSchedule)


@contract(
    "save_schedule",
    tag=TAG,
    scope=Scope.PRODUCER,
    body=schemas.NewSchedule,
    answer=schemas.SavedSchedule,
    messages=SAVED,
    errors=(*_REFUSALS, TryAgain),
)
def save(body: dict[str, Any]) -> Answer:
    """Create a schedule, or update the one of that name.

    Saving the same again changes nothing, so a program may do it at every start. What is left out gets its default
    when the schedule is new and stays as it is otherwise.
    """
    row, is_new = database().write(lambda tx: save_schedule(tx, **body, actor=actor()))
    status = 201 if is_new else 200
    return Answer({**show_schedule(row), "created": is_new, "updated": not is_new}, SAVED[status], status)


@contract(
    "preview_schedule",
    tag=TAG,
    scope=Scope.READ,
    body=schemas.SchedulePreview,
    answer=schemas.PreviewedInstants,
    messages={200: "Schedule previewed successfully"},
    errors=_REFUSALS,
)
def preview(body: dict[str, Any]) -> Answer:
    """Show the next instants of a schedule before it is saved.

    An interval without `starts_at` is counted from now, as it would be if the schedule were new. The jitter is left
    out.
    """
    timetable, instants = database().read(lambda tx: preview_schedule(tx, **body))
    shown = [{"at": show_instant(at), "local": timetable.local(at).isoformat(timespec="seconds")} for at in instants]
    data = {"instants": shown, "count": len(shown), "timezone": timetable.timezone}
    return Answer(data, "Schedule previewed successfully")


@contract(
    "list_schedules",
    tag=TAG,
    scope=Scope.READ,
    query=schemas.ScheduleQuery,
    answer=schemas.ScheduleList,
    messages={200: "Schedules retrieved successfully"},
    errors=(InvalidCursor,),
)
def list_all(query: dict[str, Any]) -> Answer:
    """List schedules, newest first."""
    limit = query["limit"]
    below_id = read_cursor(query.get("cursor"))
    page, next_below_id = database().read(
        lambda tx: list_schedules(tx, limit=limit, below_id=below_id, type_name=query.get("type"))
    )
    data = {
        "schedules": [show_schedule(row) for row in page],
        "count": len(page),
        "limit": limit,
        "next_cursor": make_cursor(next_below_id),
    }
    return Answer(data, "Schedules retrieved successfully")


@contract(
    "get_schedule",
    tag=TAG,
    scope=Scope.READ,
    answer=schemas.Schedule,
    messages={200: "Schedule retrieved successfully"},
    errors=(ScheduleNotFound,),
)
def get_schedule(schedule_id: int) -> Answer:
    """Read a schedule."""
    row = database().read(lambda tx: read_schedule(tx, schedule_id))
    return Answer(show_schedule(row), "Schedule retrieved successfully")


@contract(
    "change_schedule",
    tag=TAG,
    scope=Scope.PRODUCER,
    body=schemas.ScheduleChange,
    answer=schemas.Schedule,
    messages={200: "Schedule updated successfully"},
    errors=(ScheduleNotFound, *_REFUSALS),
)
def change(schedule_id: int, body: dict[str, Any]) -> Answer:
    """Change parts of a schedule; what is left out stays.

    `cron` replaces `interval_seconds`, and the other way round. A new timetable, and the end of a pause, begin now:
    what would have been due before is not caught up.
    """
    row = database().write(lambda tx: change_schedule(tx, schedule_id, body, actor()))
    return Answer(show_schedule(row), "Schedule updated successfully")


@contract(
    "delete_schedule",
    tag=TAG,
    scope=Scope.PRODUCER,
    answer=schemas.Schedule,
    messages={200: "Schedule deleted successfully"},
    errors=(ScheduleNotFound,),
)
def delete(schedule_id: int) -> Answer:
    """Delete a schedule; the tasks that it has created stay.

    The answer holds the schedule as it was.
    """
    row = database().read(lambda tx: read_schedule(tx, schedule_id))
    database().write(lambda tx: delete_schedule(tx, schedule_id, actor()))
    return Answer(show_schedule(row), "Schedule deleted successfully")
