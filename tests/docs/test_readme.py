"""The README is true: its settings, its curl examples, its worker, its commands for production."""

import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from app.settings import PREFIX, ROOT, SETTINGS_FILE
from tests.docs.examples import run_examples
from tests.docs.markdown import blocks
from tests.docs.settings_table import settings_table
from tests.support.ports import find_free_port
from tests.support.server import LiveServer

README = ROOT / "README.md"
_SECONDS = 30


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = README.read_text(encoding="utf-8")
    table = re.search(r"<!-- settings: .*?-->\n(.*?)\n<!-- end of settings -->", text, re.DOTALL)
    assert table is not None
    assert table[1] == settings_table(), "python -m tests.docs.settings_table prints the table as it must be"


def test_the_file_of_settings_is_where_the_readme_says() -> None:
    assert f"`{SETTINGS_FILE.relative_to(ROOT)}`" in README.read_text(encoding="utf-8")


def test_the_curl_examples_work_and_answer_what_is_shown(live_server: LiveServer) -> None:
    compared = run_examples(README, live_server.url, live_server.admin_key)
    assert compared == len([block for block in blocks(README) if block.language == "json"])


def test_every_curl_block_is_one_that_is_run() -> None:
    assert all(block.language == "bash" for block in blocks(README) if "curl " in block.text)


def test_the_worker_does_a_task(live_server: LiveServer, tmp_path: Path) -> None:
    (program,) = [block.text for block in blocks(README) if block.language == "python"]
    file = tmp_path / "handlers.py"
    file.write_text(program, encoding="utf-8")
    schema = {"type": "object", "required": ["text"]}
    _post(live_server, "/api/task-types/register", {"name": "word-count", "version": "1", "param_schema": schema})
    task = _post(live_server, "/api/tasks", {"type": "word-count", "params": {"text": "one two three"}})["data"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "examples" / "workers" / "python"),
        "TM_URL": live_server.url,
        "TM_KEY": live_server.admin_key,
    }
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen([sys.executable, str(file)], env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        give_up_at = time.monotonic() + _SECONDS
        while task["status"] != "completed" and time.monotonic() < give_up_at:
            time.sleep(0.1)
            task = _get(live_server, f"/api/tasks/{task['id']}")["data"]
        assert task["status"] == "completed", (tmp_path / "log").read_text()
        assert task["result"] == {"words": 3}
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=_SECONDS) == 0


def _commands() -> list[str]:
    lines = [line for block in blocks(README) if block.language == "sh" for line in block.text.splitlines()]
    return [line for line in lines if re.search(r"\b[rw]sgi:application", line)]


@pytest.mark.parametrize("command", _commands(), ids=lambda command: command.split()[0])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_command_for_production_serves(command: str, prepared_url: str, tmp_path: Path) -> None:
    port = find_free_port()
    program, *arguments = shlex.split(command.replace("8000", str(port)))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment[f"{PREFIX}DATABASE_URL"] = prepared_url
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [str(Path(sys.executable).parent / program), *arguments],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        assert _health(port, server, log) == {"status": "healthy", "database": "connected"}
    finally:
        server.terminate()
        server.wait(timeout=_SECONDS)


def test_all_three_servers_are_named() -> None:
    assert [command.split()[0] for command in _commands()] == ["granian", "gunicorn", "waitress-serve"]


def _health(port: int, server: "subprocess.Popen[bytes]", log: Path) -> dict[str, str]:
    give_up_at = time.monotonic() + _SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
        try:
            connection.request("GET", "/api/health")
            answer = json.loads(connection.getresponse().read())
            return {name: answer[name] for name in ("status", "database")}
        except OSError:
            assert server.poll() is None and time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.1)
        finally:
            connection.close()


def _post(server: LiveServer, path: str, body: object) -> dict:
    request = urllib.request.Request(f"{server.url}{path}", json.dumps(body).encode(), {"X-API-Key": server.admin_key})
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        return json.load(answer)


def _get(server: LiveServer, path: str) -> dict:
    request = urllib.request.Request(f"{server.url}{path}", headers={"X-API-Key": server.admin_key})
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        return json.load(answer)
