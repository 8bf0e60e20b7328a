"""The sample worker, as a process of its own, against a live server."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.settings import PREFIX, ROOT
from app.storage.database import Database
from examples.demo.api import Api
from examples.demo.failure import Failure
from tests.support.client import make_key
from tests.support.server import LiveServer, server_command, start_server, stop_server

FOLDER = ROOT / "examples" / "workers" / "python"
SECONDS = 8
# The worker knows nothing of the server's database.
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])

StartWorker = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def live_server(prepared_url: str, open_database: Callable[..., Database], tmp_path: Path) -> Iterator[LiveServer]:
    """A server whose two processes hear at once of what an admin commands."""
    key = make_key(open_database(clock=None), "admin", name="admin")
    server = start_server(prepared_url, key, tmp_path / "server.log", sqlite_synchronous="normal", cache_seconds="0")
    yield server
    stop_server(server)


@pytest.fixture
def api(live_server: LiveServer) -> Iterator[Api]:
    """The live server's API, with the types of the test's handlers registered."""
    host, _, port = live_server.url.removeprefix("http://").partition(":")
    api = Api(host, int(port), live_server.admin_key)
    for name in ("echo", "sleep", "fail", "refuse"):
        body = {"name": name, "version": "1", "param_schema": {"type": "object"}, "lease_seconds": 60}
        api.post("/task-types/register", {**body, "retry_delay_seconds": 0, "dedupe": "never"})
    yield api
    api.close()


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """Start a worker with this test's handlers; it is killed after the test if it is still there."""
    started: list[subprocess.Popen[str]] = []

    def start(url: str, key: str, worker_id: str = "worker-1") -> subprocess.Popen[str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        worker = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("handlers.py"))],
            env={**others, "PYTHONPATH": str(FOLDER), "TM_URL": url, "TM_KEY": key, "TM_WORKER_ID": worker_id},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.communicate()


@pytest.fixture
def worker(api: Api, live_server: LiveServer, start_worker: StartWorker) -> subprocess.Popen[str]:
    """A worker at the live server, with a key that may do no more than it needs."""
    key = api.post("/keys", {"name": "worker", "scopes": ["worker"]})["key"]
    return start_worker(live_server.url, key)


def create(api: Api, task_type: str, **params: Any) -> int:
    task_id: int = api.post("/tasks", {"type": task_type, "params": params})["id"]
    return task_id


def wait_for(api: Api, task_id: int, *statuses: str) -> dict[str, Any]:
    """Return the task as soon as it has one of these statuses."""
    give_up_at = time.monotonic() + SECONDS
    while (task := api.get(f"/tasks/{task_id}"))["status"] not in statuses:
        assert time.monotonic() < give_up_at, f"still {task['status']}: {task}"
        time.sleep(0.02)
    return task


@on_sqlite
def test_tasks_are_completed_with_their_results(api: Api, worker: subprocess.Popen[str]) -> None:
    created = {create(api, "echo", number=number): number for number in range(5)}
    for task_id, number in created.items():
        task = wait_for(api, task_id, "completed")
        assert task["result"] == {"number": number}
        assert task["claimed_by"] == "worker-1"


@on_sqlite
def test_a_failed_attempt_is_made_again(api: Api, worker: subprocess.Popen[str]) -> None:
    task_id = create(api, "fail", until_attempt=2)
    assert wait_for(api, task_id, "completed", "failed")["result"] == {"attempts": 2}
    (attempt,) = api.get(f"/tasks/{task_id}/attempts")["attempts"]
    assert (attempt["outcome"], attempt["error_message"]) == ("failed", "ValueError: not yet ?")


@on_sqlite
def test_a_permanent_failure_is_not_tried_again(api: Api, worker: subprocess.Popen[str]) -> None:
    task = wait_for(api, create(api, "refuse"), "failed")
    assert (task["attempts"], task["error_message"]) == (1, "never")


@on_sqlite
def test_a_result_that_the_type_does_not_allow_fails_the_task_at_once(api: Api, worker: subprocess.Popen[str]) -> None:
    schema = {"type": "object", "required": ["sha256"]}
    api.post(
        "/task-types/register",
        {"name": "echo", "version": "2", "param_schema": {"type": "object"}, "result_schema": schema},
    )
    task = wait_for(api, create(api, "echo"), "failed", "completed")
    assert (task["status"], task["attempts"]) == ("failed", 1)
    assert task["error_message"].startswith("Result refused: ")


@on_sqlite
def test_heartbeats_keep_a_task_that_takes_longer_than_its_lease(
    api: Api, live_server: LiveServer, worker: subprocess.Popen[str], start_worker: StartWorker
) -> None:
    api.post(
        "/task-types/register",
        {"name": "sleep", "version": "1", "param_schema": {"type": "object"}, "lease_seconds": 1},
    )
    task_id = create(api, "sleep", seconds=3)
    wait_for(api, task_id, "claimed")
    # One that would take the task over.
    start_worker(live_server.url, live_server.admin_key, "worker-2")
    task = wait_for(api, task_id, "completed", "failed")
    assert (task["status"], task["attempts"], task["claimed_by"]) == ("completed", 1, "worker-1")


@on_sqlite
def test_a_worker_learns_that_its_task_was_cancelled_and_goes_on(api: Api, worker: subprocess.Popen[str]) -> None:
    api.post(
        "/task-types/register",
        {"name": "sleep", "version": "1", "param_schema": {"type": "object"}, "lease_seconds": 1},
    )
    task_id = create(api, "sleep", seconds=60)
    wait_for(api, task_id, "claimed")
    api.post(f"/tasks/{task_id}/cancel")
    wait_for(api, create(api, "echo"), "completed")
    assert api.get(f"/tasks/{task_id}")["status"] == "cancelled"


@on_sqlite
def test_sigterm_lets_the_worker_finish_its_task_and_claim_no_other(api: Api, worker: subprocess.Popen[str]) -> None:
    first, second = create(api, "sleep", seconds=1), create(api, "echo")
    wait_for(api, first, "claimed")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(SECONDS) == 0
    assert api.get(f"/tasks/{first}")["status"] == "completed"
    assert api.get(f"/tasks/{second}")["status"] == "pending"


@on_sqlite
def test_a_second_signal_gives_the_task_back_without_spending_the_attempt(
    api: Api, worker: subprocess.Popen[str]
) -> None:
    task_id = create(api, "sleep", seconds=60)
    wait_for(api, task_id, "claimed")
    worker.send_signal(signal.SIGINT)
    time.sleep(0.2)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(SECONDS) == 1
    task = api.get(f"/tasks/{task_id}")
    assert (task["status"], task["attempts"]) == ("pending", 0)


@on_sqlite
def test_an_idle_worker_stops_at_once(api: Api, worker: subprocess.Popen[str]) -> None:
    wait_for(api, create(api, "echo"), "completed")
    began = time.monotonic()
    worker.terminate()
    assert worker.wait(SECONDS) == 0
    assert time.monotonic() - began < 1


def find_worker(api: Api, worker_id: str = "worker-1") -> dict[str, Any]:
    """Return the worker as soon as the server knows it."""
    give_up_at = time.monotonic() + SECONDS
    while True:
        with suppress(Failure):
            return api.get(f"/workers/{worker_id}")
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


@on_sqlite
def test_a_worker_tells_its_version_and_its_types(api: Api, worker: subprocess.Popen[str]) -> None:
    wait_for(api, create(api, "echo"), "completed")
    found = find_worker(api)
    assert found["version"] == "worker.py/1.1"
    assert sorted(found["types"]) == ["echo", "fail", "refuse", "sleep"]
    assert found["is_alive"]


@on_sqlite
def test_a_quiet_worker_finishes_its_task_claims_no_other_and_goes_on_when_it_may(
    api: Api, worker: subprocess.Popen[str]
) -> None:
    first = create(api, "sleep", seconds=1)
    wait_for(api, first, "claimed")
    find_worker(api)
    api.post("/workers/worker-1/command", {"command": "quiet"})
    second = create(api, "echo")
    wait_for(api, first, "completed")
    # Until it must have asked again.
    time.sleep(2)
    assert api.get(f"/tasks/{second}")["status"] == "pending"
    assert worker.poll() is None
    api.post("/workers/worker-1/command", {"command": None})
    wait_for(api, second, "completed")


@on_sqlite
@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])
def test_a_worker_that_is_told_to_terminate_finishes_its_task_and_ends(
    api: Api, worker: subprocess.Popen[str], is_busy: bool
) -> None:
    body = {"name": "sleep", "version": "1", "param_schema": {"type": "object"}, "lease_seconds": 1}
    api.post("/task-types/register", body)
    wait_for(api, create(api, "echo"), "completed")
    task_id = create(api, "sleep", seconds=2) if is_busy else 0
    if is_busy:
        wait_for(api, task_id, "claimed")
    find_worker(api)
    api.post("/workers/worker-1/command", {"command": "terminate"})
    assert worker.wait(SECONDS) == 0
    if is_busy:
        assert api.get(f"/tasks/{task_id}")["status"] == "completed"


@on_sqlite
def test_a_result_is_reported_after_a_restart_of_the_server(
    api: Api, live_server: LiveServer, prepared_url: str, worker: subprocess.Popen[str]
) -> None:
    task_id = create(api, "sleep", seconds=1)
    wait_for(api, task_id, "claimed")
    stop_server(live_server)
    # Until the worker must have tried to report.
    time.sleep(1)
    port = int(live_server.url.rpartition(":")[2])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with live_server.log.open("ab") as log:
        process = subprocess.Popen(
            server_command(port),
            cwd=ROOT,
            env={**environment, f"{PREFIX}DATABASE_URL": prepared_url},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        give_up_at = time.monotonic() + SECONDS
        while True:
            try:
                task = wait_for(api, task_id, "completed")
                break
            except Failure:
                assert time.monotonic() < give_up_at
                time.sleep(0.05)
        assert task["attempts"] == 1
        wait_for(api, create(api, "echo"), "completed")
    finally:
        stop_server(LiveServer(live_server.url, live_server.admin_key, process, live_server.log))


@on_sqlite
def test_a_refused_key_ends_the_worker_with_a_sentence(live_server: LiveServer, start_worker: StartWorker) -> None:
    worker = start_worker(live_server.url, "tm_wrong")
    output, _ = worker.communicate(timeout=SECONDS)
    assert worker.returncode == 1
    assert "refuses the key in TM_KEY: API key refused" in output
    assert "Traceback" not in output


def test_a_worker_without_work_waits_as_long_as_the_server_says(start_worker: StartWorker) -> None:
    asked_at: list[float] = []

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked_at.append(time.monotonic())
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(
                {"success": False, "code": "no_available_tasks", "message": "No available tasks"}
            ).encode()
            self.send_response(404)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        start_worker(f"http://127.0.0.1:{server.server_address[1]}", "tm_any")
        give_up_at = time.monotonic() + SECONDS
        while len(asked_at) < 3 and time.monotonic() < give_up_at:
            time.sleep(0.05)
        server.shutdown()
    assert all(later - earlier >= 1 for earlier, later in pairwise(asked_at))
    assert len(asked_at) == 3


def test_the_worker_is_short_enough_to_be_copied() -> None:
    assert len((FOLDER / "worker.py").read_text(encoding="utf-8").splitlines()) < 150
