"""Statistics of a task type on the wire."""

from typing import Any

from marshmallow import fields

from app.queue.statistics import WINDOW_SECONDS
from app.rest.fields import Flag, Instant, Int, LongText, Name, QueryInt
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.storage.columns import MAX_ID

_COUNT = {"count": 12, "is_exact": True}
_ENDED = {"count": 240, "is_exact": True, "per_minute": 4.0}
_PERCENTILES = {"p50": 0.4, "p90": 1.7, "p99": 6.2}


def number(meaning: str, example: float, **options: Any) -> fields.Float:
    """Return a field for a number that need not be whole."""
    return fields.Float(required=True, metadata={"description": meaning, "example": example}, **options)


def nested(schema: type[AnswerSchema], meaning: str, example: Any, **options: Any) -> fields.Nested:
    """Return a field for an object within the answer."""
    return fields.Nested(schema, required=True, metadata={"description": meaning, "example": example}, **options)


class StatisticsQuery(RequestSchema):
    """Which time to look at."""

    window_seconds = QueryInt("How far back to look.", WINDOW_SECONDS, low=60, high=86400, load_default=WINDOW_SECONDS)


class BoundedCount(AnswerSchema):
    """A number of tasks; at most 10,000 are counted."""

    count = Int("How many there are, or 10,000 where there are more.", 12, low=0, high=10_000, required=True)
    is_exact = Flag("Whether there are no more than that.", True, required=True)


class Depth(AnswerSchema):
    """Unfinished tasks by status."""

    blocked = nested(BoundedCount, "Those that wait for other tasks.", _COUNT)
    scheduled = nested(BoundedCount, "Those whose time has not come.", _COUNT)
    pending = nested(BoundedCount, "Those that could be claimed now.", _COUNT)
    claimed = nested(BoundedCount, "Those that are being worked on.", _COUNT)


class OldestPending(AnswerSchema):
    """The pending task that has waited longest."""

    available_at = Instant("Since when it could be claimed.", required=True)
    age_seconds = number("How long that is ago.", 4.2)
    is_exact = Flag(
        "Whether it is known to be the oldest: of more than 1,000 pending tasks only the first 1,000 in the order of "
        "claims and the first of the lowest priority are looked at.",
        True,
        required=True,
    )


class Ended(BoundedCount):
    """Tasks that ended in the window."""

    per_minute = number("How many in a minute; of more than 10,000, at the rate of the latest 10,000.", 4.0)


class Percentiles(AnswerSchema):
    """So many percent took so many seconds or less."""

    p50 = number("Half of them.", 0.4)
    p90 = number("Nine of ten.", 1.7)
    p99 = number("99 of 100.", 6.2)


class WorkersSeen(BoundedCount):
    """The workers that asked for tasks of the type."""

    count = Int("How many asked within 15 minutes.", 2, low=0, high=10_000, required=True)
    last_asked_at = Instant("When one of them, or of those before them, last asked.", required=True, allow_none=True)


class TaskTypeStatistics(AnswerSchema):
    """A task type at this moment, and in the last seconds of the window."""

    type = Name("The name of the type.", "checksum", required=True)
    type_id = Int("The number of the type.", 1, low=1, high=MAX_ID, required=True)
    is_paused = Flag("Whether claims are refused for now.", False, required=True)
    window_seconds = Int("How far back this looks.", WINDOW_SECONDS, low=60, high=86400, required=True)
    depth = nested(Depth, "Unfinished tasks by status.", dict.fromkeys(Depth().fields, _COUNT))
    oldest_pending = nested(
        OldestPending,
        "The pending task that has waited longest; null where nothing is pending.",
        {"available_at": "2026-11-23T12:00:00.123Z", "age_seconds": 4.2, "is_exact": True},
        allow_none=True,
    )
    completed = nested(Ended, "What was completed in the window.", _ENDED)
    failed = nested(Ended, "What became a dead letter in the window.", {"count": 0, "is_exact": True, "per_minute": 0})
    failure_rate = number("Dead letters as a share of all that ended; null where nothing did.", 0.0, allow_none=True)
    sampled = Int("Of so many, the latest to be completed, the seconds are told.", 240, low=0, high=1000, required=True)
    waiting_seconds = nested(
        Percentiles,
        "From the time at which the last attempt could begin until it did; null without a sample.",
        _PERCENTILES,
        allow_none=True,
    )
    running_seconds = nested(
        Percentiles, "From the claim to the result; null without a sample.", _PERCENTILES, allow_none=True
    )
    workers = nested(
        WorkersSeen, "Who asks for it.", {"count": 2, "is_exact": True, "last_asked_at": "2026-11-23T12:00:00.123Z"}
    )
    last_claimed_at = Instant("The latest claim that is known.", required=True, allow_none=True)
    is_stalled = Flag("Whether its tasks wait although they should not.", False, required=True)
    stalled_reason = LongText(
        "Why, in one sentence.",
        "No worker has asked for tasks of type `checksum` since 11:40:00 UTC, 20 minutes ago, and 12 tasks wait.",
        required=True,
        allow_none=True,
    )
