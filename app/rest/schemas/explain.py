"""Explanations on the wire."""

from marshmallow import fields, validate

from app.lifecycle import TaskStatus
from app.queue.explanation import REASONS
from app.queue.obstacles import SHOWN
from app.rest.fields import Instant, Int, LongText, Name, Text
from app.rest.schemas.base import AnswerSchema
from app.rest.schemas.statistics import BoundedCount, nested, number
from app.storage.columns import MAX_ID

_STATUSES = [status.word for status in TaskStatus]


def _status(meaning: str, example: str, *, or_null: bool = False) -> fields.String:
    return fields.String(
        required=True,
        allow_none=or_null,
        validate=validate.OneOf([*_STATUSES, *([None] if or_null else [])]),
        metadata={"description": meaning, "example": example},
    )


class WaitedFor(AnswerSchema):
    """A task that must end first."""

    id = Int("The number of the task.", 12, low=1, high=MAX_ID, required=True)
    status = _status("Where it stands; null when it was removed.", "claimed", or_null=True)


class WaitsFor(BoundedCount):
    """The tasks that must end first."""

    tasks = fields.List(
        fields.Nested(WaitedFor),
        required=True,
        metadata={
            "description": f"The first {SHOWN} of them; those that cannot complete by themselves come first.",
            "example": [],
        },
    )


class Holder(AnswerSchema):
    """A task that uses up a limit, or this very task while it is worked on."""

    id = Int("The number of the task.", 12, low=1, high=MAX_ID, required=True)
    status = _status("Where it stands.", "claimed")
    claimed_by = Text("The worker that has, or last had, it.", "worker-1", required=True, allow_none=True)
    claimed_at = Instant("When its latest attempt began.", required=True, allow_none=True)
    lease_expires_at = Instant("When its lease ends, while it is claimed.", required=True, allow_none=True)


class Explanation(AnswerSchema):
    """Why a task is not being worked on, and what would change that."""

    id = Int("The number of the task.", 17, low=1, high=MAX_ID, required=True)
    type = Name("The name of its task type.", "checksum", required=True)
    status = _status("Where the task stands.", "pending")
    reason = fields.String(
        required=True,
        validate=validate.OneOf(tuple(REASONS)),
        metadata={
            "description": " ".join(f"`{reason}`: {meaning}" for reason, meaning in REASONS.items()),
            "example": "in_order",
        },
    )
    sentence = LongText(
        "The reason for people.",
        "3 tasks of type `checksum` are ahead of task 17; at the present rate of 2 tasks a minute that takes about "
        "90 seconds.",
        required=True,
    )
    what_would_change_it = LongText(
        "What would change it.", "More workers, or a higher priority for this task.", required=True
    )
    until = Instant("When this reason ends by itself, where that is known.", required=True, allow_none=True)
    waits_for = nested(WaitsFor, "Tasks that must end before it.", {"count": 0, "is_exact": True, "tasks": []})
    ahead = nested(
        BoundedCount,
        "How many are claimed before it, or leave the line of its concurrency key before it; null where there is no "
        "such order.",
        {"count": 3, "is_exact": True},
        allow_none=True,
    )
    estimated_seconds = number(
        "How long those ahead of it take at the rate of the last 15 minutes; null where that is not known.",
        90.0,
        allow_none=True,
    )
    held_by = fields.List(
        fields.Nested(Holder),
        required=True,
        metadata={
            "description": f"The tasks, {SHOWN} at most, and the workers that use up the limit; this task itself while "
            "it is worked on.",
            "example": [],
        },
    )
    last_asked_at = Instant(
        "When a worker last asked for tasks of the type, if it is pending and one ever did.",
        required=True,
        allow_none=True,
    )
