"""The way to the database for setup and checks."""

from pathlib import Path

from sqlalchemy import Engine

from app.settings import Settings, SettingsError
from app.storage.dialects import Dialect, connect

_IN_MEMORY = ("sqlite:", "sqlite:///:memory:")


def connect_to(settings: Settings) -> tuple[Engine, Dialect]:
    """Return what `connect` returns; raises SettingsError also for a database that is in memory only."""
    if settings.database_url.rstrip("/") in _IN_MEMORY:
        raise SettingsError(
            "Wrong value for TASKMANAGER_DATABASE_URL: a database in memory is gone when its process ends; name a file"
        )
    return connect(settings)


def is_missing_file(engine: Engine) -> bool:
    """Tell whether the database is a SQLite file that is not there."""
    return engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists()
