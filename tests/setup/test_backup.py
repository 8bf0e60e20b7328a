"""`taskmanager backup`: a checked copy of a SQLite database, or the command that copies another."""

import os
import shlex
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from app.settings import PREFIX
from tests.setup.conftest import Project

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@pytest.fixture
def database_file(installed: Project) -> Path:
    return Path(installed.environment[f"{PREFIX}DATABASE_URL"].removeprefix("sqlite:///"))


@on_sqlite
def test_the_copy_has_what_is_still_in_the_log_and_needs_no_log(installed: Project, database_file: Path) -> None:
    copy = database_file.parent / "copy.db"
    with closing(sqlite3.connect(database_file, isolation_level=None)) as server:
        server.execute("INSERT INTO counters (name, value) VALUES ('latest', 7)")
        assert Path(f"{database_file}-wal").stat().st_size
        done = installed.taskmanager("backup", str(copy))
    assert done.returncode == 0, done.stderr
    assert "checked" in done.stdout
    assert sorted(path.name for path in copy.parent.glob("copy.db*")) == ["copy.db"]
    with closing(sqlite3.connect(copy)) as restored:
        assert restored.execute("SELECT value FROM counters WHERE name = 'latest'").fetchone() == (7,)
        assert restored.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert installed.checks(database_url=f"sqlite:///{copy}")[0] == 0


@on_sqlite
@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_the_copy_is_for_its_owner_alone(installed: Project, database_file: Path) -> None:
    copy = database_file.parent / "copy.db"
    assert installed.taskmanager("backup", str(copy)).returncode == 0
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


@on_sqlite
def test_a_file_that_exists_is_not_overwritten(installed: Project, database_file: Path) -> None:
    copy = database_file.parent / "copy.db"
    copy.write_text("precious")
    done = installed.taskmanager("backup", str(copy))
    assert done.returncode == 1
    assert "exists and is not overwritten" in done.stderr
    assert copy.read_text() == "precious"


@on_sqlite
def test_a_backup_that_is_killed_leaves_nothing_under_its_name(installed: Project, database_file: Path) -> None:
    copy = database_file.parent / "copy.db"
    part = database_file.parent / "copy.db.part"
    with closing(sqlite3.connect(database_file)) as server:
        server.execute("CREATE TABLE much AS SELECT randomblob(50000000) AS bytes")
        server.commit()
    command = [sys.executable, "-m", "app.cli", "backup", str(copy)]
    with subprocess.Popen(command, cwd=installed.folder, env=installed.environment) as backup:
        while not part.exists():
            assert backup.poll() is None
        backup.kill()
    assert (copy.exists(), part.exists()) == (False, True)
    again = installed.taskmanager("backup", str(copy))
    assert (again.returncode, "Remove it" in again.stderr) == (1, True)
    part.unlink()
    assert installed.taskmanager("backup", str(copy)).returncode == 0


@on_sqlite
def test_a_name_is_a_name_of_a_file_whatever_it_means_to_sqlite(installed: Project) -> None:
    done = installed.taskmanager("backup", ":memory:")
    assert done.returncode == 0, done.stderr
    assert "checked" in done.stdout
    assert " 0 bytes" not in done.stdout


@on_sqlite
def test_a_damaged_database_gives_no_backup(installed: Project, database_file: Path) -> None:
    with closing(sqlite3.connect(database_file, isolation_level=None)) as server:
        server.execute("PRAGMA journal_mode=DELETE").fetchall()
        (page,) = server.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_tasks_claim'").fetchone()
        (size,) = server.execute("PRAGMA page_size").fetchone()
    with database_file.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\0" * size)
    copy = database_file.parent / "copy.db"
    done = installed.taskmanager("backup", str(copy))
    assert done.returncode == 1
    assert "removed" in done.stderr
    assert not copy.exists()


@on_sqlite
def test_what_cannot_be_made_or_is_not_there_is_said(installed: Project, database_file: Path) -> None:
    nowhere = installed.taskmanager("backup", str(database_file.parent / "missing" / "copy.db"))
    assert (nowhere.returncode, "cannot be made" in nowhere.stderr) == (1, True)
    copy = database_file.parent / "copy.db"
    no_database = installed.taskmanager("backup", str(copy), database_url=f"sqlite:///{database_file}.none")
    assert (no_database.returncode, "setup_database.py" in no_database.stderr) == (1, True)
    assert not copy.exists()
    assert not Path(f"{database_file}.none").exists()


def test_for_mysql_and_mariadb_the_command_is_printed_without_the_password(project: Project) -> None:
    url = "mysql://web:s3cret@db.example.org:3307/queue"
    done = project.taskmanager("backup", "a file.sql", database_url=url)
    assert done.returncode == 2
    command = next(line for line in done.stderr.splitlines() if "mariadb-dump" in line)
    words = shlex.split(command)
    assert {"--single-transaction", "--host=db.example.org", "--port=3307", "--user=web", "queue"} < set(words)
    assert words[-2:] == [">", "a file.sql"]
    assert "s3cret" not in done.stderr
    assert not (project.folder / "a file.sql").exists()
