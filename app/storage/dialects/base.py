"""What every dialect offers to the rest of the program."""

from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine

from app.settings import Settings
from app.storage.prepared import Form, Prepared


def engine_options(settings: Settings) -> dict[str, Any]:
    """Return the options that keep round trips down: autocommit, no ping, no rollback when a connection comes back."""
    return {
        "isolation_level": "AUTOCOMMIT",
        "skip_autocommit_rollback": True,
        "pool_reset_on_return": None,
        "pool_size": settings.database_pool_size,
        "max_overflow": 0,
        "pool_timeout": settings.database_timeout_seconds,
    }


class Dialect(Protocol):
    """One kind of database."""

    name: str
    begin: str
    #: Stands before an update that is not to wait for a lock but to fail, where `misses_locked_rows` says so.
    without_waiting: str
    #: Of the prepared statements, how they are written for this database.
    forms: dict[Prepared, Form]

    def create_engine(self, url: URL, settings: Settings, root: Path) -> Engine:
        """Return an engine whose connections are in autocommit and pay no needless round trip."""

    def now(self, connection: Connection) -> datetime:
        """Ask the database for its present instant."""

    def is_transient(self, error: Exception) -> bool:
        """Tell whether the same work may succeed when it is run again."""

    def is_waited_out(self, error: Exception) -> bool:
        """Tell whether the statement gave up because somebody else holds a lock."""

    def skips_locked_rows(self, connection: Connection) -> bool:
        """Tell whether `FOR UPDATE SKIP LOCKED` works here."""

    def misses_locked_rows(self, connection: Connection) -> bool:
        """Tell whether one update can be told not to wait for a lock."""

    def create_database(self, url: URL) -> bool:
        """Create the database if it does not exist and we may; return whether it was created."""
