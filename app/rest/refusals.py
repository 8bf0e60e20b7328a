"""What marshmallow finds wrong with a request, as an error of ours."""

from typing import Any

from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA

from app.errors import Detail, Invalid, MissingField
from app.rest.schemas.base import RequestSchema

MAX_DETAILS = 50
_MISSING = "Missing data for required field."
_UNKNOWN = "Unknown field."


def refusal(schema: RequestSchema, error: ValidationError) -> Invalid:
    """Return the error that names every fault, and says the first in the sentence that older clients know."""
    details = _details(error.messages)[:MAX_DETAILS]
    unknown = [detail["field"] for detail in details if detail["problem"] == _UNKNOWN]
    hint = f"The request knows: {', '.join(schema.fields)}." if unknown else None
    # What is missing comes first, in the order in which the schema lists its fields.
    for name in schema.fields:
        if {"field": name, "problem": _MISSING} in details:
            return MissingField(hint, sentence=schema.missing_sentence.format(field=name), details=details)
    sentences = [
        detail["problem"] if detail["field"] in detail["problem"] else f"{detail['field']}: {detail['problem']}"
        for detail in details[:3]
    ]
    more = f"; and {len(details) - 3} more" if len(details) > 3 else ""
    return Invalid(hint, sentence="; ".join(sentence.rstrip(".") for sentence in sentences) + more, details=details)


def _details(messages: Any, path: str = "") -> list[Detail]:
    if isinstance(messages, dict):
        return [detail for name, inner in messages.items() for detail in _details(inner, _place_of(name, path))]
    return [{"field": path[:500], "problem": str(problem)} for problem in messages]


def _place_of(name: Any, path: str) -> str:
    if not path:
        return str(name)
    # What is wrong with a whole object is said of its own place.
    return path if name == SCHEMA else f"{path}.{name}"
