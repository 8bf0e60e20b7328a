"""Workflows on the wire, as they are read."""

from typing import Any

from marshmallow import fields, validate

from app.lifecycle import FailureReason, TaskStatus
from app.rest.fields import Instant, Int, LongText, Name, QueryInt, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.storage.columns import MAX_ID

STATES = ("running", "completed", "failed", "cancelled")
_EXAMPLE_COUNTS = {"blocked": 1, "completed": 1}


def _workflow_id(**options: Any) -> Int:
    return Int("The number of the workflow.", 3, low=1, high=MAX_ID, **options)


class Workflow(AnswerSchema):
    """A workflow."""

    id = _workflow_id(required=True)
    name = Name("What people call it.", "thumbnails of the day", required=True, allow_none=True)
    created_at = Instant("When it was created.", required=True)


class CreatedWorkflow(Workflow):
    """A workflow that was just created."""

    task_ids = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata={"description": "The ids of its tasks by their names.", "example": {"download": 17, "resize": 18}},
    )


class WorkflowTask(AnswerSchema):
    """A task of a workflow."""

    name = Name("What it is called within the workflow.", "resize", required=True)
    id = Int("The number of the task.", 18, low=1, high=MAX_ID, required=True)
    type = Name("The name of its task type.", "checksum", required=True)
    status = fields.String(
        required=True,
        validate=validate.OneOf([status.word for status in TaskStatus]),
        metadata={"description": "Where the task stands.", "example": "blocked"},
    )
    depends_on = fields.List(
        fields.String(), required=True, metadata={"description": "What it waits for.", "example": ["download"]}
    )
    progress = Int("How much is done, in percent.", 0, low=0, high=100, required=True)
    attempts = Int("How many attempts were begun.", 0, low=0, high=2**31, required=True)
    claimed_by = Text("The worker that has, or last had, the task.", "worker-1", required=True, allow_none=True)
    error_message = LongText("Why the latest attempt failed.", "File not found", required=True, allow_none=True)
    failure_reason = Text("Why nothing more is tried.", FailureReason.DEPENDENCY_FAILED, required=True, allow_none=True)
    available_at = Instant("Not claimable before this instant.", required=True)
    completed_at = Instant("When the task ended, however it ended.", required=True, allow_none=True)


class WorkflowQuery(RequestSchema):
    """Which of its tasks to show."""

    after_id = QueryInt("Only tasks with higher ids: `next_after_id` of the page before.", 0, low=0, high=MAX_ID)
    limit = QueryInt("How many tasks to show at most.", 100, low=1, high=1000, load_default=100)


class WorkflowView(Workflow):
    """A workflow with the states of its tasks."""

    status = fields.String(
        required=True,
        validate=validate.OneOf(STATES),
        metadata={
            "description": "`running` until all tasks have ended; then the worst of their ends.",
            "example": "running",
        },
    )
    counts = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata={"description": "How many of its tasks have which status.", "example": _EXAMPLE_COUNTS},
    )
    tasks = fields.List(fields.Nested(WorkflowTask), required=True, metadata={"description": "Its tasks, by id."})
    next_after_id = Int(
        "`after_id` of the next page; null on the last.", 18, low=1, high=MAX_ID, required=True, allow_none=True
    )


class WorkflowListQuery(RequestSchema):
    """Which workflows to list."""

    cursor = Text("`next_cursor` of the page before.", "", high=500)
    limit = QueryInt("How many to return at most.", 50, low=1, high=1000, load_default=50)


class WorkflowList(AnswerSchema):
    """A page of workflows, newest first."""

    workflows = fields.List(fields.Nested(Workflow), required=True, metadata={"description": "The workflows."})
    count = Int("How many are on this page.", 1, low=0, high=1000, required=True)
    next_cursor = Text(
        "`cursor` of the next page; null on the last.", "eyJiZWxvd19pZCI6MTd9", high=500, required=True, allow_none=True
    )
