"""The lines that workers write while they work."""

from typing import Any, ClassVar

from marshmallow import fields, validate

from app.queue.logs import LEVELS, MAX_LINES
from app.rest.fields import Instant, Int, QueryInt, RawText
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.rest.schemas.claims import lease_token, worker_id
from app.storage.columns import MAX_ID

_MAX_MESSAGE = 10_000
_MAX_PAGE = 500


def _level(**options: Any) -> fields.String:
    return fields.String(
        validate=validate.OneOf(LEVELS),
        metadata={"description": "How much it matters.", "example": "info"},
        **options,
    )


def _message() -> RawText:
    return RawText("What there is to say; it may have several lines.", "3 of 8 pages", high=_MAX_MESSAGE, required=True)


class NewLogLine(RequestSchema):
    """A line to be written."""

    level = _level(load_default="info")
    message = _message()


class NewLogs(RequestSchema):
    """Lines that a worker writes about the task that it has."""

    example: ClassVar[dict[str, Any] | None] = {
        "worker_id": "worker-1",
        "lease_token": "1-300-0123456789abcdef0123456789abcdef",
        "lines": [{"level": "info", "message": "3 of 8 pages"}],
    }
    worker_id = worker_id()
    lease_token = lease_token()
    lines = fields.List(
        fields.Nested(NewLogLine),
        required=True,
        validate=validate.Length(1, MAX_LINES),
        metadata={"description": "The lines, oldest first."},
    )


class WrittenLogs(AnswerSchema):
    """What was written."""

    id = Int("The number of the task.", 17, low=1, high=MAX_ID, required=True)
    count = Int("How many lines were written.", 1, low=1, high=MAX_LINES, required=True)


class LogQuery(RequestSchema):
    """Which lines to read."""

    after_id = QueryInt(
        "Only lines after the one with this id: `next_after_id` of the answer before.",
        0,
        low=0,
        high=MAX_ID,
        load_default=0,
    )
    limit = QueryInt("How many to return at most.", 100, low=1, high=_MAX_PAGE, load_default=100)


class WrittenLogLine(AnswerSchema):
    """A line of a task's log."""

    id = Int("The number of the line; later lines have higher ones.", 1041, low=1, high=MAX_ID, required=True)
    attempt = Int("In which attempt it was written, from 1.", 1, low=1, high=2**31, required=True)
    level = _level(required=True)
    message = _message()
    logged_at = Instant("When the server received it.", required=True)


class LogList(AnswerSchema):
    """Lines of a task's log, oldest first."""

    logs = fields.List(fields.Nested(WrittenLogLine), required=True, metadata={"description": "The lines."})
    count = Int("How many these are.", 1, low=0, high=_MAX_PAGE, required=True)
    next_after_id = Int("`after_id` of the next request.", 1041, low=0, high=MAX_ID, required=True)
