"""What `make run` and `make serve` start, in a copy of the project, where nobody works at the same time."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.queue.keys import list_keys, revoke_key
from app.settings import PREFIX, ROOT
from app.storage.database import Database
from examples.demo.api import Api
from examples.demo.installation import KEYS_FILE, Installation, keep_keys
from tests.support.ports import find_free_port

SECONDS = 30
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])

StartDemo = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def port() -> int:
    return find_free_port()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project."""
    others = shutil.ignore_patterns(".*", "instance", "tests", "bench", "build", "dist")
    return Path(shutil.copytree(ROOT, tmp_path / "project", ignore=others))


@pytest.fixture
def start_demo(folder: Path, port: int) -> Iterator[StartDemo]:
    """Start the demo with these arguments; `more` are environment variables."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **more: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        demo = subprocess.Popen(
            [sys.executable, "-m", "examples.demo", "--pause", "0", *arguments],
            cwd=folder,
            env={**environment, "HOST": "127.0.0.1", "PORT": str(port), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            # Its own process group stands for that of a terminal.
            start_new_session=True,
        )
        started.append(demo)
        return demo

    yield start
    for demo in started:
        if demo.poll() is None:
            demo.terminate()
        demo.communicate(timeout=SECONDS)


@pytest.fixture
def here(prepared_url: str, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """A database that is set up, and that the settings name."""
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", prepared_url)
    return Installation(prepared_url, None)


def read_until(demo: subprocess.Popen[str], words: str) -> str:
    """Return what the demo has written up to the line with these words."""
    assert demo.stdout is not None
    lines = ""
    while words not in lines:
        line = demo.stdout.readline()
        assert line, f"the demo has ended: {lines}{demo.communicate()}"
        lines += line
    return lines


def find_children(pid: int) -> set[int]:
    """Return the ids of all processes that this one has started, and those have started."""
    found = {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return found.union(*(find_children(child) for child in found))


def is_listening(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def count_attempts(folder: Path) -> tuple[int, int]:
    """Return how many tasks there are, and how many attempts were made."""
    database = sqlite3.connect(folder / "instance" / "taskmanager.db")
    try:
        counted: tuple[int, int] = database.execute("SELECT count(*), sum(attempts) FROM tasks").fetchone()
        return counted
    finally:
        database.close()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the children")
def test_the_demo_works_real_tasks_off_until_ctrl_c_stops_everything(
    start_demo: StartDemo, folder: Path, port: int
) -> None:
    demo = start_demo()
    output = read_until(demo, "go on until Ctrl-C")
    keys_file = folder / "instance" / "demo.json"
    assert keys_file.stat().st_mode & 0o777 == 0o600
    ((_, keys),) = json.loads(keys_file.read_text()).items()
    assert keys["admin"] in output

    api = Api("127.0.0.1", port, keys["admin"])
    tasks = api.get("/tasks", include="params,result", limit=1000)["tasks"]
    assert len(tasks) == 40
    for task in tasks:
        content = (folder / task["params"]["path"]).read_bytes()
        assert task["status"] == "completed"
        if task["type"] == "checksum":
            assert task["result"] == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        else:
            assert task["result"]["lines"] == content.count(b"\n")
    # What the output tells to try.
    path = re.search(r"\$ sha256sum (\S+)\n  (\S+)  \1\n", output)
    assert path is not None
    assert path[2] == hashlib.sha256((folder / path[1]).read_bytes()).hexdigest()
    new = api.post("/tasks", {"type": "checksum", "params": {"path": "LICENSE"}})
    read_until(demo, f"task {new['id']} checksum: completed")
    outside = api.post("/tasks", {"type": "checksum", "params": {"path": "../etc/passwd"}})
    read_until(demo, f"task {outside['id']} checksum: failed")
    api.close()

    children = find_children(demo.pid)
    assert len(children) >= 3
    os.killpg(demo.pid, signal.SIGINT)
    rest, errors = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 0
    assert rest.endswith("Stopped.\n")
    assert errors == ""
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert not set("\x1b\r\x08") & set(output + rest)


def test_a_second_run_does_only_what_has_changed_since_the_first(start_demo: StartDemo, folder: Path) -> None:
    first = start_demo("--exit-when-done")
    output, errors = first.communicate(timeout=SECONDS)
    assert (first.returncode, errors) == (0, "")
    assert "40 of 40 done" in output
    keys = (folder / "instance" / "demo.json").read_text()
    assert count_attempts(folder) == (40, 40)

    os.utime(folder / "README.md", (0, 0))
    second = start_demo("--exit-when-done")
    output, errors = second.communicate(timeout=SECONDS)
    assert (second.returncode, errors) == (0, "")
    assert "2 new, 38 known from before" in output
    assert count_attempts(folder) == (42, 42)
    assert (folder / "instance" / "demo.json").read_text() == keys


@on_sqlite
def test_keys_are_kept_for_the_next_time_where_only_their_owner_may_read_them(
    here: Installation, tmp_path: Path
) -> None:
    keys = keep_keys(here, tmp_path)
    assert (tmp_path / KEYS_FILE).stat().st_mode & 0o777 == 0o600
    assert keep_keys(here, tmp_path) == keys
    other = Installation("sqlite:///other.db", None)
    assert keep_keys(other, tmp_path) != keys
    assert keep_keys(here, tmp_path) == keys


@on_sqlite
def test_the_first_admin_key_of_a_database_is_the_one_that_is_kept(
    here: Installation, tmp_path: Path, admin_key: str
) -> None:
    assert keep_keys(replace(here, admin_key=admin_key), tmp_path)["admin"] == admin_key
    assert keep_keys(here, tmp_path)["admin"] == admin_key


@on_sqlite
def test_keys_that_are_lost_or_revoked_are_made_anew(here: Installation, tmp_path: Path, database: Database) -> None:
    lost = keep_keys(here, tmp_path)
    (tmp_path / KEYS_FILE).write_text("broken")
    keys = keep_keys(here, tmp_path)
    assert keys["admin"] != lost["admin"]
    rows = database.read(list_keys)
    database.write(lambda tx: revoke_key(tx, rows[-1]["id"]))
    again = keep_keys(here, tmp_path)
    assert again["admin"] == keys["admin"]
    assert again["worker"] != keys["worker"]


def test_the_server_alone_shows_its_key_once_and_stops_on_sigterm(start_demo: StartDemo, port: int) -> None:
    first = start_demo("--no-demo")
    output = read_until(first, "Ctrl-C stops")
    key = re.search(r"Admin key +(tm_\S+)", output)
    assert key is not None
    api = Api("127.0.0.1", port, key[1])
    assert api.get("/task-types")["count"] == 0
    api.close()
    first.terminate()
    _, errors = first.communicate(timeout=SECONDS)
    assert (first.returncode, errors) == (0, "")
    assert not is_listening(port)

    second = start_demo("--no-demo")
    assert "tm_" not in read_until(second, "Ctrl-C stops")


def test_ctrl_c_during_the_start_stops_everything(start_demo: StartDemo, port: int) -> None:
    demo = start_demo("--no-demo")
    read_until(demo, "Starting the server")
    time.sleep(0.2)
    os.killpg(demo.pid, signal.SIGINT)
    _, errors = demo.communicate(timeout=SECONDS)
    assert (demo.returncode, errors) == (0, "")
    assert not is_listening(port)


def test_a_port_in_use_is_told_in_one_sentence(start_demo: StartDemo, port: int, folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        demo = start_demo()
        _, errors = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 1
    assert errors.startswith(f"Port {port} on 127.0.0.1 is in use: ")
    assert errors.count("\n") == 1
    assert not (folder / "instance").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"PORT": "http"}, "PORT must be a number"),
        ({"HOST": "192.0.2.1"}, "Nothing can listen on 192.0.2.1"),
        ({f"{PREFIX}COLOUR": "red"}, f"Unknown setting {PREFIX}COLOUR"),
        ({f"{PREFIX}DATABASE_URL": "sqlite:////proc/none/x.db"}, "/proc/none"),
        # An option that the server refuses, so that it ends at its start.
        ({"GRANIAN_HTTP1_BUFFER_SIZE": "1"}, "The server has ended by itself"),
    ],
    ids=["port", "host", "setting", "database", "server"],
)
def test_what_hinders_the_start_is_told_in_one_sentence(
    start_demo: StartDemo, port: int, more: dict[str, str], words: str
) -> None:
    demo = start_demo(**more)
    _, errors = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 1
    assert words in errors
    assert errors.count("\n") == 1
    assert not is_listening(port)
