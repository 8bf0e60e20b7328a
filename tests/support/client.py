"""An HTTP client for tests inside the process: a path, some JSON, a key."""

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from app.queue.keys import create_key
from app.storage.database import Database
from tests.support.contract_check import check_answer


def make_key(database: Database, *scopes: str, name: str = "test") -> str:
    """Create an API key with these scopes and return it."""
    return database.write(lambda tx: create_key(tx, name=name, scopes=list(scopes))[0])


class Client:
    """Sends requests with an API key; `client.as_key("worker")` is a client with another one."""

    def __init__(self, app: Flask, database: Database, key: str | None) -> None:
        self.app = app
        self.database = database
        self.key = key

    def as_key(self, *scopes: str) -> "Client":
        """Return a client with a new key of these scopes."""
        return Client(self.app, self.database, make_key(self.database, *scopes, name="-".join(scopes)))

    def without_key(self) -> "Client":
        """Return a client that sends no key."""
        return Client(self.app, self.database, None)

    def request(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> TestResponse:
        """Send a request; the answer is read and closed, so that what follows an answer has been done.

        Each answer must be one that openapi.json describes.
        """
        headers = dict(headers or {})
        if self.key is not None:
            headers.setdefault("X-API-Key", self.key)
        response = self.app.test_client().open(path, method=method, headers=headers, buffered=True, **options)
        check_answer(response.request.method, path, response)
        return response

    def get(self, path: str, **options: Any) -> TestResponse:
        """Send GET; a query goes into `query_string={…}`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        """Send POST; the body goes into `json=` or `data=`."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> TestResponse:
        """Send PUT."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> TestResponse:
        """Send PATCH."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        """Send DELETE."""
        return self.request("DELETE", path, **options)
