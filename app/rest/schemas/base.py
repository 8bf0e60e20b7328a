"""What several resources share."""

from typing import Any, ClassVar

from marshmallow import EXCLUDE, RAISE, Schema, fields

from app.rest.fields import QueryInt


class RequestSchema(Schema):
    """A request; a field that it does not know is an error, so that no typing mistake passes in silence."""

    #: How a missing field is reported; older clients look for these sentences.
    missing_sentence: ClassVar[str] = "Missing required field: {field}"
    #: A whole request for the documentation; without it one is put together from the fields' examples.
    example: ClassVar[dict[str, Any] | None] = None
    #: What holds between fields, as JSON Schema keywords for the documentation; `validates_schema` checks it.
    rules: ClassVar[dict[str, Any]] = {}

    class Meta:
        unknown = RAISE


class AnswerSchema(Schema):
    """An answer; it documents what the views build from rows, and the tests hold each answer against it."""

    class Meta:
        unknown = EXCLUDE


class Fault(AnswerSchema):
    """One fault of a request."""

    field = fields.String(required=True, metadata={"description": "Where it is.", "example": "params.path"})
    problem = fields.String(required=True, metadata={"description": "What is wrong.", "example": "Is missing."})


def page_fields(high: int = 1000) -> dict[str, Any]:
    """Return the fields of a page."""
    return {
        "limit": QueryInt("How many to return at most.", 50, low=1, high=high, load_default=50),
        "offset": QueryInt("How many to skip.", 0, low=0, high=10**9, load_default=0),
    }
