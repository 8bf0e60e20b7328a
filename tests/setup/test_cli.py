"""The command `taskmanager`: keys, setup, check, housekeeping."""

import json
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import insert

from app.cli import main
from app.lifecycle import TaskStatus
from app.queue.register import register_type
from app.settings import PREFIX, Settings
from app.storage.database import Database, Transaction
from app.storage.models import tasks
from tests.setup.conftest import Project


def make_due_task(project: Project) -> None:
    """Write a scheduled task whose time has come."""
    settings = Settings(database_url=project.environment[f"{PREFIX}DATABASE_URL"])
    database = Database(settings)

    def work(tx: Transaction) -> None:
        row, _ = register_type(
            tx, name="t", version="1", param_schema={}, policies={}, defaults=settings.default_policies
        )
        values = {"type_id": row["id"], "status": int(TaskStatus.SCHEDULED), "params": {}}
        values |= dict.fromkeys(("due_at", "available_at", "created_at", "updated_at"), tx.now)
        values |= dict.fromkeys(("claim_rank", "progress", "attempts", "dedupe_forever"), 0)
        tx.execute(insert(tasks), {**values, "max_attempts": 3})

    database.write(work)
    database.dispose()


def keys_of(project: Project) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = json.loads(project.taskmanager("keys", "list", "--json").stdout)
    return listed


def test_a_key_is_made_shown_once_and_listed_without_its_secret(installed: Project):
    made = installed.taskmanager("keys", "create", "--name", "Büro 1", "--scope", "worker", "--scope", "producer")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.split()[-1]
    assert secret.startswith("tm_")
    _, key = keys_of(installed)
    assert key["name"] == "Büro 1"
    assert key["scopes"] == ["producer", "worker"]
    assert key["state"] == "usable"
    assert key["expires_at"] is None
    for options in ((), ("--json",)):
        listed = installed.taskmanager("keys", "list", *options).stdout
        assert secret not in listed
        assert secret[:10] in listed


def test_a_key_can_have_an_end_in_days_or_at_an_instant(installed: Project):
    create = ("keys", "create", "--name", "short", "--scope", "read")
    assert installed.taskmanager(*create, "--expires-in-days", "1.5").returncode == 0
    assert installed.taskmanager(*create, "--expires-at", "2050-01-31T12:00:00+02:00").returncode == 0
    _, in_days, at = keys_of(installed)
    end = datetime.fromisoformat(str(in_days["expires_at"]).replace("Z", "+00:00"))
    assert abs(end - datetime.now(timezone.utc) - timedelta(days=1.5)) < timedelta(minutes=5)
    assert at["expires_at"] == "2050-01-31T10:00:00Z"


def test_a_key_is_revoked_and_the_delay_is_told(installed: Project):
    installed.taskmanager("keys", "create", "--name", "old", "--scope", "worker")
    key_id = str(keys_of(installed)[1]["id"])
    for _ in range(2):
        result = installed.taskmanager("keys", "revoke", key_id, cache_seconds="7")
        assert result.returncode == 0, result.stderr
        assert "within 7 s (TASKMANAGER_CACHE_SECONDS)" in result.stdout
    assert keys_of(installed)[1]["state"] == "revoked"


def test_a_key_is_given_an_end(installed: Project):
    installed.taskmanager("keys", "create", "--name", "old", "--scope", "worker")
    key_id = str(keys_of(installed)[1]["id"])
    assert installed.taskmanager("keys", "expire", key_id, "--at", "2001-01-01T00:00:00Z").returncode == 0
    key = keys_of(installed)[1]
    assert (key["state"], key["expires_at"]) == ("expired", "2001-01-01T00:00:00Z")


def test_the_last_admin_key_is_kept(installed: Project):
    key_id = str(keys_of(installed)[0]["id"])
    result = installed.taskmanager("keys", "revoke", key_id)
    assert result.returncode == 1
    assert "last usable admin key" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert keys_of(installed)[0]["state"] == "usable"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("dance",),
        ("keys",),
        ("keys", "create", "--name", "x"),
        ("keys", "create", "--name", " ", "--scope", "read"),
        ("keys", "create", "--name", "x" * 256, "--scope", "read"),
        ("keys", "create", "--name", "a\nb", "--scope", "read"),
        ("keys", "create", "--name", "x", "--scope", "everything"),
        ("keys", "create", "--name", "x", "--scope", "read", "--expires-in-days", "-1"),
        ("keys", "create", "--name", "x", "--scope", "read", "--expires-in-days", "nan"),
        ("keys", "create", "--name", "x", "--scope", "read", "--expires-at", "2050-01-01T00:00:00"),
        ("keys", "create", "--name", "x", "--scope", "read", "--expires-at", "9999-12-31T23:59:59-12:00"),
        ("keys", "revoke", "first"),
        ("keys", "revoke", "0"),
        ("keys", "revoke", "99999999999999999999"),
        ("keys", "expire", "1"),
        ("housekeeping", "--budget-seconds", "0"),
    ],
)
def test_wrong_usage_ends_with_code_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: taskmanager")


def test_wrong_settings_end_with_code_2(project: Project):
    result = project.taskmanager("keys", "list", auth="maybe")
    assert result.returncode == 2
    assert "TASKMANAGER_AUTH" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("keys", "revoke", "12345"), "API key not found"),
        (("keys", "revoke", "9223372036854775807"), "API key not found"),
        (("keys", "expire", "12345", "--at", "2050-01-01T00:00:00Z"), "API key not found"),
        (("keys", "create", "--name", "x", "--scope", "read", "--expires-at", "2001-01-01T00:00:00Z"), "in the future"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(installed: Project, arguments: tuple[str, ...], part: str):
    result = installed.taskmanager(*arguments)
    assert result.returncode == 1
    assert part in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_before_the_setup_commands_say_what_to_run(project: Project, database_url: str):
    for command in (("keys", "list"), ("housekeeping",)):
        result = project.taskmanager(*command, database_url=database_url)
        assert result.returncode == 1
        assert "setup_database.py" in result.stderr
        assert "Traceback" not in result.stderr


def test_check_is_check_setup(installed: Project):
    result = installed.taskmanager("check", "--json")
    assert result.returncode == 0, result.stdout
    assert json.loads(result.stdout)["ok"] is True


def test_housekeeping_does_what_is_due_and_ends(installed: Project):
    make_due_task(installed)
    result = installed.taskmanager("housekeeping")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "1 rows changed (do_what_is_due 1)\n"
    assert installed.taskmanager("housekeeping").stdout == "0 rows changed\n"


def test_housekeeping_in_a_loop_ends_quietly_with_ctrl_c(installed: Project):
    make_due_task(installed)
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "housekeeping", "--loop"],
        cwd=installed.folder,
        env=installed.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts tests in the background lets them, and so this, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "1 rows changed (do_what_is_due 1)\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, output, errors) == (0, "", "")


@pytest.mark.parametrize("command", ["keys", "setup", "check", "housekeeping"])
def test_each_command_explains_itself(project: Project, command: str):
    result = project.taskmanager(command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: taskmanager {command}")
