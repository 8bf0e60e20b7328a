"""check_setup.py: one line per check, what to do next, and an exit code that scripts can trust."""

import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from app.settings import ROOT, Settings
from app.setup.connection import connect_to
from app.setup.requirements import PACKAGES
from app.setup.sqlite_checks import check_file
from app.storage.database import Database
from tests.setup.conftest import Project

MakeUser = Callable[[str, str], str]


def test_after_the_setup_nothing_is_wrong_and_nothing_is_changed(installed: Project):
    code, checks = installed.checks()
    assert code == 0
    assert {check["status"] for check in checks.values()} == {"ok"}, checks
    assert {"python", "sqlalchemy", "settings", "database connection", "database version", "migrations"} <= set(checks)
    assert {"rights on the tables", "admin key", "disk space", "settings file", "authentication"} <= set(checks)


def test_it_prints_a_line_for_each_check_and_what_to_do(installed: Project):
    result = installed.run("check_setup.py", auth="off")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert all(line.split()[0] in ("ok", "warning", "error") for line in lines)
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert "authentication" in warning
    assert "to do: set TASKMANAGER_AUTH=on" in warning


def test_an_empty_database_needs_the_setup(project: Project, database_url: str):
    code, checks = project.checks(database_url=database_url)
    assert code == 1
    wrong = [check for check in checks.values() if check["status"] == "error"]
    assert len(wrong) == 1
    assert "setup_database.py" in wrong[0]["advice"]


def test_it_does_not_create_the_file_that_it_checks(project: Project, tmp_path: Path):
    code, checks = project.checks(database_url=f"sqlite:///{tmp_path / 'deep' / 'absent.db'}")
    assert code == 1
    assert "does not exist yet" in checks["database connection"]["found"]
    assert not (tmp_path / "deep").exists()


def test_a_missing_admin_key_is_an_error_unless_authentication_is_off(installed: Project, database_url: str):
    database = Database(Settings(database_url=database_url))
    with database.engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM api_keys")
    database.dispose()
    code, checks = installed.checks()
    assert (code, checks["admin key"]["status"]) == (1, "error")
    code, checks = installed.checks(auth="off")
    assert (code, checks["admin key"]["status"]) == (0, "ok")


@pytest.mark.parametrize(("revision", "advice"), [("0000", "update this code"), ("9999", "update this code")])
def test_a_revision_that_this_code_does_not_know_is_an_error(
    installed: Project, database_url: str, revision: str, advice: str
):
    database = Database(Settings(database_url=database_url))
    with database.engine.connect() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    database.dispose()
    code, checks = installed.checks()
    assert code == 1
    assert advice in checks["migrations"]["advice"]


def test_a_user_with_no_more_than_run_time_rights_is_enough(
    project: Project, installed_as_root: str, mariadb_database: str, make_user: MakeUser
):
    code, checks = project.checks(database_url=make_user(mariadb_database, "SELECT, INSERT, UPDATE, DELETE"))
    assert code == 0
    assert checks["rights on the tables"]["status"] == "ok"
    assert checks["right to create tables"]["status"] == "warning"
    assert "--sql" in checks["right to create tables"]["advice"]


def test_a_missing_run_time_right_is_named(
    project: Project, installed_as_root: str, mariadb_database: str, make_user: MakeUser
):
    code, checks = project.checks(database_url=make_user(mariadb_database, "SELECT, INSERT, UPDATE"))
    assert code == 1
    assert "DELETE on " in checks["rights on the tables"]["found"]


def test_another_engine_or_character_set_is_an_error(
    project: Project, installed_as_root: str, mariadb_database: str, as_root: Connection
):
    as_root.exec_driver_sql(f"ALTER TABLE {mariadb_database}.counters ENGINE=MyISAM")
    as_root.exec_driver_sql(f"ALTER TABLE {mariadb_database}.tasks CONVERT TO CHARACTER SET latin1")
    code, checks = project.checks(database_url=installed_as_root)
    assert code == 1
    assert "counters" in checks["storage engine"]["found"]
    assert "tasks" in checks["character set"]["found"]


def test_a_packet_smaller_than_a_request_body_is_an_error(project: Project, installed_as_root: str):
    _, checks = project.checks(database_url=installed_as_root, max_body_bytes=str(15 * 1024 * 1024))
    assert checks["max_allowed_packet"]["status"] in ("warning", "error")
    assert "TASKMANAGER_MAX_BODY_BYTES" in checks["max_allowed_packet"]["advice"]


def test_a_wrong_setting_is_named_and_the_rest_is_left_out(project: Project):
    code, checks = project.checks(colour="red")
    assert code == 1
    assert "TASKMANAGER_COLOUR" in checks["settings"]["found"]
    assert "database connection" not in checks


def test_the_file_of_settings_is_read_and_must_be_closed_to_others(installed: Project, database_url: str):
    file = installed.folder / "instance" / "taskmanager.env"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"TASKMANAGER_DATABASE_URL={database_url}\n")
    file.chmod(0o644)
    code, checks = installed.checks()
    assert code == 1
    assert "chmod 600" in checks["settings file"]["advice"]
    assert checks["migrations"]["status"] == "ok"
    file.chmod(0o600)
    assert installed.checks()[0] == 0


def test_a_file_of_settings_in_another_encoding_is_one_error(project: Project):
    file = project.folder / "instance" / "taskmanager.env"
    file.parent.mkdir()
    file.write_bytes(b"# \xff\xfe\n")
    file.chmod(0o600)
    code, checks = project.checks()
    assert code == 1
    assert "UTF-8" in checks["settings"]["found"]


def test_a_server_that_is_away_is_an_error(project: Project):
    code, checks = project.checks(database_url="mysql://user:hidden@127.0.0.1:1/name")
    assert code == 1
    assert "cannot be reached" in checks["database connection"]["found"]
    assert "hidden" not in json.dumps(checks)


def test_a_server_that_never_answers_does_not_hang_the_check(project: Project):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        held: list[socket.socket] = []
        threading.Thread(target=lambda: held.append(silent.accept()[0]), daemon=True).start()
        code, checks = project.checks(database_url=f"mysql://user@127.0.0.1:{port}/name", database_timeout_seconds="1")
        for connection in held:
            connection.close()
    assert code == 1
    assert checks["database connection"]["status"] == "error"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="tm-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Be a user who may not write everywhere: root may, whatever the permissions say."""
    nobody = 65534
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(nobody, nobody, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize("read_only", ["file", "folder"])
def test_a_file_or_folder_that_this_user_may_not_write_is_an_error(open_folder: Path, read_only: str):
    file = open_folder / "taskmanager.db"
    file.touch()
    file.chmod(0o444 if read_only == "file" else 0o666)
    open_folder.chmod(0o555 if read_only == "folder" else 0o755)
    engine, _ = connect_to(Settings(database_url=f"sqlite:///{file}"))
    with ordinary_user():
        (check,) = check_file(engine)
    open_folder.chmod(0o755)
    assert check.status == "error"
    assert f"may not {'write the folder' if read_only == 'folder' else 'read and write'}" in check.found


def test_missing_packages_are_a_line_each(project: Project):
    # -S leaves out the folder in which packages are installed.
    result = project.run("check_setup.py", python=("-S",))
    assert result.returncode == 1
    assert result.stderr == ""
    assert result.stdout.startswith("ok       python: Python 3.")
    assert result.stdout.count("error    ") == len(PACKAGES)
    told = json.loads(project.run("check_setup.py", "--json", python=("-S",)).stdout)
    assert told["ok"] is False


@pytest.mark.parametrize("script", ["check_setup.py", "setup_database.py"])
def test_an_old_python_is_told_so(project: Project, script: str):
    # There is seldom an old Python at hand: a new one that says it is old takes the same path.
    code = f"import runpy, sys; sys.version_info = (3, 6, 9); runpy.run_path({script!r}, run_name='__main__')"
    result = project.run("-c", code)
    assert result.returncode == 1
    assert "Python 3.6.9; Python 3.10 or newer is needed" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_the_packages_that_are_checked_are_those_of_pyproject():
    tomllib = pytest.importorskip("tomllib")
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [f"{package}>={oldest}" for package, _, oldest in PACKAGES] == told["dependencies"]
    assert told["requires-python"] == ">=3.10"
