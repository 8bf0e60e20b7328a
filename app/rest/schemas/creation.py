"""New tasks on the wire: one, a batch, a workflow."""

import re
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validate

from app.policies import ON_DUPLICATE
from app.queue.dependencies import ON_FAILURE
from app.queue.workflows import MAX_NODES
from app.rest.fields import Each, Flag, Instant, Int, JsonObject, LongText, Name, Seconds, Text
from app.rest.schemas.base import AnswerSchema, Fault, RequestSchema
from app.rest.schemas.tasks import MAX_PRIORITY, Task
from app.storage.columns import MAX_ID, to_json

MAX_BATCH = 1000
_YEAR = 366 * 86400
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

    def check(self, loaded: dict[str, Any], given: dict[str, Any]) -> None:
        """A task has one time from which it is available."""
        if loaded.get("available_at") is not None and loaded.get("delay_seconds") is not None:
            raise ValidationError("Give `available_at` or `delay_seconds`, not both.", "delay_seconds")


class CreatedTask(Task):
    """A task, and whether it was there already."""

    deduplicated = Flag(
        "Whether an equal task was there already and is returned instead of a new one.", False, required=True
    )
    replaced = Flag("Whether that task still waited, and has taken over what was asked for.", False, required=True)


class NewBatch(RequestSchema):
    """Many tasks to be done."""

    example: ClassVar[dict[str, Any] | None] = {
        "tasks": [{"type": "checksum", "params": {"path": "a.txt"}}, {"type": "checksum", "params": {"path": "b.txt"}}]
    }
    tasks = Each(NewTask, "The tasks; what is wrong with one hurts no other.", low=1, high=MAX_BATCH, required=True)
    atomic = Flag("Create all of them or none.", False, load_default=False)


class BatchItem(AnswerSchema):
    """What came of one task of a batch: the task, or why it was refused."""

    index = Int("The place of the task in the request, from 0.", 0, low=0, high=MAX_BATCH - 1, required=True)
    success = Flag("Whether there is a task.", True, required=True)
    status = Int("The HTTP status that it would have had by itself.", 201, low=200, high=599, required=True)
    task = fields.Nested(CreatedTask, metadata={"description": "The task."})
    code = Text("The stable code of the error.", "invalid_parameters")
    error = LongText("What is wrong, in one sentence.", "Parameter validation failed: params.path: is missing")
    detail = LongText("What happened and what to do next.", "The parameters do not fit the task type's schema.")
    details = fields.List(fields.Nested(Fault), metadata={"description": "Every fault that was found."})


class CreatedBatch(AnswerSchema):
    """What came of a batch."""

    results = fields.List(fields.Nested(BatchItem), required=True, metadata={"description": "In the order asked for."})
    created = Int("How many tasks are new.", 2, low=0, high=MAX_BATCH, required=True)
    deduplicated = Int("How many equal ones were there already.", 0, low=0, high=MAX_BATCH, required=True)
    refused = Int("How many were refused.", 0, low=0, high=MAX_BATCH, required=True)


class NewNode(NewTask):
    """One task of a workflow; it is a task of its own, whatever equals it."""

    class Meta(NewTask.Meta):
        exclude = ("dedupe_key", "on_duplicate", "parent_task_id")

    name = Name("What it is called within the workflow.", "resize", required=True)
    depends_on = fields.List(
        Name("The name of another task of the workflow.", "download"),  # type: ignore[arg-type]
        validate=validate.Length(0, MAX_NODES),
        metadata={"description": "The tasks that must end before this one is claimable.", "example": ["download"]},
    )


class NewWorkflow(RequestSchema):
    """Tasks that wait for each other, created all or none."""

    example: ClassVar[dict[str, Any] | None] = {
        "name": "thumbnails of the day",
        "tasks": [
            {"name": "download", "type": "checksum", "params": {"path": "cat.jpg"}},
            {"name": "resize", "type": "checksum", "params": {"path": "cat-small.jpg"}, "depends_on": ["download"]},
        ],
    }
    name = Name("What people call it.", "thumbnails of the day", allow_none=True, load_default=None)
    tasks = fields.List(
        fields.Nested(NewNode),
        required=True,
        validate=validate.Length(1, MAX_NODES),
        metadata={"description": "The tasks, in any order."},
    )
