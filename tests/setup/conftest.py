"""A copy of the project, so that its scripts run as they would for a stranger, with a folder `instance` of its own."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Connection, create_engine, make_url

from app.settings import PREFIX, ROOT, Settings
from app.setup.set_up import set_up

Result = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Project:
    """The copy; `run` runs one of its scripts, `taskmanager` its command."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, python: tuple[str, ...] = (), **settings: str) -> Result:
        return subprocess.run(
            [sys.executable, *python, *command],
            cwd=self.folder,
            env={**self.environment, **{PREFIX + name.upper(): value for name, value in settings.items()}},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def taskmanager(self, *arguments: str, **settings: str) -> Result:
        return self.run("-m", "app.cli", *arguments, **settings)

    def checks(self, **settings: str) -> tuple[int, dict[str, dict[str, str]]]:
        """Return the exit code of check_setup.py and its checks by name."""
        result = self.run("check_setup.py", "--json", **settings)
        assert result.stderr == ""
        told: dict[str, Any] = json.loads(result.stdout)
        assert set(told) == {"ok", "checks"}
        assert told["ok"] == (result.returncode == 0)
        return result.returncode, {check["name"]: check for check in told["checks"]}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("app", "migrations"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("setup_database.py", "check_setup.py"):
        shutil.copy2(ROOT / name, folder / name)
    # The tests' own names are among those that are left out.
    return Project(folder, {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)})


@pytest.fixture
def installed(project: Project, database_url: str) -> Project:
    """The project with a database that is set up, and named in its environment."""
    project.environment[f"{PREFIX}DATABASE_URL"] = database_url
    set_up(Settings(database_url=database_url))
    return project


@pytest.fixture
def installed_as_root(mariadb_admin_url: str, mariadb_database: str) -> str:
    """The URL, with all rights, of a MariaDB database that is set up."""
    url = make_url(mariadb_admin_url).set(database=mariadb_database).render_as_string(hide_password=False)
    set_up(Settings(database_url=url))
    return url


@pytest.fixture
def as_root(mariadb_admin_url: str) -> Iterator[Connection]:
    """A connection to the server with all rights."""
    url = make_url(mariadb_admin_url).set(drivername="mysql+pymysql")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def mariadb_database(as_root: Connection) -> Iterator[str]:
    """The name of an empty database."""
    name = f"tm_setup_{uuid.uuid4().hex[:12]}"
    as_root.exec_driver_sql(f"CREATE DATABASE {name}")
    yield name
    as_root.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def make_user(as_root: Connection, mariadb_admin_url: str) -> Iterator[Callable[[str, str], str]]:
    """`make_user(database, rights)` creates a user with these rights and returns the URL by which it connects."""
    users = []

    def make(database: str, rights: str) -> str:
        user, password = f"tm_{uuid.uuid4().hex[:12]}", "s3cr:t/p@ss"
        as_root.exec_driver_sql(f"CREATE USER {user}@'%%' IDENTIFIED BY '{password}'")
        users.append(user)
        if rights:
            as_root.exec_driver_sql(f"GRANT {rights} ON {database}.* TO {user}@'%%'")
        url: URL = make_url(mariadb_admin_url).set(username=user, password=password, database=database)
        return url.render_as_string(hide_password=False)

    yield make
    for user in users:
        as_root.exec_driver_sql(f"DROP USER {user}@'%%'")
