"""Tasks on the wire, as producers see them."""

from marshmallow import fields, validate

from app.lifecycle import TaskStatus
from app.rest.fields import AnyJson, Instant, Int, JsonObject, Lines, LongText, Name, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.storage.columns import MAX_ID

MAX_PRIORITY = 2**31 - 1


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
