"""Batches on the wire: many tasks in one request, each with a verdict of its own."""

from typing import Any, ClassVar

from marshmallow import fields, validate

from app.lifecycle import TaskStatus
from app.queue.claim_batch import MAX_TASKS
from app.queue.report_batch import MAX_REPORTS
from app.rest.fields import Each, Flag, Int, LongText, Text
from app.rest.schemas.base import AnswerSchema, Fault, RequestSchema
from app.rest.schemas.claims import ClaimedTask, ClaimRequest, CompletionRequest, command_field, worker_id
from app.storage.columns import MAX_ID

_TOKEN = "1-300-0123456789abcdef0123456789abcdef"  # noqa: S105
_CLAIM: dict[str, Any] = {"types": ["checksum"], "max_tasks": 50}
_RESULTS: list[dict[str, Any]] = [
    {"id": 17, "lease_token": _TOKEN, "success": True, "result": {"sha256": "9f86d081…"}},
    {"id": 18, "lease_token": _TOKEN, "success": False, "error": "File not found", "retryable": False},
]


class BatchClaimRequest(ClaimRequest):
    """A worker asks for several tasks at once."""

    example: ClassVar[dict[str, Any] | None] = {"worker_id": "worker-1", **_CLAIM}
    max_tasks = Int("How many tasks to claim at most.", 50, low=1, high=MAX_TASKS, load_default=10, allow_none=False)


class ClaimedTasks(AnswerSchema):
    """Tasks that are now yours, for as long as their leases last."""

    tasks = fields.List(
        fields.Nested(ClaimedTask), required=True, metadata={"description": "The tasks, in the order of the claim."}
    )
    count = Int("How many these are.", 1, low=0, high=MAX_TASKS, required=True)
    command = command_field()


class BatchReport(CompletionRequest):
    """How one attempt ended."""

    class Meta(RequestSchema.Meta):
        exclude = ("worker_id",)

    example: ClassVar[dict[str, Any] | None] = _RESULTS[0]
    id = Int("The number of the task.", 17, low=1, high=MAX_ID, required=True)


class BatchCompletionRequest(RequestSchema):
    """A worker says how several attempts ended."""

    example: ClassVar[dict[str, Any] | None] = {"worker_id": "worker-1", "results": _RESULTS}
    worker_id = worker_id()
    results = Each(
        BatchReport,
        "How each attempt ended; what is wrong with one report hurts no other.",
        low=1,
        high=MAX_REPORTS,
        required=True,
    )


class Verdict(AnswerSchema):
    """What became of one report."""

    id = Int(
        "The number of the task; null where the report could not be understood.",
        17,
        low=1,
        high=MAX_ID,
        required=True,
        allow_none=True,
    )
    success = Flag("Whether the report was accepted.", True, required=True)
    status = fields.String(
        validate=validate.OneOf([status.word for status in TaskStatus]),
        metadata={"description": "Accepted: the status that the task now has.", "example": "completed"},
    )
    will_retry = Flag("Accepted: whether another attempt will be made.", False)
    code = Text("Refused: the stable code of the error.", "lease_lost")
    error = LongText("Refused: why, in one sentence.", "The lease was lost")
    detail = LongText("Refused: what happened and what to do next.", "The lease token is out of date.")
    details = fields.List(fields.Nested(Fault), metadata={"description": "Refused: every fault that was found."})


class Verdicts(AnswerSchema):
    """A verdict for each report, in their order."""

    results = fields.List(
        fields.Nested(Verdict),
        required=True,
        metadata={"description": "The verdicts."},
    )
    refused = Int("How many were refused.", 0, low=0, high=MAX_REPORTS, required=True)


class ExchangedClaim(BatchClaimRequest):
    """What to claim in the same request."""

    class Meta(RequestSchema.Meta):
        exclude = ("worker_id",)

    example: ClassVar[dict[str, Any] | None] = _CLAIM


class ExchangeRequest(RequestSchema):
    """A worker says how several attempts ended, and asks for the next tasks."""

    example: ClassVar[dict[str, Any] | None] = {"worker_id": "worker-1", "results": _RESULTS[:1], "claim": _CLAIM}
    worker_id = worker_id()
    results = Each(
        BatchReport,
        "How each attempt ended; what is wrong with one report hurts no other.",
        low=0,
        high=MAX_REPORTS,
        load_default=(),
    )
    claim = fields.Nested(
        ExchangedClaim,
        allow_none=True,
        load_default=None,
        metadata={"description": "Which tasks to claim, and how many; null for none.", "example": _CLAIM},
    )


class Exchanged(Verdicts):
    """A verdict for each report, and the next tasks."""

    tasks = fields.List(
        fields.Nested(ClaimedTask), required=True, metadata={"description": "The tasks, in the order of the claim."}
    )
    count = Int("How many tasks these are.", 1, low=0, high=MAX_TASKS, required=True)
    command = command_field()
