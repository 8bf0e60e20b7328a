"""What workers say and hear."""

from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validate

from app.policies import POLICIES
from app.queue.claim import SORTABLE
from app.queue.signals import COMMANDS
from app.rest.fields import AnyJson, Flag, Instant, Int, Lines, LongText, Name, Seconds, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.rest.schemas.tasks import Task
from app.storage.columns import MAX_ID

_MAX_LEASE = POLICIES["lease_seconds"].metadata["high"]
_YEAR = 366 * 86400


def worker_id(**options: Any) -> Name:
    """Return the field by which a worker names itself."""
    return Name("Who you are: any name, but always the same for one worker.", "worker-1", required=True, **options)


def lease_token() -> Text:
    """Return the field of the proof that a claim still holds."""
    return Text(
        "The token that came with the claim: proof that the task is still yours.",
        "1-300-0123456789abcdef0123456789abcdef",
        low=1,
        high=64,
        allow_none=True,
        load_default=None,
    )


def _type_paused() -> Flag:
    return Flag("Whether the task's type, or the whole queue, is paused: finish this task.", False, required=True)


def command_field() -> fields.String:
    """Return the field that tells a worker what an admin wants of it."""
    return fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(COMMANDS),
        metadata={
            "description": "What an admin wants you to do: `quiet`, finish what you have and ask on, though you get no "
            "task until that is taken back; `terminate`, finish or release what you have and end.",
            "example": None,
        },
    )


def _lease_seconds() -> Int:
    return Int("How long the lease is to last.", 300, low=1, high=_MAX_LEASE, allow_none=True, load_default=None)


class ClaimRequest(RequestSchema):
    """A worker asks for a task; several selectors narrow each other."""

    missing_sentence: ClassVar[str] = "{field} is required"
    example: ClassVar[dict[str, Any] | None] = {"worker_id": "worker-1", "types": ["checksum"]}
    rules: ClassVar[dict[str, Any]] = {
        "anyOf": [
            {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
            for name in ("task_type_id", "type_pattern", "types")
        ]
    }
    worker_id = worker_id()
    task_type_id = Int("The number of a task type.", 1, low=1, high=MAX_ID, from_text=True, allow_none=True)
    type_pattern = Text(
        "Names of task types: `%` any run, `_` one character, `\\` escapes.", "check%", low=1, allow_none=True
    )
    types = fields.List(
        Name("The name of a task type.", "checksum"),
        validate=validate.Length(1, 100),
        allow_none=True,
        metadata={"description": "Names of task types.", "example": ["checksum", "word-count"]},
    )
    sort_by = fields.String(
        validate=validate.OneOf(SORTABLE, error="Invalid sort_by field. Allowed values: {choices}"),
        allow_none=True,
        metadata={
            "description": "Which task first; without it the highest priority, and within it the oldest.",
            "example": "created_at",
        },
    )
    sort_order = fields.String(
        validate=validate.OneOf(("asc", "desc", "ASC", "DESC")),
        allow_none=True,
        metadata={
            "description": "The direction of `sort_by`: `desc` by default for `priority`, else `asc`.",
            "example": "asc",
        },
    )
    lease_seconds = _lease_seconds()
    worker_version = Name(
        "What you call your version, for people who look at the workers; the header `User-Agent` by default.",
        "2.1.0",
        allow_none=True,
    )

    def check(self, loaded: dict[str, Any], given: dict[str, Any]) -> None:
        """A claim says of which types."""
        if not any(given.get(name) is not None for name in ("task_type_id", "type_pattern", "types")):
            raise ValidationError("task_type_id, type_pattern or types is required", "task_type_id")


class Dependency(AnswerSchema):
    """A task that the claimed one has waited for."""

    id = Int("The number of the task.", 16, low=1, high=MAX_ID, required=True)
    name = Text("Its name within the workflow.", "download", required=True, allow_none=True)
    status = Text("How it ended.", "completed", required=True)
    result = AnyJson("What came out of it.", {"sha256": "9f86d081…"}, required=True, allow_none=True)
    is_omitted = Flag("Whether its result was too large to be handed on: read the task.", False, required=True)


class ClaimedTask(Task):
    """A task that is now yours, for as long as the lease lasts."""

    lease_token = Text(
        "Send it with every report on this task.", "1-300-0123456789abcdef0123456789abcdef", high=64, required=True
    )
    dependencies = fields.List(
        fields.Nested(Dependency),
        required=True,
        metadata={"description": "What it has waited for, with the results.", "example": []},
    )


class HeartbeatRequest(RequestSchema):
    """A worker says that it is still alive."""

    worker_id = worker_id()
    lease_token = lease_token()
    lease_seconds = Int(
        "How long the lease is to last from now; as long as at the claim by default.",
        300,
        low=1,
        high=_MAX_LEASE,
        allow_none=True,
        load_default=None,
    )


class Heartbeat(AnswerSchema):
    """What a worker needs to know to go on, or to stop."""

    id = Int("The number of the task.", 17, low=1, high=MAX_ID, required=True)
    lease_expires_at = Instant(
        "When the lease now ends; null if the task was cancelled.", required=True, allow_none=True
    )
    cancelled = Flag("Whether the task was cancelled: stop working on it.", False, required=True)
    type_paused = _type_paused()
    command = command_field()


class ProgressRequest(RequestSchema):
    """A worker says how far it is; this extends its lease too."""

    worker_id = worker_id()
    progress = Int("How much is done, in percent.", 40, low=0, high=100, required=True)
    message = Lines("What is being done, for people.", "reading", high=1000, allow_none=True, load_default=None)
    result = AnyJson(
        "What there is of the result so far; null leaves what an earlier report said.",
        {"pages": 3},
        allow_none=True,
        load_default=None,
    )
    lease_token = lease_token()


class ReportedTask(Task):
    """A task as it is after a report of its worker, and what that needs to know."""

    type_paused = _type_paused()
    command = command_field()


class MinimalProgress(AnswerSchema):
    """What of a task a progress report changes."""

    id = Int("The number of the task.", 17, low=1, high=MAX_ID, required=True)
    status = Text("`claimed`.", "claimed", required=True)
    progress = Int("How much is done, in percent.", 40, low=0, high=100, required=True)
    lease_expires_at = Instant("When the lease now ends.", required=True)
    type_paused = _type_paused()
    command = command_field()


class CompletionRequest(RequestSchema):
    """A worker says how its attempt ended."""

    example: ClassVar[dict[str, Any] | None] = {
        "worker_id": "worker-1",
        "lease_token": "1-300-0123456789abcdef0123456789abcdef",
        "success": True,
        "result": {"sha256": "9f86d081…"},
    }
    worker_id = worker_id()
    success = Flag("Whether the task is done.", True, required=True)
    result = AnyJson("What came out of it.", {"sha256": "9f86d081…"}, load_default=None, allow_none=True)
    error = LongText("Why it failed.", "File not found", load_default=None, allow_none=True)
    error_details = LongText(
        "What is too long for `error`, such as a stack trace: kept with the attempt.",
        "Traceback (most recent call last): …",
        load_default=None,
        allow_none=True,
    )
    lease_token = lease_token()
    retryable = Flag("Whether another attempt may succeed.", True, load_default=True)
    retry_after_seconds = Seconds(
        "Wait so long before the next attempt, whatever the type's retry policy says.",
        60,
        high=_YEAR,
        allow_none=True,
        load_default=None,
    )


class CompletedTask(Task):
    """A task after its attempt has ended."""

    will_retry = Flag("Whether another attempt will be made.", False, required=True)


class MinimalCompletion(AnswerSchema):
    """What of a task its completion changes."""

    id = Int("The number of the task.", 17, low=1, high=MAX_ID, required=True)
    status = Text("`completed`.", "completed", required=True)
    will_retry = Flag("Whether another attempt will be made.", False, required=True)


class ReleaseRequest(RequestSchema):
    """A worker gives a task back; the attempt does not count."""

    worker_id = worker_id()
    lease_token = lease_token()
    delay_seconds = Seconds("Not to be claimed again for so long.", 0, high=_YEAR, load_default=0.0)
