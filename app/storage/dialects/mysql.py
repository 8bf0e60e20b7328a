"""MySQL 5.7+ and MariaDB 10.3+, over PyMySQL."""

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from app.settings import Settings
from app.storage.dialects.base import engine_options
from app.storage.dialects.mysql_connection import CONVERSIONS, DriverConnection
from app.storage.prepared import Form, Prepared

# Waited too long for a lock; NOWAIT hit a lock (MySQL 8, MariaDB 10.3+ answers 1205).
_WAITED_OUT = frozenset({1205, 3572})
# Deadlock; server shutting down; too many connections; killed query; changed table definition; lost connection.
_TRANSIENT = (
    frozenset({1213, 1053, 1040, 1203, 1226, 1317, 1412, 1927, 2003, 2006, 2013, 2014, 2055, 4031}) | _WAITED_OUT
)
# Syntax error; not supported yet; unknown variable.
_NOT_UNDERSTOOD = frozenset({1064, 1193, 1235})
_TRANSIENT_STATES = ("40001", "08S01")
# The shortest that MySQL knows: our transactions are short, and work that waited in vain is run again.
_LOCK_WAIT_SECONDS = 1
# Locks on what is not there, which REPEATABLE READ takes, stop others and end in deadlocks. The rules rely on guarded
# updates and on rows that they hold, and every read is to see what has been committed. (The name of the variable
# differs between the servers, so it takes a statement of its own.)
_ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
_LOCAL_HOSTS = (None, "localhost", "127.0.0.1", "::1")


class MySQL:
    """MySQL and MariaDB; what only some versions can do is found out by trying it."""

    name = "mysql"
    begin = "START TRANSACTION"
    without_waiting = "SET STATEMENT innodb_lock_wait_timeout=0 FOR "

    def __init__(self) -> None:
        self.forms: dict[Prepared, Form] = {}
        self._skips_locked_rows: bool | None = None
        self._misses_locked_rows: bool | None = None

    def create_engine(self, url: URL, settings: Settings, root: Path) -> Engine:
        """Return an engine with one shared TLS context, short lock waits, and UTC in every session."""
        url = url.set(drivername="mysql+pymysql")
        seconds = settings.database_timeout_seconds
        arguments: dict[str, Any] = {
            "charset": "utf8mb4",
            "conv": CONVERSIONS,
            "connect_timeout": seconds,
            # Above the lock wait, so that the database's own clear error comes first.
            "read_timeout": seconds * 3,
            "write_timeout": seconds * 3,
            # One statement for all that a session needs: each costs a round trip per connection.
            "init_command": (
                "SET time_zone='+00:00', sql_mode='STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', "
                f"innodb_lock_wait_timeout={_LOCK_WAIT_SECONDS}"
            ),
        }
        if "unix_socket" in url.query or url.host in _LOCAL_HOSTS:
            arguments["ssl_disabled"] = True
        engine = create_engine(url, connect_args=arguments, **engine_options(settings))

        @event.listens_for(engine, "do_connect")
        def open_connection(_dialect: Any, _record: Any, positional: Any, named: Any) -> DriverConnection:
            try:
                connection = DriverConnection(*positional, **named)
            except RuntimeError:
                # MySQL 8 sends its passwords only over TLS, or with a package for RSA that we do not ask for.
                connection = DriverConnection(*positional, **{**named, "ssl_disabled": False})
            connection.query(_ISOLATION)
            return connection

        return engine

    def now(self, connection: Connection) -> datetime:
        """Ask for the server's UTC instant."""
        told: datetime = connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)").scalar_one()
        return told

    def is_transient(self, error: Exception) -> bool:
        """Deadlocks, waited-out locks, lost connections and servers that are busy starting or stopping."""
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return True
        code, sqlstate = _code(error)
        return code in _TRANSIENT or sqlstate in _TRANSIENT_STATES

    def is_waited_out(self, error: Exception) -> bool:
        """Somebody else held a row lock for too long."""
        return _code(error)[0] in _WAITED_OUT

    def skips_locked_rows(self, connection: Connection) -> bool:
        """MySQL 8.0.1 and MariaDB 10.6 can; asked once per process, since proxies lie about versions."""
        if self._skips_locked_rows is None:
            self._skips_locked_rows = _accepts(
                connection, "SELECT value FROM counters WHERE name = '' FOR UPDATE SKIP LOCKED"
            )
        return self._skips_locked_rows

    def misses_locked_rows(self, connection: Connection) -> bool:
        """MariaDB can set the lock wait for one statement, down to nothing."""
        if self._misses_locked_rows is None:
            self._misses_locked_rows = _accepts(connection, self.without_waiting + "SELECT 1")
        return self._misses_locked_rows

    def create_database(self, url: URL) -> bool:
        """Create the database with utf8mb4 if it is missing and the user may."""
        without_database = URL.create(url.drivername, url.username, url.password, url.host, url.port, query=url.query)
        server = self.create_engine(without_database, Settings(), Path())
        name = str(url.database).replace("`", "``")
        try:
            with server.connect() as connection:
                exists = connection.execute(
                    text("SELECT 1 FROM information_schema.schemata WHERE schema_name = :name"), {"name": url.database}
                ).first()
                if exists:
                    return False
                connection.exec_driver_sql(
                    f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin".replace("%", "%%")
                )
                return True
        finally:
            server.dispose()


def _accepts(connection: Connection, statement: str) -> bool:
    try:
        connection.exec_driver_sql(statement).all()
    except DBAPIError as error:
        if _code(error)[0] not in _NOT_UNDERSTOOD:
            raise
        return False
    return True


def _code(error: Exception) -> tuple[int | None, str | None]:
    original = getattr(error, "orig", error)
    arguments = getattr(original, "args", ())
    code = arguments[0] if arguments and isinstance(arguments[0], int) else None
    return code, getattr(original, "sqlstate", None)
