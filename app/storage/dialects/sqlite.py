"""SQLite: one file, one writer at a time."""

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from app.settings import Settings, SettingsError
from app.storage.columns import UTC
from app.storage.dialects.base import engine_options
from app.storage.prepared import Form, Prepared


class SQLite:
    """The embedded default."""

    name = "sqlite"
    # A transaction that reads first and writes later fails at once when another has written in between,
    # whatever the busy timeout; one that takes the write lock at its start waits for it.
    begin = "BEGIN IMMEDIATE"
    without_waiting = ""

    def __init__(self) -> None:
        self.forms: dict[Prepared, Form] = {}

    def create_engine(self, url: URL, settings: Settings, root: Path) -> Engine:
        """Return an engine on the file; a relative path starts at the project's folder."""
        path = url.database or ""
        if path in ("", ":memory:"):
            raise SettingsError("Wrong value for TASKMANAGER_DATABASE_URL: SQLite needs the name of a file")
        if not Path(path).is_absolute():
            url = url.set(database=str(root / path))
        engine = create_engine(
            url,
            paramstyle="named",
            connect_args={"timeout": settings.database_timeout_seconds, "check_same_thread": False},
            **engine_options(settings),
        )

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            # An acknowledged task must survive a power cut, so FULL unless the operator chose otherwise.
            cursor.execute(f"PRAGMA synchronous={settings.sqlite_synchronous.upper()}")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

        return engine

    def now(self, connection: Connection) -> datetime:
        """SQLite has no clock but its host's."""
        return datetime.now(UTC)

    def is_transient(self, error: Exception) -> bool:
        """A lock that was not released within the busy timeout."""
        return self.is_waited_out(error)

    def is_waited_out(self, error: Exception) -> bool:
        """A lock on the file that was not released within the busy timeout."""
        text = str(getattr(error, "orig", error))
        return "database is locked" in text or "database table is locked" in text or "database is busy" in text

    def skips_locked_rows(self, connection: Connection) -> bool:
        """There are no row locks: whoever writes is alone, and SQLAlchemy leaves FOR UPDATE out."""
        return True

    def misses_locked_rows(self, connection: Connection) -> bool:
        """There are no row locks to miss."""
        return True

    def create_database(self, url: URL) -> bool:
        """Create the folder of the file; SQLite creates the file."""
        path = Path(url.database or "")
        is_new = not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        return is_new
