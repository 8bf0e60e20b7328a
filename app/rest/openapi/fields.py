"""What our own kinds of fields look like in OpenAPI."""

from typing import Any

from app.policies import MAX_NAME, MAX_NAMES, POLICIES
from app.rest import fields
from app.rest.schemas.base import RequestSchema


def describe_field(self: Any, field: Any, ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Say what our own kinds of fields accept, also what they accept only for older clients."""
    described: dict[str, Any] = {}
    if isinstance(field, fields.Int):
        described = {"type": "integer", "minimum": field.low, "maximum": field.high}
        if field.high > 2**31:
            described["format"] = "int64"
    elif isinstance(field, fields.Seconds):
        described = {"type": "number", "minimum": field.low, "maximum": field.high}
    elif isinstance(field, fields.Flag):
        described = {"type": "boolean"}
    elif isinstance(field, fields.Instant):
        described = {"type": "string", "format": "date-time"}
        if _is_of_request(field):
            described["pattern"] = field.pattern
    elif isinstance(field, fields.JsonObject):
        described = {"type": "object", "additionalProperties": True}
        if field.from_text and _is_of_request(field):
            described["required"] = ["type"]
        described.update(field.rules)
    elif isinstance(field, fields.Text):
        described = {"type": "string", "pattern": field.pattern}
    elif isinstance(field, fields.Each):
        described = {"minItems": field.low, "maxItems": field.high}
    elif isinstance(field, fields.Policy):
        described = _describe_policy(field.policy_name)
    if described and _is_of_request(field):
        described = _with_tolerance(field, described)
    if described and field.allow_none:
        described = _or_null(described)
    if "anyOf" in described:
        # What apispec made of the class that the field is derived from.
        ret.pop("type", None)
    return described


def _is_of_request(field: Any) -> bool:
    return isinstance(field.root, RequestSchema)


def _with_tolerance(field: Any, described: dict[str, Any]) -> dict[str, Any]:
    more: dict[str, Any] | None = None
    if isinstance(field, fields.Flag):
        more = {"enum": [0, 1, "0", "1", "true", "false"]}
    elif isinstance(field, fields.Text):
        more = field.tolerated
    elif isinstance(field, fields.JsonObject):
        # The object as text is understood too, but nobody should begin to send that.
        more = None if field.from_text else {"const": []}
    elif isinstance(field, fields.Int) and field.from_text and not isinstance(field, fields.QueryInt):
        more = {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}
    return {"anyOf": [described, more]} if more is not None else described


def _or_null(described: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in described:
        return {"anyOf": [*described["anyOf"], {"type": "null"}]}
    nullable = {**described, "type": [described["type"], "null"]}
    if "enum" in described:
        nullable["enum"] = [*described["enum"], None]
    return nullable


def _describe_policy(name: str) -> dict[str, Any]:
    policy = POLICIES[name]
    bounds = policy.metadata
    if "choices" in bounds:
        return {"type": "string", "enum": list(bounds["choices"])}
    if "names" in bounds:
        name_schema = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
        return {"type": "array", "items": name_schema, "minItems": 1, "maxItems": MAX_NAMES, "uniqueItems": True}
    if "pattern" in bounds:
        return {"type": "string", "pattern": f"^{bounds['pattern'].pattern}$"}
    kind = "number" if isinstance(policy.default, float) else "integer"
    return {"type": kind, "minimum": bounds["low"], "maximum": bounds["high"]}
