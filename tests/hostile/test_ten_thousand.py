"""Ten thousand API keys, task types, workers and concurrency keys: what is asked all the time stays cheap."""

import time
from collections.abc import Callable
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import insert, select
from werkzeug.test import TestResponse

from app.storage.database import Database
from app.storage.models import api_keys, task_type_limits, task_type_usage, task_types, workers
from tests.support.client import Client
from tests.support.factories import Queue
from tests.support.statements import counted_statements

NUMBER = 10_000
IS_NIGHTLY = settings.get_current_profile_name() == "nightly"
# It tells "bounded" from "for ever" on a machine that has much else to do; all take a fraction of it.
CEILING_SECONDS = 5


@pytest.fixture(params=["sqlite", "mariadb"] if IS_NIGHTLY else ["sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Filling a database takes seconds; both are filled by night."""
    return str(request.param)


def fill(database: Database, table: Any, rows: list[dict[str, Any]]) -> None:
    with database.engine.begin() as connection:
        for begin in range(0, len(rows), 1000):
            connection.execute(insert(table), rows[begin : begin + 1000])


@pytest.fixture
def crowd(client: Client, database: Database) -> Client:
    """An application on a database that is full of names."""
    now = database.read(lambda tx: tx.now)
    members = {f"member {number}": {"type": "string"} for number in range(25)}
    Queue(database).register("type-0", param_schema={"type": "object", "properties": members})
    with database.engine.connect() as connection:
        example = dict(connection.execute(select(task_types)).mappings().one())
    del example["id"]
    numbers = range(1, NUMBER)
    key = {"prefix": "tm_", "scopes": "worker", "created_at": now}
    fill(database, api_keys, [{**key, "name": f"key {n}", "key_hash": f"{n:064x}"} for n in numbers])
    fill(database, task_types, [{**example, "name": f"type-{n}", "name_key": f"type-{n}"} for n in numbers])
    with database.engine.connect() as connection:
        ids = [row.id for row in connection.execute(select(task_types.c.id).where(task_types.c.name != "type-0"))]
    fill(database, task_type_usage, [{"type_id": type_id, "usage_count": 0} for type_id in ids])
    fill(database, task_type_limits, [{"type_id": type_id, "recent_claims": []} for type_id in ids])
    seen = {"first_seen_at": now, "last_seen_at": now}
    fill(database, workers, [{**seen, "worker_id": f"worker-{n}"} for n in numbers])
    database.cache.clear()
    return client


def test_what_is_asked_all_the_time_stays_cheap_among_ten_thousand(crowd: Client, database: Database) -> None:
    def claim(**what: Any) -> Callable[[], TestResponse]:
        return lambda: crowd.post("/api/tasks/claim", json={"worker_id": "w", **what})

    stranger = Client(crowd.app, database, "tm_" + "x" * 30)
    asked: dict[str, tuple[Callable[[], TestResponse], int, int]] = {
        # What is asked, the status, and the most statements once the caches are warm.
        "a strange key": (lambda: stranger.get("/api/tasks"), 401, 1),
        "a claim": (claim(types=["type-77"]), 404, 1),
        "a claim of all": (claim(type_pattern="%"), 404, 2),
        "a claim by a pattern": (claim(type_pattern="%t%y%p%e%9%9%9%9%_%_" * 10), 404, 1),
        "creating": (lambda: crowd.post("/api/tasks", json={"type": "type-99", "params": {}}), 201, 4),
        "the tasks": (lambda: crowd.get("/api/tasks?type=%25&limit=100"), 200, 2),
        "the workers": (lambda: crowd.get("/api/workers?limit=100"), 200, 4),
        "a type": (lambda: crowd.get("/api/task-types/type-5/stats"), 200, 8),
        "the health": (lambda: crowd.get("/api/health?verbose=1"), 200, 4),
        "housekeeping": (lambda: crowd.post("/api/housekeeping/run"), 200, 10),
    }
    faults = []
    for name, (ask, status, most_statements) in asked.items():
        began = time.monotonic()
        statuses = {ask().status_code}
        if time.monotonic() - began > CEILING_SECONDS:
            faults.append(f"{name} takes {time.monotonic() - began:.1f} s")
        with counted_statements(database) as seen:
            ask()
        if statuses != {status} or len(seen) > most_statements:
            faults.append(f"{name}: {statuses}, {len(seen)} statements")
    assert not faults, faults
    lists_are_bounded(crowd)
    many_patterns_do_not_fill_the_memory(crowd)


def lists_are_bounded(crowd: Client) -> None:
    began = time.monotonic()
    assert len(crowd.get("/api/workers?limit=1000").get_json()["data"]["workers"]) == 1000
    assert len(crowd.get("/api/keys").get_json()["data"]["keys"]) == NUMBER
    assert time.monotonic() - began < CEILING_SECONDS


def many_patterns_do_not_fill_the_memory(crowd: Client) -> None:
    crowd.post("/api/tasks/claim", json={"worker_id": "w", "type_pattern": "%"})
    before = getrusage(RUSAGE_SELF).ru_maxrss
    for digit in range(10):
        # A third of all types each time, and never the same ones.
        crowd.post("/api/tasks/claim", json={"worker_id": "w", "type_pattern": f"%{digit}%"})
    grown = (getrusage(RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 100, f"grown by {grown:.0f} MB"


def test_every_concurrency_key_gets_its_turn_at_the_price_of_one(client: Client, database: Database) -> None:
    Queue(database).register("work", key_max_concurrency=1)
    new = [{"type": "work", "params": {"n": n}, "concurrency_key": f"key-{n}"} for n in range(2000)]
    for begin in range(0, len(new), 1000):
        answer = client.post("/api/tasks/batch", json={"tasks": new[begin : begin + 1000]})
        assert answer.get_json()["data"]["created"] == 1000, answer.get_data(as_text=True)[:300]
    order = {"worker_id": "w", "types": ["work"]}
    assert client.post("/api/tasks/claim", json=order).status_code == 200
    with counted_statements(database) as seen:
        assert client.post("/api/tasks/claim", json=order).status_code == 200
    assert len(seen) <= 4
    taken = client.post("/api/tasks/batch/claim", json={**order, "max_tasks": 100}).get_json()["data"]["tasks"]
    assert len({task["concurrency_key"] for task in taken}) == 100
