"""Tasks on the wire, as producers see them."""

import re
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validate, validates_schema

from app.lifecycle import TaskStatus
from app.policies import ON_DUPLICATE
from app.queue.dependencies import ON_FAILURE
from app.rest.fields import (
    MAX_ID,
    AnyJson,
    Flag,
    Instant,
    Int,
    JsonObject,
    Lines,
    LongText,
    Name,
    Seconds,
    Text,
)
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.storage.columns import to_json

_YEAR = 366 * 86400
MAX_PRIORITY = 2**31 - 1
MAX_METADATA = 50
MAX_METADATA_CHARACTERS = 8192
METADATA_NAME = re.compile(r"[^\x00-\x1f\x7f=]{1,100}")


class ParentId(Text):
    """An id that older clients send as a number or a text."""

    tolerated: ClassVar[dict[str, Any] | None] = {"type": "integer", "minimum": -MAX_ID, "maximum": MAX_ID}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, float):
            raise ValidationError("Not a valid integer.")
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_ID:
            value = str(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Tag(Text):
    """A word to find tasks by: filters put several into one text."""

    pattern = r"^[^\x00-\x1f\x7f,=]*$"
    forbidden = re.compile(r"[\x00-\x1f\x7f,=]")
    forbidden_are = "control characters, commas or equals signs"


class Metadata(JsonObject):
    """A small object of the producer's own."""

    rules: ClassVar[dict[str, Any]] = {
        "maxProperties": MAX_METADATA,
        "propertyNames": {"pattern": f"^{METADATA_NAME.pattern}$"},
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        members = super()._deserialize(value, attr, data, **kwargs)
        if len(members) > MAX_METADATA or len(to_json(members)) > MAX_METADATA_CHARACTERS:
            raise ValidationError(
                f"At most {MAX_METADATA} members, and {MAX_METADATA_CHARACTERS} characters of JSON in all."
            )
        if not all(METADATA_NAME.fullmatch(name) for name in members):
            raise ValidationError("A name must have 1 to 100 characters, without control characters and `=`.")
        return members


class NewTask(RequestSchema):
    """A task to be done."""

    example: ClassVar[dict[str, Any] | None] = {"type": "checksum", "params": {"path": "README.md"}, "priority": 5}
    rules: ClassVar[dict[str, Any]] = {
        "not": {
            "required": ["available_at", "delay_seconds"],
            "properties": {"available_at": {"type": "string"}, "delay_seconds": {"type": "number"}},
        }
    }
    type = Name("The name of its task type.", "checksum", required=True)
    params = JsonObject(
        "What the worker needs to know; must fit the type's `param_schema`.", {"path": "README.md"}, required=True
    )
    priority = Int(
        "Higher first; tasks of equal priority are done oldest first.",
        0,
        low=-MAX_PRIORITY,
        high=MAX_PRIORITY,
        load_default=0,
        allow_none=False,
    )
    available_at = Instant("Not to be claimed before this instant.", allow_none=True)
    delay_seconds = Seconds(
        "Not to be claimed for so many seconds; not together with `available_at`.", 30, high=10 * _YEAR, allow_none=True
    )
    deadline_at = Instant(
        "No attempt begins after this instant: a task still waiting then fails with `deadline_passed`.",
        "2099-12-31T00:00:00.000Z",
        allow_none=True,
    )
    dedupe_key = Name(
        "Your own mark of what is the same task; replaces the comparison of parameters.",
        "README-2026-11-23",
        allow_none=True,
    )
    on_duplicate = fields.String(
        validate=validate.OneOf(ON_DUPLICATE),
        allow_none=True,
        metadata={"description": "What an equal task means, if not what the type says.", "example": "return"},
    )
    parent_task_id = ParentId("Kept as it is; it has no meaning to the queue.", "17", allow_none=True)
    tags = fields.List(
        Tag("A word to find the task by.", "nightly", low=1, high=100),
        validate=validate.Length(0, 20),
        metadata={"description": "Words to find the task by.", "example": ["nightly"]},
    )
    metadata = Metadata("Notes of your own, to find the task by (short values) or to read.", {"customer": "42"})
    concurrency_key = Name(
        "Tasks with the same key share the type's limits per key: a tenant, or a host.", "tenant-7", allow_none=True
    )
    depends_on = fields.List(
        Int("A task.", 16, low=1, high=MAX_ID),
        validate=validate.Length(0, 1000),
        metadata={"description": "Tasks that must end before this one is claimable.", "example": []},
    )
    on_dependency_failure = fields.String(
        validate=validate.OneOf(ON_FAILURE),
        metadata={
            "description": "What becomes of this task if one that it waits for fails or is cancelled.",
            "example": "fail",
        },
    )

    @validates_schema
    def _check_times(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("available_at") is not None and data.get("delay_seconds") is not None:
            raise ValidationError("Give `available_at` or `delay_seconds`, not both.", "delay_seconds")


class ChangedTask(RequestSchema):
    """What is to be changed of a task that still waits."""

    priority = Int("Higher first.", 9, low=-MAX_PRIORITY, high=MAX_PRIORITY, required=True)


class Task(AnswerSchema):
    """A task."""

    id = Int("The number of the task.", 17, low=1, high=MAX_ID, required=True)
    type = Name("The name of its task type.", "checksum", required=True)
    type_id = Int("The number of its task type.", 1, low=1, high=MAX_ID, required=True)
    status = fields.String(
        required=True,
        validate=validate.OneOf([status.word for status in TaskStatus]),
        metadata={"description": "Where the task stands.", "example": "pending"},
    )
    params = JsonObject("What the worker needs to know.", {"path": "README.md"}, required=True)
    result = AnyJson(
        "What the worker answered; until the task is completed, what its latest attempt has reported of that so far.",
        {"sha256": "9f86d081…"},
        required=True,
        allow_none=True,
    )
    error_message = LongText("Why the latest attempt failed.", "File not found", required=True, allow_none=True)
    failure_reason = Text(
        "Why nothing more is tried, for a failed task.", "attempts_exhausted", required=True, allow_none=True
    )
    priority = Int("Higher first.", 0, low=-MAX_PRIORITY, high=MAX_PRIORITY, required=True)
    progress = Int("How much is done, in percent.", 0, low=0, high=100, required=True)
    progress_message = Lines(
        "What the worker said with its latest progress.", "reading", high=1000, required=True, allow_none=True
    )
    attempts = Int("How many attempts were begun.", 1, low=0, high=2**31, required=True)
    max_attempts = Int("How many there may be.", 3, low=1, high=2**31, required=True)
    claimed_by = Text("The worker that has, or last had, the task.", "worker-1", required=True, allow_none=True)
    claimed_at = Instant("When the latest attempt began.", required=True, allow_none=True)
    lease_expires_at = Instant("When the lease ends, while the task is claimed.", required=True, allow_none=True)
    available_at = Instant("Not claimable before this instant.", required=True)
    deadline_at = Instant("No attempt begins after this instant.", required=True, allow_none=True)
    completed_at = Instant("When the task ended, however it ended.", required=True, allow_none=True)
    created_at = Instant("When it was created.", required=True)
    updated_at = Instant("When it last changed.", required=True)
    dedupe_key = Text(
        "The producer's own mark of what is the same task.", "README-2026-11-23", required=True, allow_none=True
    )
    depends_on = fields.List(
        Int("A task.", 16, low=1, high=MAX_ID),
        required=True,
        metadata={"description": "The tasks that this one waits for.", "example": []},
    )
    parent_task_id = Text("Kept as it was given.", "16", required=True, allow_none=True)
    first_claimed_at = Instant("When the first attempt began.", required=True, allow_none=True)
    tags = fields.List(
        Text("A tag.", "nightly"), required=True, metadata={"description": "Words to find it by.", "example": []}
    )
    metadata = JsonObject("The producer's own notes.", {"customer": "42"}, required=True)
    concurrency_key = Text(
        "Tasks with the same key share the type's limits per key.", "tenant-7", required=True, allow_none=True
    )
    workflow_id = Int("The workflow it belongs to.", 3, low=1, high=MAX_ID, required=True, allow_none=True)
    schedule_id = Int("The schedule that created it.", 2, low=1, high=MAX_ID, required=True, allow_none=True)
    scheduled_for = Instant("The instant of its schedule for which it was created.", required=True, allow_none=True)


class CreatedTask(Task):
    """A task, and whether it was there already."""

    deduplicated = Flag(
        "Whether an equal task was there already and is returned instead of a new one.", False, required=True
    )

    replaced = Flag("Whether that task still waited, and has taken over what was asked for.", False, required=True)


class ListedTask(Task):
    """A task in a list: without `params` and `result` unless `include` asks for them."""

    params = JsonObject("What the worker needs to know.", {"path": "README.md"})
    result = AnyJson("What the worker answered.", {"sha256": "9f86d081…"}, allow_none=True)


class TaskList(AnswerSchema):
    """A page of tasks, newest first."""

    tasks = fields.List(fields.Nested(ListedTask), required=True, metadata={"description": "The tasks."})
    count = Int("How many are on this page.", 1, low=0, high=1000, required=True)
    limit = Int("How many there may be on a page.", 50, low=1, high=1000, required=True)
    offset = Int("How many were skipped.", 0, low=0, high=10**9, required=True)
    next_cursor = Text(
        "`cursor` of the next page; null on the last.", "eyJiZWxvd19pZCI6MTd9", high=500, required=True, allow_none=True
    )


class Attempt(AnswerSchema):
    """An attempt that did not complete its task."""

    number = Int("Which attempt it was, from 1.", 1, low=1, high=2**31, required=True)
    worker_id = Text("Who made it.", "worker-1", required=True)
    outcome = fields.String(
        required=True,
        validate=validate.OneOf(("failed", "expired", "released")),
        metadata={"description": "How it ended.", "example": "failed"},
    )
    error_message = LongText("Why it failed.", "File not found", required=True, allow_none=True)
    error_details = LongText(
        "What the worker said about it at length.",
        "Traceback (most recent call last): …",
        required=True,
        allow_none=True,
    )
    claimed_at = Instant("When it began.", required=True)
    ended_at = Instant("When it ended.", required=True)
    late_report = AnyJson(
        "What the worker reported after it had lost the task; kept, never applied.",
        {"success": True, "result": {"sha256": "9f86d081…"}},
        required=True,
        allow_none=True,
    )
    late_report_at = Instant("When that came.", required=True, allow_none=True)


class AttemptList(AnswerSchema):
    """The unsuccessful attempts of a task, oldest first."""

    attempts = fields.List(fields.Nested(Attempt), required=True, metadata={"description": "The attempts."})
    count = Int("How many these are.", 1, low=0, high=1000, required=True)
