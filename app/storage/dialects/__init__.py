"""All that differs between the databases: one file each with the same functions."""

from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from app.settings import ROOT, Settings, SettingsError
from app.storage.dialects.base import Dialect
from app.storage.dialects.mysql import MySQL
from app.storage.dialects.sqlite import SQLite

__all__ = ["Dialect", "connect"]

_SCHEMES: dict[str, Callable[[], Dialect]] = {
    "mysql": MySQL,
    "mysql+pymysql": MySQL,
    "mariadb": MySQL,
    "mariadb+pymysql": MySQL,
    "sqlite": SQLite,
}


def connect(settings: Settings) -> tuple[Engine, Dialect]:
    """Return an engine (which connects when first used) and the dialect for `settings.database_url`.

    Raises SettingsError when the URL cannot be used.
    """
    try:
        url = make_url(settings.database_url)
        dialect = _SCHEMES[url.drivername]()
    except Exception:
        # The text of the URL may hold a password, so it is not repeated.
        raise SettingsError(
            "Wrong value for TASKMANAGER_DATABASE_URL: it must look like sqlite:///instance/taskmanager.db "
            "or mysql://user:password@host/name"
        ) from None
    return dialect.create_engine(url, settings, ROOT), dialect
