"""Face 1: JSON over HTTP."""

from flask import Blueprint, Flask, Response, redirect, request, send_file, url_for
from werkzeug.routing import BaseConverter

from app.rest import problems
from app.rest.routes import add_routes
from app.settings import ROOT, Settings
from app.storage.columns import MAX_ID

OPENAPI_FILE = ROOT / "openapi.json"


class IdConverter(BaseConverter):
    """An id in a path: a whole number; what is not is no endpoint."""

    regex = r"[0-9]+"

    def to_python(self, value: str) -> int:
        """Return the id, or 0, which nothing has, for one that no database could hold."""
        digits = value.lstrip("0")
        number = int(digits or 0) if len(digits) <= len(str(MAX_ID)) else 0
        return number if number <= MAX_ID else 0


class NameConverter(BaseConverter):
    """A name in a path, which may hold any character: slashes too, also at its beginning."""

    part_isolating = False
    regex = r".+?"


def register(app: Flask, settings: Settings) -> None:
    """Add the API to `app`."""
    app.url_map.converters["id"] = IdConverter
    app.url_map.converters["name"] = NameConverter
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    add_routes(app, legacy_paths=settings.legacy_paths)
    app.add_url_rule("/api/openapi.json", view_func=openapi_document)
    app.register_blueprint(_docs(), url_prefix="/api/docs")
    app.add_url_rule("/", view_func=_to_docs)
    problems.register(app)


def openapi_document() -> Response:
    """Serve the committed document: building it would cost every cold start."""
    return send_file(OPENAPI_FILE, mimetype="application/json", max_age=300)


def _docs() -> Blueprint:
    from flask_swagger_ui import get_swaggerui_blueprint

    docs: Blueprint = get_swaggerui_blueprint(
        # Both relative to the page, so that they are right behind any prefix.
        ".",
        "../openapi.json",
        config={
            "app_name": "TaskManager",
            # Without the bar that asks for the URL of another document, and without the badge of a foreign validator.
            "layout": "BaseLayout",
            "validatorUrl": None,
            "tryItOutEnabled": True,
            "persistAuthorization": True,
            "displayRequestDuration": True,
        },
    )
    docs.before_request(_to_docs_with_slash)
    return docs


def _to_docs_with_slash() -> Response | None:
    # What is relative to the page would be looked for one level too high.
    return _to_docs() if request.path == "/api/docs" else None


def _to_docs() -> Response:
    return redirect(url_for("swagger_ui.show"))  # type: ignore[return-value]
