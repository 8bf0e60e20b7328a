"""Workers on the wire, as people see them."""

from typing import Any, ClassVar

from marshmallow import fields, validate

from app.queue.signals import COMMANDS
from app.queue.workers import MAX_SHOWN_TASKS
from app.rest.fields import Flag, Instant, Int, Name, QueryInt, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.storage.columns import MAX_ID

_WEEK = 7 * 86400


class WorkerQuery(RequestSchema):
    """Which workers to list."""

    type = Name("Only workers that asked for tasks of this type within the last seven days.", "checksum")
    seen_within_seconds = QueryInt("Only workers heard of within so many seconds.", 60, low=1, high=_WEEK)
    limit = QueryInt("How many to return at most.", 50, low=1, high=1000, load_default=50)
    cursor = Text("`next_cursor` of the page before.", "", high=2000)


class WorkerCommand(RequestSchema):
    """What a worker is to do."""

    example: ClassVar[dict[str, Any] | None] = {"command": "quiet"}
    command = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(COMMANDS),
        metadata={
            "description": "`quiet`: finish what it has and get no more; `terminate`: finish or release what it has "
            "and end; null: take the command back.",
            "example": "quiet",
        },
    )


class Worker(AnswerSchema):
    """A worker."""

    worker_id = Text("What it calls itself.", "worker-1", required=True)
    version = Text("Its `worker_version`, or its `User-Agent`.", "2.1.0", required=True, allow_none=True)
    first_seen_at = Instant("When it was first heard of.", required=True)
    last_seen_at = Instant("When it was last heard of; written down at most every 30 s.", required=True)
    is_alive = Flag(
        "Whether it was heard of within 60 s beyond the longest wait between two claims "
        "(`TASKMANAGER_POLL_MAX_SECONDS`), or holds a task whose lease has not ended.",
        True,
        required=True,
    )
    types = fields.List(
        fields.String(),
        required=True,
        metadata={
            "description": "The names of the task types that it asked for within the last seven days.",
            "example": ["checksum"],
        },
    )
    running_tasks = Int("How many tasks it has claimed now.", 1, low=0, high=2**31, required=True)
    running_task_ids = fields.List(
        Int("The number of a task.", 17, low=1, high=MAX_ID),
        required=True,
        metadata={"description": f"The numbers of up to {MAX_SHOWN_TASKS} of these.", "example": [17]},
    )
    command = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(COMMANDS),
        metadata={"description": "What an admin has told it to do.", "example": None},
    )
    commanded_at = Instant("When it was told.", required=True, allow_none=True)


class WorkerList(AnswerSchema):
    """A page of workers."""

    workers = fields.List(
        fields.Nested(Worker), required=True, metadata={"description": "The workers, in the order of their ids."}
    )
    count = Int("How many these are.", 1, low=0, high=1000, required=True)
    next_cursor = Text("Where the next page begins; null on the last.", "", high=2000, required=True, allow_none=True)


class CommandedWorkers(AnswerSchema):
    """What was told to all workers."""

    command = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(COMMANDS),
        metadata={"description": "What they are to do; null if commands were taken back.", "example": "quiet"},
    )
    count = Int("How many were told anew.", 3, low=0, high=2**31, required=True)
