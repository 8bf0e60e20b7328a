"""GET /api/tasks/{id}?wait=N: it answers when the task ends, is bounded, and keeps nobody else out."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from app import create_app
from app.queue.waiting import take_slot
from app.settings import Settings
from tests.support.client import Client, make_key
from tests.support.server import start_server, stop_server
from tests.support.statements import counted_statements

SLOTS = 2


class Caller:
    """Calls a live server, each time over a connection of its own; remembers how long that took."""

    def __init__(self, server):
        self.server = server

    def __call__(self, method, path, **body):
        connection = http.client.HTTPConnection(urlsplit(self.server.url).netloc, timeout=20)
        began = time.monotonic()
        try:
            connection.request(
                method, f"/api{path}", json.dumps(body) if body else None, {"X-API-Key": self.server.admin_key}
            )
            response = connection.getresponse()
            data = json.loads(response.read())["data"]
        finally:
            connection.close()
        assert response.status in (200, 201), data
        return data, time.monotonic() - began, response.headers.get("Retry-After")


@pytest.fixture
def call(prepared_url, open_database, tmp_path):
    """A server of two processes in which two requests may wait, for a second, even in the same process."""
    key = make_key(open_database(clock=None), "admin", name="admin")
    settings = {"wait_max_seconds": "1", "wait_max_requests": str(SLOTS), "sqlite_synchronous": "normal"}
    server = start_server(prepared_url, key, tmp_path / "server.log", processes=2, **settings)
    caller = Caller(server)
    caller("POST", "/task-types/register", name="work", version="1", param_schema={"type": "object"})
    yield caller
    stop_server(server)


def _wait(call, task, seconds=60):
    return call("GET", f"/tasks/{task['id']}?wait={seconds}")


def test_waiting_ends_with_the_task_is_bounded_and_leaves_room_for_workers(call):
    task, _, _ = call("POST", "/tasks", type="work", params={"n": 1})
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(_wait, call, task) for _ in range(SLOTS)]
        time.sleep(0.2)
        # No slot is left: the answer comes at once, from whichever process.
        for answer, seconds, retry_after in pool.map(lambda _: _wait(call, task), range(4)):
            assert (answer["status"], retry_after) == ("pending", "1")
            assert seconds < 0.6
        # Workers get in meanwhile.
        claimed, seconds, _ = call("POST", "/tasks/claim", worker_id="w", types=["work"])
        assert (claimed["id"], seconds < 0.6) == (task["id"], True)
        call("POST", f"/tasks/{task['id']}/complete", worker_id="w", success=True, result={"a": 1})
        for future in waiting:
            answer, seconds, retry_after = future.result()
            assert (answer["status"], answer["result"], retry_after) == ("completed", {"a": 1}, None)
            assert seconds < 0.95
    # What has ended needs no waiting and no slot; what does not end is waited for as long as the server allows.
    assert _wait(call, task)[1] < 0.6
    other, _, _ = call("POST", "/tasks", type="work", params={"n": 2})
    answer, seconds, retry_after = _wait(call, other)
    assert (answer["status"], retry_after) == ("pending", None)
    assert 1 <= seconds < 1.9


@pytest.fixture
def make_client(settings, database, admin_key):
    """Make a client of an application with other settings for waiting."""

    def make(**more):
        app = create_app(
            Settings(database_url=settings.database_url, housekeeping_seconds=0, **more), database=database
        )
        client = Client(app, database, admin_key)
        body = {"name": "work", "version": "1", "param_schema": {"type": "object"}}
        assert client.post("/api/task-types/register", json=body).status_code in (200, 201)
        return client, client.post("/api/tasks", json={"type": "work", "params": {}}).json["data"]

    return make


def test_where_waiting_is_off_the_answer_comes_at_once_and_says_when_to_ask_again(make_client):
    client, task = make_client()
    for query, retry_after in (("?wait=60", "1"), ("?wait=0", None), ("", None)):
        with counted_statements(client.database) as seen:
            answer = client.get(f"/api/tasks/{task['id']}{query}")
        assert (answer.status_code, answer.headers.get("Retry-After")) == (200, retry_after)
        assert not any(statement.startswith(("UPDATE", "INSERT")) for statement in seen)
    client.post(f"/api/tasks/{task['id']}/cancel")
    assert "Retry-After" not in client.get(f"/api/tasks/{task['id']}?wait=60").headers


def test_a_wait_gives_its_slot_back_and_a_dead_one_comes_free(make_client, clock):
    client, task = make_client(wait_max_seconds=60, wait_max_requests=1)
    path = f"/api/tasks/{task['id']}?wait=1"
    for _ in range(2):
        # Its own slot is free again for the second.
        assert "Retry-After" not in client.get(path).headers
    # One takes the slot and is never heard of again.
    client.database.write(lambda tx: take_slot(tx, slots=1, seconds=60), atomic=False)
    assert client.get(path).headers["Retry-After"] == "1"
    clock.advance(seconds=65)
    assert "Retry-After" not in client.get(path).headers


def test_a_waiting_request_holds_no_connection(make_client):
    client, task = make_client(wait_max_seconds=8)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get, f"/api/tasks/{task['id']}?wait=8")
        time.sleep(0.15)
        # The pool has one connection, and both go through it.
        began = time.monotonic()
        assert client.post(f"/api/tasks/{task['id']}/cancel").status_code == 200
        assert time.monotonic() - began < 4
        assert waiting.result().json["data"]["status"] == "cancelled"
        assert time.monotonic() - began < 0.8


def test_a_task_that_does_not_exist_is_not_waited_for(make_client):
    client, _ = make_client(wait_max_seconds=60)
    began = time.monotonic()
    assert client.get("/api/tasks/987654321?wait=60").json["code"] == "task_not_found"
    assert time.monotonic() - began < 1
