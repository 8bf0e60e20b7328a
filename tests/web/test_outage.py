"""A database that is away is said to be away, by every endpoint, in bounded time."""

import time

import pytest

from app import create_app
from app.settings import Settings
from app.storage.database import Database
from tests.support.client import Client
from tests.support.ports import find_free_port


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/health", None),
        ("GET", "/api/tasks", None),
        ("POST", "/api/tasks", {"type": "work", "params": {}}),
        ("POST", "/api/tasks/claim", {"worker_id": "w", "types": ["work"]}),
    ],
)
def test_a_database_that_is_away_is_a_503_with_retry_after(method, path, body):
    url = f"mysql://user:hidden@127.0.0.1:{find_free_port()}/name"
    settings = Settings(database_url=url, database_timeout_seconds=1)
    database = Database(settings)
    began = time.monotonic()
    answer = Client(create_app(settings, database=database), database, "tm_key").request(method, path, json=body)
    assert time.monotonic() - began < 10
    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "hidden" not in answer.get_data(as_text=True)
    assert "127.0.0.1" not in answer.get_data(as_text=True)


def test_a_database_without_tables_says_what_the_operator_has_to_do(database_url, database_kind):
    settings = Settings(database_url=database_url)
    database = Database(settings)
    answer = Client(create_app(settings, database=database), database, "tm_key").get("/api/tasks")
    assert answer.status_code == 503
    assert "setup_database.py" in answer.json["detail"]
    database.dispose()
