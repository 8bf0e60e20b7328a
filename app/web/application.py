"""Flask, without what no request of ours needs: sessions, hosts, and functions that are asynchronous."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

_NO_SESSION = NullSession()


class _NoSessions(SessionInterface):
    def open_session(self, app: Flask, request: Request) -> NullSession:
        return _NO_SESSION

    def is_null_session(self, obj: object) -> bool:
        return True


class Application(Flask):
    """The application; in an empty view Flask's own way costs half as much again."""

    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is; Flask would look at five of them in every request."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Find the view by the path alone: no route of ours asks for a host."""
        if request is None:
            return super().create_url_adapter(request)
        environ = request.environ
        return MapAdapter(
            self.url_map,
            server_name=environ["SERVER_NAME"],
            script_name=f"{_text(environ.get('SCRIPT_NAME', '')).rstrip('/')}/",
            subdomain="",
            url_scheme=environ["wsgi.url_scheme"],
            path_info=_text(environ.get("PATH_INFO", "")),
            default_method=environ["REQUEST_METHOD"],
        )


def _text(of_environ: str) -> str:
    """Return what WSGI hands over with a character for each byte."""
    return of_environ if of_environ.isascii() else of_environ.encode("latin-1").decode(errors="replace")
