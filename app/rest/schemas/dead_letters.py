"""Dead letters on the wire."""

from typing import Any, ClassVar

from marshmallow import fields, validate

from app.lifecycle import FailureReason
from app.queue.requeue import MAX_EXTRA_ATTEMPTS
from app.rest.fields import Flag, Instant, Int, Lines, LongText, Name, QueryInt, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.rest.schemas.operations import MAX_COUNT, TaskSelection, needs_a_filter
from app.rest.schemas.tasks import ListedTask
from app.storage.columns import MAX_ID

REASONS = [word for name, word in vars(FailureReason).items() if name.isupper()]
MAX_IDS = 1000
_TYPE = "Only dead letters of this type; `%` makes it a pattern, `_` then stands for one character."


class _Filter:
    """Which dead letters: the same for a list and for an operation."""

    type = Name(_TYPE, "checksum")
    failure_reason = fields.String(
        validate=validate.OneOf(REASONS),
        metadata={"description": "Only those that died of this.", "example": "attempts_exhausted"},
    )
    error_contains = Lines(
        "Only those whose error message has this in it, letter by letter.", "disk full", low=1, high=1000
    )
    failed_from = Instant("Only those that died at this instant or later.")
    failed_before = Instant("Only those that died before this instant.")
    worker_id = Name("Only those of which this worker made an unsuccessful attempt.", "worker-1")
    tag = Name("Only those with this tag.", "nightly")


class DeadLetterQuery(_Filter, RequestSchema):
    """Which dead letters to list."""

    cursor = Text("`next_cursor` of the page before.", "", high=500)
    limit = QueryInt("How many to return at most.", 50, low=1, high=500, load_default=50)


class SummaryQuery(RequestSchema):
    """Which dead letters to count."""

    type = Name(_TYPE, "checksum")


class DeadLetterSelection(_Filter, TaskSelection):
    """Which dead letters to purge."""

    example: ClassVar[dict[str, Any] | None] = {"type": "checksum", "failed_before": "2026-11-23T12:00:00.000Z"}
    rules: ClassVar[dict[str, Any]] = needs_a_filter(
        "type", "failure_reason", "error_contains", "failed_from", "failed_before", "worker_id", "tag", "ids"
    )
    ids = fields.List(
        Int("A task.", 17, low=1, high=MAX_ID),
        validate=validate.Length(1, MAX_IDS),
        metadata={"description": "Only these tasks.", "example": [17, 18]},
    )


def _extra_attempts() -> Int:
    meaning = "How many attempts to allow on top of those that were made; all are given back otherwise."
    return Int(meaning, 2, low=1, high=MAX_EXTRA_ATTEMPTS)


class RequeuedDeadLetters(DeadLetterSelection):
    """Which dead letters to requeue."""

    example: ClassVar[dict[str, Any] | None] = {"type": "checksum", "error_contains": "disk full"}
    extra_attempts = _extra_attempts()


class Requeue(RequestSchema):
    """How a task is requeued."""

    example: ClassVar[dict[str, Any] | None] = {"extra_attempts": 2}
    extra_attempts = _extra_attempts()


class DeadLetterList(AnswerSchema):
    """A page of dead letters, the latest first."""

    dead_letters = fields.List(fields.Nested(ListedTask), required=True, metadata={"description": "The dead letters."})
    count = Int(
        "How many are on this page; fewer than asked for where the filter lets few pass.",
        1,
        low=0,
        high=500,
        required=True,
    )
    limit = Int("How many there may be on a page.", 50, low=1, high=500, required=True)
    next_cursor = Text(
        "`cursor` of the next page; null on the last.",
        "eyJyYW5rIjoxLCJiZWxvd19pZCI6MTd9",
        high=500,
        required=True,
        allow_none=True,
    )


class Cause(AnswerSchema):
    """What has killed some dead letters of a type."""

    type = Name("Their task type.", "checksum", required=True)
    failure_reason = Text("Why nothing more is tried.", "attempts_exhausted", required=True, allow_none=True)
    error = LongText(
        "The first line of their error message, up to 200 characters.", "disk full", required=True, allow_none=True
    )
    count = Int("How many there are.", 12, low=1, high=MAX_COUNT, required=True)
    example_task_id = Int("One of them.", 17, low=1, high=MAX_ID, required=True)
    latest_at = Instant("When the latest of them died.", required=True)


class Summary(AnswerSchema):
    """What the dead letters died of."""

    causes = fields.List(
        fields.Nested(Cause), required=True, metadata={"description": "The causes, the most frequent first."}
    )
    count = Int("How many dead letters were counted.", 12, low=0, high=MAX_COUNT, required=True)
    is_complete = Flag("Whether these are all: of each type the latest 10,000 are counted.", True, required=True)


class PurgedTask(AnswerSchema):
    """A dead letter that was purged."""

    id = Int("The number of the task.", 17, low=1, high=MAX_ID, required=True)
    is_removed = Flag("Whether it is gone already; what is new goes within a minute.", True, required=True)
