"""A stage for bad input, and what is wrong with a refusal of it."""

from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.storage.models import metadata
from tests.support.bodies import CHECKSUM
from tests.support.client import Client

LEAKS = ("sqlite", "sqlalchemy", "pymysql", "mysql", "mariadb", "SELECT ", "INSERT", "UPDATE ", "Traceback", ".py")
LEAKS += ("Error:", "Exception", "sys.", "/srv/", "/tmp/", "site-packages", "marshmallow", "werkzeug", "charmap")
INVALID = ("invalid_request", "missing_field", "invalid_schema", "invalid_schedule")


class Stage:
    """An application with a type, a pending and a claimed task and a key, and a look at all that is stored."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.expect(201, "POST", "/api/task-types/register", name="checksum", version="1", param_schema=CHECKSUM)
        self.expect(201, "POST", "/api/tasks", type="checksum", params={"path": "a"})
        waiting = self.expect(201, "POST", "/api/tasks", type="checksum", params={"path": "b"})
        claimed = self.expect(200, "POST", "/api/tasks/claim", worker_id="w", types=["checksum"])
        key = self.expect(201, "POST", "/api/keys", name="one more", scopes=["read"])
        hourly = {"name": "hourly", "type": "checksum", "params": {"path": "a"}, "interval_seconds": 3600}
        schedule = self.expect(201, "POST", "/api/schedules", **hourly)
        cancelled = self.expect(201, "POST", "/api/tasks", type="checksum", params={"path": "c"})
        self.expect(200, "POST", f"/api/tasks/{cancelled['id']}/cancel")
        made = {"claimed": claimed, "waiting": waiting, "cancelled": cancelled, "key": key, "schedule": schedule}
        self.ids = {name: row["id"] for name, row in made.items()}
        self.token = claimed["lease_token"]

    def expect(self, status: int, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = self.client.request(method, path, json=body)
        assert answer.status_code == status, answer.get_data(as_text=True)
        data: dict[str, Any] = answer.get_json()["data"]
        return data

    def path(self, path: str) -> str:
        return path.format(**self.ids)

    def stored(self) -> dict[str, list[Any]]:
        def read(tx: Any) -> dict[str, list[Any]]:
            return {table.name: tx.all(select(table)) for table in metadata.sorted_tables}

        return self.client.database.read(read)


# For what is refused before the database is asked.
before_the_database = pytest.mark.parametrize("database_kind", ["sqlite"])


def fault_of(answer: TestResponse, status: int, codes: str | tuple[str, ...], field: str | None = None) -> str | None:
    """Return what is wrong with a refusal, or None."""
    shown = answer.get_data(as_text=True)
    if answer.status_code != status:
        return f"{answer.status_code} instead of {status}: {shown[:300]}"
    body = answer.get_json()
    if body["code"] not in ((codes,) if isinstance(codes, str) else codes):
        return f"code {body['code']} instead of {codes}: {shown[:300]}"
    if field is not None and not any(is_about(detail["field"], field) for detail in body["details"]):
        return f"the details do not name {field}: {body['details']}"
    if len(shown) > 60_000:
        return f"the refusal has {len(shown)} characters"
    leaks = [leak for leak in LEAKS if leak in shown]
    return f"leaks {leaks}: {shown[:500]}" if leaks else None


def is_about(named: str, field: str) -> bool:
    return named == field or named.startswith(f"{field}.")
