"""Batches of new tasks on the wire."""

from typing import Any, ClassVar

from marshmallow import fields, validate

from app.queue.workflows import MAX_NODES
from app.rest.fields import Each, Flag, Int, LongText, Name, Text
from app.rest.schemas.base import AnswerSchema, Fault, RequestSchema
from app.rest.schemas.tasks import CreatedTask, NewTask

MAX_BATCH = 1000


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
