"""Answers: JSON on its way to the caller."""

from collections.abc import Mapping
from typing import Any

from flask import Response
from werkzeug.datastructures import Headers

from app.storage.columns import to_json_bytes


class JsonResponse(Response):
    """A response whose headers are complete as they are: Werkzeug would go through all of them twice more."""

    automatically_set_content_length = False

    def __init__(
        self, value: Any, status: int, content_type: str = "application/json", more: Mapping[str, str] | None = None
    ) -> None:
        body = to_json_bytes(value) + b"\n"
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        super().__init__((body,), status, Headers([*headers, *more.items()] if more else headers))

    def get_wsgi_headers(self, environ: Any) -> Headers:
        """Return the headers."""
        return self.headers
