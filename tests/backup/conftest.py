"""A live server, how its database is copied while it works, and a server on the copy."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.cli.backup import dump_command
from app.settings import PREFIX, ROOT, Settings
from app.setup.set_up import set_up
from app.storage.database import Database
from tests.conftest import _is_required, _temporary_schema
from tests.support.client import make_key
from tests.support.server import LiveServer, start_server, stop_server

RELAXED = {"sqlite_synchronous": "normal"}


@dataclass
class Installation:
    """A database that was set up, and the servers on it."""

    url: str
    folder: Path
    servers: list[LiveServer] = field(default_factory=list)

    def start(self, admin_key: str) -> LiveServer:
        log = self.folder / f"server-{make_url(self.url).database or ''}".replace("/", "_")
        self.servers.append(start_server(self.url, admin_key, self.folder / f"{log.name}.log", **RELAXED))
        return self.servers[-1]

    def stop(self) -> None:
        while self.servers:
            stop_server(self.servers.pop())

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of the project's scripts or commands on this database."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment[f"{PREFIX}DATABASE_URL"] = self.url
        return subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def original(database_url: str, tmp_path: Path, database_kind: str) -> Iterator[Installation]:
    if database_kind == "mariadb" and not (shutil.which("mariadb-dump") and shutil.which("mariadb")):
        if _is_required("MARIADB"):
            pytest.fail("mariadb-dump and mariadb are required here: install mariadb-client")
        pytest.skip("no mariadb-dump and mariadb")
    installation = Installation(database_url, tmp_path)
    set_up(Settings(database_url=database_url))
    yield installation
    installation.stop()


@pytest.fixture
def admin_key(original: Installation) -> str:
    database = Database(Settings(database_url=original.url))
    key = make_key(database, "admin", name="admin of the test")
    database.dispose()
    return key


@pytest.fixture
def copy(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """An empty database, for the restored state."""
    if database_kind == "sqlite":
        installation = Installation(f"sqlite:///{tmp_path / 'restored.db'}", tmp_path)
        yield installation
        installation.stop()
        return
    for url in _temporary_schema(request.getfixturevalue("mariadb_admin_url")):
        installation = Installation(url, tmp_path)
        yield installation
        installation.stop()


@pytest.fixture
def back_up(original: Installation, tmp_path: Path) -> Callable[[], Path]:
    """Take the backup of the live database, as docs/backup.md says, and return the file."""

    def take() -> Path:
        file = tmp_path / "backup"
        if original.url.startswith("sqlite"):
            done = original.run("-m", "app.cli", "backup", str(file))
        else:
            # The test's user has no password to be asked for.
            command = dump_command(make_url(original.url), file).replace(" --password ", " ")
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return file

    return take


@pytest.fixture
def restore(copy: Installation) -> Callable[[Path], None]:
    """Put the backup in place of the empty database."""

    def put(file: Path) -> None:
        url = make_url(copy.url)
        if copy.url.startswith("sqlite"):
            shutil.copyfile(file, str(url.database))
            return
        command = ["mariadb", f"--host={url.host}", f"--port={url.port or 3306}", f"--user={url.username}"]
        with file.open("rb") as dump:
            subprocess.run([*command, str(url.database)], stdin=dump, check=True, timeout=60)

    return put
