"""wsgi.py works under the servers that the documentation names, each as a process of its own."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from app.settings import PREFIX, ROOT
from tests.support.client import make_key
from tests.support.factories import Queue
from tests.support.ports import find_free_port

SERVERS = {
    "gunicorn": ["gunicorn", "--workers", "2", "--bind", "127.0.0.1:{port}", "wsgi:application"],
    "gunicorn preloaded": ["gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:{port}", "wsgi:application"],
    "gunicorn threads": ["gunicorn", "--threads", "4", "--bind", "127.0.0.1:{port}", "wsgi:application"],
    "waitress": ["waitress", "--listen", "127.0.0.1:{port}", "wsgi:application"],
}


def _environment(url: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**plain, f"{PREFIX}DATABASE_URL": url}


def _call(port: int, key: str, method: str, path: str, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, {"X-API-Key": key})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _wait_until_it_answers(process, port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        try:
            return _call(port, "", "GET", "/api/health") and None
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


@pytest.mark.parametrize("name", SERVERS)
def test_a_task_goes_its_way_under(name, prepared_url, open_database):
    database = open_database(clock=None)
    key = make_key(database, "admin")
    Queue(database).register()
    port = find_free_port()
    command = [sys.executable, "-m", *(part.format(port=port) for part in SERVERS[name])]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=_environment(prepared_url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_until_it_answers(process, port)
        for number in range(4):
            body = {"type": "work", "params": {"n": number}}
            assert _call(port, key, "POST", "/api/tasks", body)[0] == 201
        for _ in range(4):
            status, answer = _call(port, key, "POST", "/api/tasks/claim", {"worker_id": "w", "types": ["work"]})
            assert status == 200
            body = {"worker_id": "w", "success": True, "lease_token": answer["data"]["lease_token"]}
            assert _call(port, key, "POST", f"/api/tasks/{answer['data']['id']}/complete", body)[0] == 200
        assert _call(port, key, "POST", "/api/tasks/claim", {"worker_id": "w", "types": ["work"]})[0] == 404
    finally:
        # The group is the server's own: it was started in a new session.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def test_each_request_can_be_a_process_of_its_own(prepared_url, open_database, tmp_path):
    key = make_key(open_database(clock=None), "admin")
    script = tmp_path / "taskmanager.cgi"
    text = (ROOT / "deploy" / "taskmanager.cgi").read_text()
    assert "/home/you/taskmanager" in text
    script.write_text(text.replace("/home/you/taskmanager", str(ROOT)))
    body = json.dumps({"name": "work", "version": 1, "param_schema": {"type": "object"}}).encode()
    variables = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/task-types/register",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_API_KEY": key,
    }
    done = subprocess.run(
        [sys.executable, str(script)],
        input=body,
        env={**_environment(prepared_url), **variables},
        capture_output=True,
        timeout=30,
        check=True,
    )
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"Status: 201")
    assert json.loads(answer)["message"] == "Task type registered successfully"


def test_passenger_finds_the_application(prepared_url, tmp_path):
    for name in ("app", "wsgi.py", "openapi.json"):
        os.symlink(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "deploy" / "passenger_wsgi.py", tmp_path)
    code = "import passenger_wsgi; print(callable(passenger_wsgi.application))"
    # Passenger sets the folder of the application as the working folder, and nothing else.
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=_environment(prepared_url),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.strip() == "True"


def test_a_wrong_setting_stops_the_start_with_its_name():
    environment = {**_environment("sqlite:///x.db"), "TASKMANAGER_ATUH": "off"}
    done = subprocess.run(
        [sys.executable, "-c", "import wsgi"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert "TASKMANAGER_ATUH" in done.stderr
    assert "Traceback" not in done.stderr


def test_gunicorn_gives_up_when_a_setting_is_wrong():
    environment = {**_environment("sqlite:///x.db"), "TASKMANAGER_ATUH": "off"}
    command = [sys.executable, "-m", *(part.format(port=find_free_port()) for part in SERVERS["gunicorn"])]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "Unknown setting TASKMANAGER_ATUH" in done.stderr


def test_starting_loads_nothing_that_a_claim_does_not_need():
    code = (
        "import sys, wsgi; heavy = [name for name in ('alembic', 'apispec', 'argparse', 'app.rest.openapi', 'app.cli', "
        "'app.setup', 'sqlalchemy.orm') if name in sys.modules]; print(heavy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=_environment("sqlite:///instance/x.db"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
