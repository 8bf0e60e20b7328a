"""The one table from errors to problem responses (RFC 9457, with the envelope's members beside)."""

import logging
import time
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from app import errors
from app.web import errors as web_errors
from app.web.answers import JsonResponse
from app.web.requests import allowed_methods, request_id

log = logging.getLogger("taskmanager")

_STATUSES: tuple[tuple[type[errors.QueueError], int], ...] = (
    (errors.Invalid, 400),
    (web_errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (web_errors.ScopeMissing, 403),
    (errors.NotFound, 404),
    (web_errors.EndpointNotFound, 404),
    (web_errors.MethodNotAllowed, 405),
    (errors.Conflict, 409),
    (web_errors.BodyTooLarge, 413),
    (errors.Unavailable, 503),
    (web_errors.InternalError, 500),
)
_OF_WERKZEUG = {404: web_errors.EndpointNotFound, 405: web_errors.MethodNotAllowed, 413: web_errors.BodyTooLarge}


def status_of(kind: type[errors.QueueError]) -> int:
    """Return the HTTP status of an error."""
    return next(status for meaning, status in _STATUSES if issubclass(kind, meaning))


def problem(error: errors.QueueError) -> dict[str, Any]:
    """Return the body of a problem response, without the members that belong to one request."""
    return {
        "success": False,
        "type": "about:blank",
        "status": status_of(type(error)),
        "code": error.code,
        "title": type(error).sentence,
        "detail": error.detail,
        "error": error.shown_sentence,
        "message": error.shown_sentence,
        "details": error.details,
    }


def show_refusal(error: errors.QueueError) -> dict[str, Any]:
    """Show the error of one item of a batch, as the problem that it would be by itself."""
    whole = problem(error)
    return {name: whole[name] for name in ("status", "code", "error", "detail", "details")}


def register(app: Flask) -> None:
    """Answer every error of `app` as a problem."""
    app.register_error_handler(errors.QueueError, answer_problem)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_unknown_error)


def answer_problem(error: errors.QueueError) -> Response:
    """Write an error as a problem response."""
    body = {**problem(error), "request_id": request_id(), "timestamp": int(time.time())}
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    if isinstance(error, web_errors.Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="TaskManager"'
    if isinstance(error, web_errors.MethodNotAllowed):
        headers["Allow"] = allowed_methods()
    return JsonResponse(body, body["status"], "application/problem+json", headers)


def _answer_http_error(error: HTTPException) -> Response:
    if error.code is not None and error.code < 400:
        return error.get_response()  # type: ignore[return-value]
    kind = _OF_WERKZEUG.get(error.code or 500)
    if kind is None:
        kind = web_errors.BadRequest if error.code is not None and error.code < 500 else web_errors.InternalError
    return answer_problem(kind())


def _answer_unknown_error(error: Exception) -> Response:
    log.error("request %s failed", request_id(), exc_info=error)
    return answer_problem(web_errors.InternalError())
