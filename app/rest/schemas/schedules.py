"""Schedules on the wire."""

import re
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validate

from app.queue.schedules import CATCH_UPS, MAX_CATCH_UP, OVERLAPS
from app.rest.fields import Flag, Instant, Int, JsonObject, LongText, Name, QueryInt, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.rest.schemas.creation import NewTask
from app.rest.schemas.tasks import MAX_PRIORITY
from app.storage.columns import MAX_ID

_YEAR = 366 * 86400
# What each of its tasks is given.
_OF_TASKS = NewTask._declared_fields
_PART = "[0-9A-Za-z*,/#-]+"
MAX_PREVIEW = 100


class Form(Text):
    """A text of a form that the documentation shows as a pattern."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text is not None and re.fullmatch(self.pattern, text, re.ASCII) is None:
            raise ValidationError(f"Must look like `{self.metadata['example']}`. {self.metadata['description']}")
        return text


def _choice(meaning: str, choices: tuple[str, ...], example: str, **options: Any) -> fields.String:
    metadata = {"description": meaning, "example": example}
    return fields.String(validate=validate.OneOf(choices), metadata=metadata, **options)


class ScheduleFields(RequestSchema):
    """What a schedule may say of itself."""

    #: Whether a cron expression or an interval must be there.
    needs_rule: ClassVar[bool] = False
    params = JsonObject("The parameters of each of its tasks.", {"path": "README.md"})
    priority = Int("The priority of each of its tasks.", 0, low=-MAX_PRIORITY, high=MAX_PRIORITY)
    tags = _OF_TASKS["tags"]
    metadata = _OF_TASKS["metadata"]
    concurrency_key = _OF_TASKS["concurrency_key"]
    cron = Form(
        "Minute, hour, day of month, month, day of week; not together with `interval_seconds`.",
        "30 9 * * MON-FRI",
        low=1,
        high=255,
        pattern=rf"^ *{_PART}( +{_PART}){{4}} *$",
    )
    interval_seconds = Int(
        "Every so many seconds, counted from `starts_at`, or else from the creation.", 3600, low=1, high=_YEAR
    )
    timezone = Form(
        "The zone of the cron expression, by its IANA name.",
        "Europe/Berlin",
        low=1,
        high=64,
        pattern=r"^[A-Za-z0-9_+/-]+$",
    )
    starts_at = Instant("Nothing is due before.", allow_none=True)
    ends_at = Instant("Nothing is due after.", "2099-12-31T00:00:00.000Z", allow_none=True)
    jitter_seconds = Int(
        "Each task is created up to so many seconds later, each time by another part of them.", 30, low=0, high=3600
    )
    overlap = _choice(
        "What happens while the previous task is not finished: the new one is left out, or made all the same, or "
        "replaces the previous one, which is cancelled.",
        OVERLAPS,
        "skip",
    )
    catch_up = _choice(
        "What becomes of instants that were missed because nobody called the server: nothing, one task for the "
        "latest, or one for each.",
        CATCH_UPS,
        "one",
    )
    catch_up_limit = Int("With `all`, only so many of the latest.", 100, low=1, high=MAX_CATCH_UP)
    is_paused = Flag("Whether nothing is due for now; what falls into the pause is not caught up.", False)

    def check(self, loaded: dict[str, Any], given: dict[str, Any]) -> None:
        """A schedule has one rule."""
        if "cron" in given and "interval_seconds" in given:
            raise ValidationError("Give `cron` or `interval_seconds`, not both.", "interval_seconds")
        if self.needs_rule and "cron" not in given and "interval_seconds" not in given:
            raise ValidationError("Missing data for required field.", "cron")


_EXAMPLE: dict[str, Any] = {
    "name": "morning report",
    "type": "checksum",
    "params": {"path": "README.md"},
    "cron": "30 9 * * MON-FRI",
    "timezone": "Europe/Berlin",
}
_ONE_RULE: dict[str, Any] = {"oneOf": [{"required": ["cron"]}, {"required": ["interval_seconds"]}]}


class NewSchedule(ScheduleFields):
    """A schedule as its owner declares it; what is left out gets its default on a new schedule."""

    example: ClassVar[dict[str, Any] | None] = _EXAMPLE
    rules: ClassVar[dict[str, Any]] = _ONE_RULE
    needs_rule: ClassVar[bool] = True
    name = Name("Unique, without regard to case.", "morning report", required=True)
    type = Name("The name of the task type of its tasks.", "checksum", required=True)
    params = JsonObject(
        "The parameters of each of its tasks; must fit the type's `param_schema`.",
        {"path": "README.md"},
        required=True,
    )


class ScheduleChange(ScheduleFields):
    """What is to be changed of a schedule; what is left out stays."""

    example: ClassVar[dict[str, Any] | None] = {"is_paused": True}
    rules: ClassVar[dict[str, Any]] = {"not": {"required": ["cron", "interval_seconds"]}}
    type = Name("The name of the task type of its tasks.", "checksum")


class SchedulePreview(ScheduleFields):
    """A schedule that is not saved; with `type`, its `params` are checked too."""

    example: ClassVar[dict[str, Any] | None] = {**_EXAMPLE, "count": 3}
    rules: ClassVar[dict[str, Any]] = _ONE_RULE
    needs_rule: ClassVar[bool] = True
    name = Name("Its name, which makes no difference.", "morning report")
    type = Name("The name of the task type of its tasks.", "checksum")
    count = Int("How many instants to show.", 10, low=1, high=MAX_PREVIEW, load_default=10)


class ScheduleQuery(RequestSchema):
    """Which schedules to list."""

    type = Text("Only those that create tasks of this type.", "checksum")
    cursor = Text("`next_cursor` of the page before.", "", high=500)
    limit = QueryInt("How many to return at most.", 50, low=1, high=1000, load_default=50)


class Schedule(AnswerSchema):
    """A schedule."""

    id = Int("The number of the schedule.", 2, low=1, high=MAX_ID, required=True)
    name = Name("Its name.", "morning report", required=True)
    type = Name("The name of the task type of its tasks.", "checksum", required=True)
    type_id = Int("The number of that task type.", 1, low=1, high=MAX_ID, required=True)
    params = JsonObject("The parameters of each of its tasks.", {"path": "README.md"}, required=True)
    priority = Int("The priority of each of its tasks.", 0, low=-MAX_PRIORITY, high=MAX_PRIORITY, required=True)
    tags = fields.List(
        Text("A tag.", "nightly"),
        required=True,
        metadata={"description": "The tags of each of its tasks.", "example": []},
    )
    metadata = JsonObject("The notes of each of its tasks.", {"customer": "42"}, required=True)
    concurrency_key = Text("The concurrency key of each of its tasks.", "tenant-7", required=True, allow_none=True)
    cron = Text("Its cron expression, if it has one.", "30 9 * * MON-FRI", required=True, allow_none=True)
    interval_seconds = Int("Its interval, if it has one.", 3600, low=1, high=_YEAR, required=True, allow_none=True)
    timezone = Text("The zone of the cron expression.", "Europe/Berlin", required=True)
    starts_at = Instant("Nothing is due before.", required=True, allow_none=True)
    ends_at = Instant("Nothing is due after.", required=True, allow_none=True)
    jitter_seconds = Int("How much later each task is created at most.", 0, low=0, high=3600, required=True)
    overlap = _choice("What happens while the previous task is not finished.", OVERLAPS, "skip", required=True)
    catch_up = _choice("What becomes of instants that were missed.", CATCH_UPS, "one", required=True)
    catch_up_limit = Int("With `all`, only so many of the latest.", 100, low=1, high=MAX_CATCH_UP, required=True)
    is_paused = Flag("Whether nothing is due for now.", False, required=True)
    next_at = Instant(
        "The next instant that is due; null while it is paused, and after the last one.",
        required=True,
        allow_none=True,
    )
    due_at = Instant("When the next task is created: the jitter later.", required=True, allow_none=True)
    last_at = Instant("The latest instant that was seen to.", required=True, allow_none=True)
    last_task_id = Int("The latest of its tasks.", 17, low=1, high=MAX_ID, required=True, allow_none=True)
    created_count = Int("How many tasks it has created.", 42, low=0, high=MAX_ID, required=True)
    skipped_count = Int(
        "How many instants made no task; of one downtime about a thousand are counted at most.",
        3,
        low=0,
        high=MAX_ID,
        required=True,
    )
    error_message = LongText(
        "Why its latest instant made no task, if its tasks are refused.",
        "Task type is not active",
        required=True,
        allow_none=True,
    )
    created_at = Instant("When it was created.", required=True)
    updated_at = Instant("When it was last changed by somebody.", required=True)


class SavedSchedule(Schedule):
    """A schedule, and what saving it did."""

    created = Flag("Whether the schedule is new.", True, required=True)
    updated = Flag("Whether a schedule of this name was there.", False, required=True)


class ScheduleList(AnswerSchema):
    """A page of schedules, newest first."""

    schedules = fields.List(fields.Nested(Schedule), required=True, metadata={"description": "The schedules."})
    count = Int("How many are on this page.", 1, low=0, high=1000, required=True)
    limit = Int("How many there may be on a page.", 50, low=1, high=1000, required=True)
    next_cursor = Text(
        "`cursor` of the next page; null on the last.", "eyJiZWxvd19pZCI6MTd9", high=500, required=True, allow_none=True
    )


class PreviewedInstant(AnswerSchema):
    """An instant of a schedule."""

    at = Instant("The instant.", "2026-11-23T08:30:00.000Z", required=True)
    local = Text("The same as the clocks of the zone show it.", "2026-11-23T09:30:00+01:00", required=True)


class PreviewedInstants(AnswerSchema):
    """The next instants of a schedule, without its jitter."""

    instants = fields.List(
        fields.Nested(PreviewedInstant), required=True, metadata={"description": "The instants, the earliest first."}
    )
    count = Int("How many these are: fewer than asked for if it ends before.", 1, low=1, high=100, required=True)
    timezone = Text("The zone of `local`.", "Europe/Berlin", required=True)
