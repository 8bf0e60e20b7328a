"""Checks of a MySQL or MariaDB server and of the database on it."""

import re
from collections.abc import Iterator
from datetime import datetime, timezone

from sqlalchemy import Connection, text

from app.settings import Settings
from app.setup.failures import USE_SQL
from app.setup.requirements import Check
from app.storage.models import metadata

OLDEST_MYSQL = (5, 7)
OLDEST_MARIADB = (10, 3)
_CLOSE_CLOCKS_SECONDS = 5
_CHARACTER_SET = "utf8mb4"
_DDL = ("CREATE", "ALTER", "DROP", "INDEX", "REFERENCES")
_TABLES = text(
    "SELECT table_name AS name, engine AS engine, table_collation AS collation_name FROM information_schema.tables "
    "WHERE table_schema = DATABASE()"
)
# Only what was granted to the user itself is seen here, not what comes through a role: hence "seems".
_RIGHTS = text(
    "SELECT privilege_type FROM information_schema.user_privileges WHERE grantee = :grantee UNION "
    "SELECT privilege_type FROM information_schema.schema_privileges "
    "WHERE grantee = :grantee AND DATABASE() LIKE table_schema"
)


def check_server(connection: Connection, settings: Settings) -> Iterator[Check]:
    """Yield the checks of version, rights, character set, engine, time, packet size and binary log."""
    yield _check_version(connection)
    yield _check_ddl(connection)
    yield from _check_tables(connection)
    yield from _check_time(connection)
    yield _check_packet(connection, settings)
    yield _check_log_format(connection)


def _check_version(connection: Connection) -> Check:
    told = str(connection.exec_driver_sql("SELECT VERSION()").scalar_one())
    is_mariadb = "mariadb" in told.lower()
    kind, oldest = ("MariaDB", OLDEST_MARIADB) if is_mariadb else ("MySQL", OLDEST_MYSQL)
    # Some MariaDB servers put a 5.5.5- before their version, for the sake of old clients.
    match = re.match(r"(?:5\.5\.5-(?=\d))?(\d+)\.(\d+)", told)
    found = f"{kind} {told}"
    if match is None:
        return Check("warning", "database version", f"{found}, which cannot be understood", "see that it is new enough")
    if (int(match[1]), int(match[2])) < oldest:
        needed = ".".join(str(part) for part in oldest)
        advice = "ask the host for a newer server"
        return Check("error", "database version", f"{found}; {needed} or newer is needed", advice)
    return Check("ok", "database version", found)


def _check_ddl(connection: Connection) -> Check:
    name = "right to create tables"
    user, _, host = str(connection.exec_driver_sql("SELECT CURRENT_USER()").scalar_one()).rpartition("@")
    rights = set(connection.execute(_RIGHTS, {"grantee": f"'{user}'@'{host}'"}).scalars())
    missing = [right for right in _DDL if right not in rights]
    if not missing:
        return Check("ok", name, "given; only setup_database.py uses it")
    found = f"seems not to be given ({', '.join(missing)}); the running server does not need it"
    return Check("warning", name, found, f"when tables must be created or changed, {USE_SQL}")


def _check_tables(connection: Connection) -> Iterator[Check]:
    client = connection.exec_driver_sql("SELECT @@character_set_client").scalar_one()
    tables = [row for row in connection.execute(_TABLES).all() if row.name in metadata.tables]
    wrong = [row.name for row in tables if not str(row.collation_name).startswith(_CHARACTER_SET)]
    if client != _CHARACTER_SET:
        advice = "ask the host why the server refuses utf8mb4 to this connection"
        yield Check("error", "character set", f"the connection uses {client}, not utf8mb4", advice)
    elif wrong:
        advice = "run `ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin` for each of them"
        yield Check("error", "character set", f"not utf8mb4: {', '.join(wrong)}", advice)
    else:
        yield Check("ok", "character set", "utf8mb4")
    other = [f"{row.name} ({row.engine})" for row in tables if str(row.engine).lower() != "innodb"]
    default = connection.exec_driver_sql("SELECT support FROM information_schema.engines WHERE engine = 'InnoDB'")
    if other:
        advice = "run `ALTER TABLE … ENGINE=InnoDB` for each of them"
        yield Check("error", "storage engine", f"not InnoDB: {', '.join(other)}", advice)
    elif default.scalar() not in ("YES", "DEFAULT"):
        yield Check("error", "storage engine", "the server has no InnoDB", "ask the host for a server that has it")
    else:
        yield Check("ok", "storage engine", "InnoDB")


def _check_time(connection: Connection) -> Iterator[Check]:
    zone = connection.exec_driver_sql("SELECT @@session.time_zone").scalar_one()
    if zone == "+00:00":
        yield Check("ok", "session time zone", "UTC")
    else:
        advice = "ask the host, or the proxy in between, to let a session set its time zone"
        yield Check("error", "session time zone", f"{zone} instead of UTC", advice)
    told: datetime = connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)").scalar_one()
    ahead = (told.replace(tzinfo=timezone.utc) - datetime.now(timezone.utc)).total_seconds()
    found = f"the database's is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this host's"
    if abs(ahead) <= _CLOSE_CLOCKS_SECONDS:
        yield Check("ok", "clocks", found)
    else:
        advice = "nothing, the database's clock rules; only times in this host's log files differ from the API's"
        yield Check("warning", "clocks", found, advice)


def _check_packet(connection: Connection, settings: Settings) -> Check:
    name = "max_allowed_packet"
    packet = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())
    found = f"{packet:,} bytes, for request bodies up to {settings.max_body_bytes:,}"
    # Quotes and backslashes are sent as two bytes, and JSON is full of quotes.
    needed = 2 * settings.max_body_bytes + 64 * 1024
    if packet >= needed:
        return Check("ok", name, found)
    advice = f"raise it to {needed:,}, or lower TASKMANAGER_MAX_BODY_BYTES to less than half of it"
    return Check("error" if packet < settings.max_body_bytes else "warning", name, found, advice)


def _check_log_format(connection: Connection) -> Check:
    name = "binary log"
    is_on, kind = connection.exec_driver_sql("SELECT @@log_bin, @@session.binlog_format").one()
    if not is_on:
        return Check("ok", name, "off")
    if str(kind).upper() != "STATEMENT":
        return Check("ok", name, f"in the format {kind}")
    found = "in the format STATEMENT, with which the server refuses writes of READ COMMITTED sessions"
    return Check("error", name, found, "ask the host to set binlog_format to MIXED or ROW")
