"""Operations on the wire."""

from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validate

from app.lifecycle import UNFINISHED
from app.queue.filters import TaskFilter
from app.queue.operations import KINDS, STATUSES
from app.rest.fields import Flag, Instant, Int, JsonObject, LongText, Name, QueryInt, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.storage.columns import MAX_ID

_MISSING = "Missing data for required field."
_WORDS = [status.word for status in UNFINISHED]
MAX_COUNT = 2**53


class TaskSelection(RequestSchema):
    """Which tasks an operation changes: at least one field of a filter, or `all`, so that nothing means nothing."""

    missing_sentence: ClassVar[str] = "Say which tasks by a filter, or `{field}: true`"
    all = Flag("All of them: needed where no other field says which.", True)

    def check(self, loaded: dict[str, Any], given: dict[str, Any]) -> None:
        """Nothing means nothing; what was given and is wrong is said already."""
        says_all = loaded.get("all", "all" in given)
        if not says_all and not any(name in given for name in self.filters()):
            raise ValidationError(_MISSING, "all")

    @classmethod
    def filters(cls) -> list[str]:
        """Return the names of the fields that say which tasks are meant."""
        return [name for name in cls._declared_fields if name not in ("all", "extra_attempts")]

    @classmethod
    def which(cls, body: dict[str, Any]) -> TaskFilter:
        """Return the filter that a checked body holds."""
        given: dict[str, Any] = {name: body[name] for name in cls.filters() if name in body}
        for name in given.keys() & {"ids", "statuses"}:
            given[name] = tuple(given[name])
        return TaskFilter(**given)


def needs_a_filter(*names: str) -> dict[str, Any]:
    """Return the rule that at least one of these fields is given, or `all`."""
    is_all = {"required": ["all"], "properties": {"all": {"enum": [True, 1, "1", "true"]}}}
    return {"anyOf": [{"required": [name]} for name in names] + [is_all]}


class CancelledTasks(TaskSelection):
    """Which tasks to cancel."""

    example: ClassVar[dict[str, Any] | None] = {"type": "checksum", "created_before": "2026-11-23T12:00:00.000Z"}
    rules: ClassVar[dict[str, Any]] = needs_a_filter(
        "type", "statuses", "tag", "created_from", "created_before", "workflow_id"
    )
    type = Name("Only tasks of this type; `%` makes it a pattern, `_` then stands for one character.", "checksum")
    statuses = fields.List(
        fields.String(validate=validate.OneOf(_WORDS)),
        validate=validate.Length(1, len(_WORDS)),
        metadata={
            "description": "Only tasks of these statuses; of all unfinished ones otherwise.",
            "example": ["pending"],
        },
    )
    tag = Name("Only tasks with this tag.", "nightly")
    created_from = Instant("Only tasks created at this instant or later.")
    created_before = Instant("Only tasks created before this instant.")
    workflow_id = Int("Only tasks of this workflow.", 3, low=1, high=MAX_ID)


class OperationQuery(RequestSchema):
    """Which operations to list."""

    status = fields.String(
        validate=validate.OneOf(STATUSES), metadata={"description": "Only those of this status.", "example": "running"}
    )
    cursor = Text("`next_cursor` of the page before.", "", high=500)
    limit = QueryInt("How many to return at most.", 50, low=1, high=500, load_default=50)


class Operation(AnswerSchema):
    """A change of many tasks that is done slice by slice."""

    id = Int("The number of the operation.", 5, low=1, high=MAX_ID, required=True)
    kind = fields.String(
        required=True,
        validate=validate.OneOf(KINDS),
        metadata={"description": "What is done with the tasks.", "example": "requeue_dead_letters"},
    )
    filter = JsonObject("Which tasks, as it was asked for; empty for all.", {"type": "checksum"}, required=True)
    options = JsonObject("What else was asked for.", {"extra_attempts": 2}, required=True)
    status = fields.String(
        required=True,
        validate=validate.OneOf(STATUSES),
        metadata={
            "description": "How it stands; `cancelled` and `failed` leave done what is done.",
            "example": "running",
        },
    )
    examined = Int("How many tasks were looked at.", 1500, low=0, high=MAX_COUNT, required=True)
    changed = Int("How many of these were changed.", 1200, low=0, high=MAX_COUNT, required=True)
    percent = Int(
        "About how much is done; null where counting them all would take too long.",
        40,
        low=0,
        high=100,
        required=True,
        allow_none=True,
    )
    error_message = LongText("Why it failed.", "Task type not found", required=True, allow_none=True)
    created_by = Text("The API key that began it.", "admin", required=True)
    created_at = Instant("When it was begun: what comes later is not touched.", required=True)
    updated_at = Instant("When its latest slice was done.", required=True)
    ended_at = Instant("When it ended, however it ended.", required=True, allow_none=True)


class OperationList(AnswerSchema):
    """A page of operations, newest first."""

    operations = fields.List(fields.Nested(Operation), required=True, metadata={"description": "The operations."})
    count = Int("How many are on this page.", 1, low=0, high=500, required=True)
    limit = Int("How many there may be on a page.", 50, low=1, high=500, required=True)
    next_cursor = Text(
        "`cursor` of the next page; null on the last.", "eyJiZWxvd19pZCI6MTd9", high=500, required=True, allow_none=True
    )
