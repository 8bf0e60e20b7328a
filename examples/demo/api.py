"""A small client of TaskManager's API."""

import http.client
import json
from typing import Any
from urllib.parse import quote, urlencode

from examples.demo.failure import Failure

_TIMEOUT_SECONDS = 30


class Api:
    """Sends requests with a key over one connection."""

    def __init__(self, host: str, port: int, key: str | None = None) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
        self._headers = {"Content-Type": "application/json", **({"X-API-Key": key} if key else {})}

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        self._connection.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Return the `data` of the answer."""
        return self._request("GET", f"{quote(path)}?{urlencode(query)}" if query else quote(path))

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a JSON body, if there is one, and return the `data` of the answer."""
        return self._request("POST", quote(path), json.dumps(body) if body is not None else None)

    def _request(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        try:
            self._connection.request(method, f"/api{path}", body, self._headers)
            response = self._connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise Failure(f"The server does not answer as it should ({error}); its log may say why.") from error
        if not answer.get("success"):
            raise Failure(f"The server refuses {method} {path.partition('?')[0]}: {answer.get('message')}.")
        data: dict[str, Any] = answer["data"]
        return data
