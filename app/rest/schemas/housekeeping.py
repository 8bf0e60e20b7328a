"""A round of housekeeping on the wire."""

from typing import Any, ClassVar

from marshmallow import fields

from app.rest.fields import Flag, Int, Seconds, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema


class HousekeepingRequest(RequestSchema):
    """How long to go on; all of it may be left out."""

    example: ClassVar[dict[str, Any] | None] = {"budget_seconds": 5}
    budget_seconds = Seconds(
        "After so many seconds no further slice of work is begun.", 5.0, low=0.1, high=25, load_default=5.0
    )


class JobDone(AnswerSchema):
    """What one job has changed."""

    name = Text("The job.", "do_what_is_due", required=True)
    changed = Int("How many rows it changed.", 12, low=0, high=2**63 - 1, required=True)


class HousekeepingRound(AnswerSchema):
    """What a round did."""

    skipped = Flag("Whether another process is doing it now, so that this request did nothing.", False, required=True)
    jobs = fields.List(
        fields.Nested(JobDone), required=True, metadata={"description": "The jobs that had something to do."}
    )
    changed = Int("How many rows were changed.", 12, low=0, high=2**63 - 1, required=True)
    seconds = Seconds("How long it took.", 0.021, high=1e9, required=True)
    has_more = Flag("Whether something is left to do: call again.", False, required=True)
