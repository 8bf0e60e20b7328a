"""The errors of each endpoint in OpenAPI."""

from collections import defaultdict
from typing import Any

from app.errors import DatabaseUnavailable, Invalid, MissingField, QueueError
from app.queue.keys import Scope
from app.rest.contract import Contract
from app.rest.problems import problem, status_of
from app.web import errors as web_errors

TIMESTAMP = 1764000000
_REQUEST_ID = "0123456789abcdef"
# On any path, also on one that is not in the document.
OF_ANY_PATH = (web_errors.EndpointNotFound, web_errors.MethodNotAllowed)


def describe_problems(terms: Contract) -> dict[str, Any]:
    """Return the error responses of an endpoint by status."""
    by_status: dict[int, list[type[QueueError]]] = defaultdict(list)
    for kind in (*usual_errors(terms), *terms.errors):
        if kind not in by_status[status_of(kind)]:
            by_status[status_of(kind)].append(kind)
    return {
        str(status): {
            "description": "; ".join(kind.sentence for kind in kinds),
            "content": {
                "application/problem+json": {
                    "schema": "Problem",
                    "examples": {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds},
                }
            },
        }
        for status, kinds in sorted(by_status.items())
    }


def usual_errors(terms: Contract) -> list[type[QueueError]]:
    """Return the errors that follow from what the endpoint takes, beside those of its view."""
    usual: list[type[QueueError]] = [DatabaseUnavailable, web_errors.InternalError, web_errors.BadRequest]
    if terms.scope is not None:
        usual += [web_errors.KeyRequired, web_errors.KeyRefused]
        if terms.scope is not Scope.READ:
            usual.append(web_errors.ScopeMissing)
    if terms.body is not None:
        usual += [web_errors.InvalidJson, MissingField, Invalid, web_errors.BodyTooLarge]
    if terms.query is not None:
        usual.append(Invalid)
    if "Idempotency-Key" in terms.headers:
        usual.append(web_errors.InvalidHeader)
    return usual


def example_problem(kind: type[QueueError]) -> dict[str, Any]:
    """Return a whole problem response of this kind."""
    return {**problem(kind()), "request_id": _REQUEST_ID, "timestamp": TIMESTAMP}


PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457), with the envelope's members beside.",
    "required": ["success", "type", "status", "code", "title", "detail", "error", "message", "details", "request_id"],
    "properties": {
        "success": {"type": "boolean", "const": False},
        "type": {"type": "string"},
        "status": {"type": "integer", "description": "The HTTP status."},
        "code": {"type": "string", "description": "Stable: what programs look at."},
        "title": {"type": "string", "description": "What kind of error this is."},
        "detail": {"type": "string", "description": "What happened and what to do next."},
        "error": {"type": "string", "description": "One sentence for people."},
        "message": {"type": "string", "description": "The same sentence."},
        "details": {
            "type": "array",
            "description": "Every fault that was found.",
            "items": {
                "type": "object",
                "required": ["field", "problem"],
                "properties": {"field": {"type": "string"}, "problem": {"type": "string"}},
            },
        },
        "request_id": {"type": "string", "description": "By which the operator finds the request in the log."},
        "timestamp": {"type": "integer", "description": "Unix seconds."},
    },
}
