"""What is done around every request: its id, the log, headers, CORS, and housekeeping afterwards."""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from flask import Flask, Response, request
from flask.globals import request_ctx

from app.web.bodies import is_body_read, read_body
from app.web.current import EXTENSION, Parts
from app.web.errors import BodyTooLarge

log = logging.getLogger("taskmanager.requests")

_WELL_FORMED = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
# Their places in WSGI's environment.
_REQUEST_ID, _BEGAN = "taskmanager.request_id", "taskmanager.began"
_NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
_NO_STORE = ("Cache-Control", "no-store")
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, Prefer, X-API-Key, X-HTTP-Method-Override, X-Request-ID"
)
MAX_FORGOTTEN_BYTES = 16 * 1024 * 1024
_OVERRIDES = frozenset({"PUT", "PATCH", "DELETE"})
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def register(app: Flask) -> None:
    """Hook into every request of `app`."""
    parts: Parts = app.extensions[EXTENSION]
    housekeep = parts.housekeeping.run_after_request

    def finish(response: Response) -> Response:
        _drain()
        response.call_on_close(housekeep)
        if log.isEnabledFor(logging.DEBUG):
            _log(response)
        return response

    app.before_request(_begin)
    app.after_request(finish)
    if parts.settings.cors_origins:
        app.after_request(partial(_add_cors, parts.settings.cors_origins))
    app.wsgi_app = _around(app.wsgi_app)  # type: ignore[method-assign, assignment]


def request_id() -> str:
    """Return the id of this request: the caller's if it is well formed, else a new one."""
    found: str = request.environ[_REQUEST_ID]
    return found


def _begin() -> Response | None:
    if request.method == "OPTIONS" and request.url_rule is not None:
        return Response(status=204, headers={"Allow": allowed_methods()})
    return None


def allowed_methods() -> str:
    """Return the methods that the present path answers to."""
    adapter = request_ctx.url_adapter
    return ", ".join(sorted(adapter.allowed_methods())) if adapter is not None else ""


def _log(response: Response) -> None:
    milliseconds = (time.monotonic() - request.environ[_BEGAN]) * 1000
    log.debug("%s %s %s %.1f ms %s", request.method, request.path, response.status_code, milliseconds, request_id())


def _drain() -> None:
    """Read a body that no view has read: some servers break the connection over one that is left in it.

    One that is too large is read up to a bound and forgotten, so that its sender sees the answer.
    """
    if is_body_read():
        return
    # What is wrong with a body that nobody wants is nobody's business; each server has errors of its own for that.
    with suppress(Exception):
        try:
            read_body()
        except BodyTooLarge:
            left = min(request.content_length or 0, MAX_FORGOTTEN_BYTES)
            while left > 0 and (read := request.environ["wsgi.input"].read(min(left, 65536))):
                left -= len(read)


def _add_cors(allowed: tuple[str, ...], response: Response) -> Response:
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin is None or (origin not in allowed and "*" not in allowed):
        return response
    response.headers["Access-Control-Allow-Origin"] = "*" if "*" in allowed else origin
    response.headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-ID"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "GET, POST")
        response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = "600"
    return response


def _around(wsgi_app: WsgiApp) -> WsgiApp:
    """Do for every request what need not wait for Flask: its id and beginning, its method, the headers of its answer.

    A POST may stand for another method: some hosts let only GET and POST through.
    """

    def around(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        its_id = environ[_REQUEST_ID] = given if _WELL_FORMED.fullmatch(given) else secrets.token_hex(8)
        environ[_BEGAN] = time.monotonic()
        wanted = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE")
        if wanted is not None and environ["REQUEST_METHOD"] == "POST" and wanted.upper() in _OVERRIDES:
            environ["REQUEST_METHOD"] = wanted.upper()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers += (("X-Request-ID", its_id), _NO_SNIFFING)
            if not any(name == "Cache-Control" for name, _ in headers):
                headers.append(_NO_STORE)
            return start_response(status, headers, exc_info)

        return wsgi_app(environ, start)

    return around
