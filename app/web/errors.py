"""Errors that only HTTP knows; the queue's own are in app/errors.py."""

from app.errors import Invalid, QueueError


class Unauthenticated(QueueError):
    """The request needs a key."""

    code = "unauthenticated"
    sentence = "API key required"


class KeyRequired(Unauthenticated):
    """Send an API key in the header `X-API-Key` or as `Authorization: Bearer …`."""

    code = "key_required"


class KeyRefused(Unauthenticated):
    """The API key is unknown, expired or revoked; ask an admin for a new one."""

    code = "key_refused"
    sentence = "API key refused"


class ScopeMissing(QueueError):
    """The API key may not do this; ask an admin for a key with the scope."""

    code = "scope_missing"
    sentence = "The API key may not do this"


class InvalidJson(Invalid):
    """The body is not a JSON object in UTF-8."""

    code = "invalid_json"
    sentence = "Invalid JSON in request body"


class InvalidHeader(Invalid):
    """A header of the request cannot be understood."""

    code = "invalid_header"
    sentence = "Invalid header"


class BodyTooLarge(QueueError):
    """The body is larger than the server accepts (setting `TASKMANAGER_MAX_BODY_BYTES`)."""

    code = "body_too_large"
    sentence = "Request body too large"


class EndpointNotFound(QueueError):
    """There is nothing at this path; `/api/docs/` lists what there is."""

    code = "endpoint_not_found"
    sentence = "Endpoint not found"


class MethodNotAllowed(QueueError):
    """This path does not answer to this method; the header `Allow` lists those that it answers to."""

    code = "method_not_allowed"
    sentence = "Method not allowed"


class BadRequest(Invalid):
    """The server could not make sense of the HTTP request."""

    code = "bad_request"
    sentence = "Bad request"


class InternalError(QueueError):
    """Something went wrong in the server; the operator finds it in the log under the request id."""

    code = "internal_error"
    sentence = "Internal server error"
