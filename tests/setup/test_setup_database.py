"""setup_database.py: creates, migrates, prints the first admin key once, and never destroys."""

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url

from app.queue.keys import Scope, find_key
from app.settings import Settings
from app.setup.migrations import head_revision
from app.storage.database import Database
from tests.setup.conftest import Project, Result

MakeUser = Callable[[str, str], str]
RUN_TIME_RIGHTS = "SELECT, INSERT, UPDATE, DELETE"


def assert_one_sentence(result: Result, *parts: str, code: int = 1) -> None:
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def test_the_first_run_prints_an_admin_key_that_works(project: Project, database_url: str):
    result = project.run("setup_database.py", "--json", database_url=database_url)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    told = json.loads(result.stdout)
    assert set(told) == {"database_url", "revision", "admin_key"}
    assert told["database_url"] == database_url
    assert told["revision"] == head_revision()
    database = Database(Settings(database_url=database_url))
    key = database.read(lambda tx: find_key(tx, told["admin_key"]))
    database.dispose()
    assert key is not None
    assert key.may(Scope.ADMIN)


def test_a_second_run_prints_no_key_and_keeps_everything(installed: Project):
    installed.taskmanager("keys", "create", "--name", "kept", "--scope", "worker")
    result = installed.run("setup_database.py", "--json")
    assert json.loads(result.stdout)["admin_key"] is None
    listed = installed.taskmanager("keys", "list", "--json")
    assert [key["name"] for key in json.loads(listed.stdout)] == ["first admin key", "kept"]


def test_without_options_it_speaks_to_people(project: Project, database_url: str):
    first = project.run("setup_database.py", database_url=database_url)
    assert "is ready (revision 0006)" in first.stdout
    assert "shown only this once: tm_" in first.stdout
    second = project.run("setup_database.py", database_url=database_url)
    assert "tm_" not in second.stdout.replace(database_url, "")
    assert "admin key already" in second.stdout


def test_it_creates_the_folder_of_the_default_database_wherever_it_is_started(project: Project, tmp_path: Path):
    script = str(project.folder / "setup_database.py")
    result = Project(tmp_path, project.environment).run(script, "--json")
    assert result.returncode == 0, result.stderr
    assert (project.folder / "instance" / "taskmanager.db").is_file()


def test_it_creates_a_missing_database_on_the_server(project: Project, as_root: Connection, mariadb_admin_url: str):
    name = "tm_setup_%new"
    url = make_url(mariadb_admin_url).set(database=name).render_as_string(hide_password=False)
    try:
        result = project.run("setup_database.py", "--json", database_url=url)
        assert result.returncode == 0, result.stderr
        (statement,) = as_root.exec_driver_sql("SHOW CREATE DATABASE `tm_setup_%%new`").all()
        assert "utf8mb4" in statement[1]
    finally:
        as_root.exec_driver_sql("DROP DATABASE IF EXISTS `tm_setup_%%new`")


def test_the_password_is_never_printed(project: Project, mariadb_database: str, make_user: MakeUser):
    url = make_user(mariadb_database, "ALL PRIVILEGES")
    result = project.run("setup_database.py", "--json", database_url=url)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)["database_url"]
    assert make_url(told) == make_url(url)._replace(password=None)
    assert "s3cr" not in result.stdout + result.stderr


def test_a_user_without_ddl_rights_is_told_to_paste_the_sql_and_then_it_works(
    project: Project, mariadb_database: str, make_user: MakeUser, as_root: Connection
):
    url = make_user(mariadb_database, RUN_TIME_RIGHTS)
    assert_one_sentence(
        project.run("setup_database.py", database_url=url), "may not create or change tables", "--sql", "phpMyAdmin"
    )

    sql = project.run("setup_database.py", "--sql", database_url=url)
    assert sql.returncode == 0
    as_root.exec_driver_sql(f"USE {mariadb_database}")
    for statement in sql.stdout.split(";\n"):
        if statement.strip():
            as_root.exec_driver_sql(statement)

    result = project.run("setup_database.py", "--json", database_url=url)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["admin_key"].startswith("tm_")


def test_a_user_who_may_not_create_the_database_is_told_so(
    project: Project, mariadb_database: str, make_user: MakeUser
):
    url = make_url(make_user(mariadb_database, RUN_TIME_RIGHTS)).set(database="tm_setup_elsewhere")
    result = project.run("setup_database.py", database_url=url.render_as_string(hide_password=False))
    assert_one_sentence(result, "tm_setup_elsewhere", "create it in your host's control panel")


def test_a_wrong_password_is_one_sentence(project: Project, mariadb_database: str, make_user: MakeUser):
    url = make_url(make_user(mariadb_database, RUN_TIME_RIGHTS)).set(password="wrong")
    result = project.run("setup_database.py", database_url=url.render_as_string(hide_password=False))
    assert_one_sentence(result, "refuses the user or the password", "TASKMANAGER_DATABASE_URL")


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_a_server_that_is_away_is_one_sentence(project: Project, host: str):
    result = project.run("setup_database.py", database_url=f"mysql://user:hidden@{host}/name")
    assert_one_sentence(result, "cannot be reached")
    assert "hidden" not in result.stderr


def test_the_sql_needs_no_running_database(project: Project):
    result = project.run("setup_database.py", "--sql", database_url="mysql://user:hidden@127.0.0.1:1/name")
    assert result.returncode == 0
    assert "CREATE TABLE tasks" in result.stdout
    assert "ROW_FORMAT=DYNAMIC" in result.stdout
    assert "INSERT INTO alembic_version" in result.stdout
    assert "cannot be reached" in result.stdout.splitlines()[0]
    assert "hidden" not in result.stdout


def test_the_sql_changes_nothing(project: Project, tmp_path: Path):
    path = tmp_path / "absent.db"
    result = project.run("setup_database.py", "--sql", database_url=f"sqlite:///{path}")
    assert "CREATE TABLE tasks" in result.stdout
    assert not path.exists()


def test_the_sql_is_empty_when_there_is_nothing_to_do(installed: Project):
    result = installed.run("setup_database.py", "--sql")
    assert all(line.startswith("--") for line in result.stdout.splitlines())


def test_a_file_that_is_no_database_is_one_sentence_and_kept(project: Project, tmp_path: Path):
    path = tmp_path / "novel.txt"
    path.write_text("It was a dark and stormy night. " * 100)
    before = path.read_bytes()
    assert_one_sentence(project.run("setup_database.py", database_url=f"sqlite:///{path}"), "not a SQLite database")
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_one_sentence(project: Project, tmp_path: Path):
    (tmp_path / "file").write_text("")
    result = project.run("setup_database.py", database_url=f"sqlite:///{tmp_path / 'file' / 'a.db'}")
    assert_one_sentence(result, "check the path")


def test_a_database_in_memory_is_refused(project: Project):
    for url in ("sqlite://", "sqlite:///", "sqlite:///:memory:"):
        assert_one_sentence(project.run("setup_database.py", database_url=url), "name a file", code=2)


def test_a_database_of_a_newer_version_is_left_alone(installed: Project, database_url: str):
    database = Database(Settings(database_url=database_url))
    with database.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.dispose()
    for option in ("--json", "--sql"):
        result = installed.run("setup_database.py", option)
        assert_one_sentence(result, "newer version", "9999", "update this code")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"colour": "red"}, "TASKMANAGER_COLOUR"),
        ({"auth": "maybe"}, "TASKMANAGER_AUTH"),
        ({"database_url": "oracle://somewhere"}, "TASKMANAGER_DATABASE_URL"),
    ],
)
def test_wrong_settings_end_with_code_2_and_the_name(project: Project, settings: dict[str, str], named: str):
    assert_one_sentence(project.run("setup_database.py", **settings), named, code=2)


def test_wrong_options_end_with_code_2(project: Project):
    assert project.run("setup_database.py", "--destroy").returncode == 2
    assert project.run("setup_database.py", "--sql", "--json").returncode == 2


def test_help_tells_the_options(project: Project):
    result = project.run("setup_database.py", "--help")
    assert result.returncode == 0
    assert all(option in result.stdout for option in ("--json", "--sql"))


@pytest.mark.parametrize("script", ["setup_database.py", "check_setup.py", "app/setup/requirements.py"])
def test_an_old_python_can_read_the_script(project: Project, script: str):
    ast.parse((project.folder / script).read_text(), feature_version=(3, 6))


def test_missing_packages_are_named_one_by_one(project: Project):
    # -S leaves out the folder in which packages are installed.
    result = project.run("setup_database.py", python=("-S",))
    assert result.returncode == 1
    assert "sqlalchemy: cannot be imported" in result.stderr
    assert "pip install --editable ." in result.stderr
    assert "Traceback" not in result.stderr


def test_the_web_application_does_not_load_alembic(project: Project):
    code = "import os, sys, app; from app.settings import Settings; app.create_app(Settings.from_env(os.environ)); "
    code += "print([name for name in ('flask', 'alembic') if name in sys.modules])"
    result = project.run("-c", code)
    assert result.stdout == "['flask']\n", result.stderr
