"""What is done around every request: its id, the log, headers, CORS, and housekeeping afterwards."""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from flask import Flask, Response, g, request
from flask.globals import request_ctx
from werkzeug.exceptions import RequestEntityTooLarge

from app.web.current import parts

log = logging.getLogger("taskmanager.requests")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, Prefer, X-API-Key, X-HTTP-Method-Override, X-Request-ID"
)
MAX_FORGOTTEN_BYTES = 16 * 1024 * 1024
_OVERRIDES = frozenset({"PUT", "PATCH", "DELETE"})
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def register(app: Flask) -> None:
    """Hook into every request of `app`."""
    # None of our functions is asynchronous, and Flask would make sure of that for five of them in every request.
    app.ensure_sync = _as_it_is  # type: ignore[method-assign, assignment]
    app.before_request(_begin)
    app.after_request(_finish)
    app.wsgi_app = _override_method(app.wsgi_app)  # type: ignore[method-assign, assignment]


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def request_id() -> str:
    """Return the id of this request: the caller's if it is well formed, else a new one."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    found: str = g.request_id
    return found


def _begin() -> Response | None:
    g.began = time.monotonic()
    if request.method == "OPTIONS" and request.url_rule is not None:
        return Response(status=204, headers={"Allow": allowed_methods()})
    return None


def allowed_methods() -> str:
    """Return the methods that the present path answers to."""
    adapter = request_ctx.url_adapter
    return ", ".join(sorted(adapter.allowed_methods())) if adapter is not None else ""


def _finish(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-ID"] = request_id()
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")
    _add_cors(response)
    _drain()
    response.call_on_close(parts().housekeeping.run_after_request)
    if log.isEnabledFor(logging.DEBUG):
        milliseconds = (time.monotonic() - g.get("began", time.monotonic())) * 1000
        log.debug("%s %s %s %.1f ms %s", request.method, request.path, response.status_code, milliseconds, request_id())
    return response


def _drain() -> None:
    """Read a body that no view has read: some servers break the connection over one that is left in it.

    One that is too large is read up to a bound and forgotten, so that its sender sees the answer.
    """
    # What is wrong with a body that nobody wants is nobody's business; each server has errors of its own for that.
    with suppress(Exception):
        try:
            request.get_data(cache=True)
        except RequestEntityTooLarge:
            left = min(request.content_length or 0, MAX_FORGOTTEN_BYTES)
            while left > 0 and (read := request.environ["wsgi.input"].read(min(left, 65536))):
                left -= len(read)


def _add_cors(response: Response) -> None:
    allowed = parts().settings.cors_origins
    if not allowed:
        return
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin is None or (origin not in allowed and "*" not in allowed):
        return
    response.headers["Access-Control-Allow-Origin"] = "*" if "*" in allowed else origin
    response.headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-ID"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "GET, POST")
        response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = "600"


def _override_method(wsgi_app: WsgiApp) -> WsgiApp:
    """Let a POST stand for another method: some hosts let only GET and POST through."""

    def overriding(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        wanted = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", "").upper()
        if environ["REQUEST_METHOD"] == "POST" and wanted in _OVERRIDES:
            environ["REQUEST_METHOD"] = wanted
        return wsgi_app(environ, start_response)

    return overriding
