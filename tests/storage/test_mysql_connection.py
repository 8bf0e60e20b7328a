"""The connection to MySQL reads what PyMySQL reads, however the answers come."""

from datetime import datetime, timezone
from typing import Any

import pymysql
import pytest
from sqlalchemy import make_url

from app.storage.dialects.mysql_connection import CONVERSIONS, DriverConnection

_KINDS = """
CREATE TEMPORARY TABLE kinds (
    id BIGINT PRIMARY KEY, small SMALLINT, flag TINYINT(1), at DATETIME(6), at_second DATETIME, name VARCHAR(300),
    code VARCHAR(64) CHARACTER SET ascii, body MEDIUMTEXT, raw VARBINARY(600), amount DECIMAL(12, 3), share DOUBLE
) CHARACTER SET utf8mb4
"""
_ROWS: list[tuple[Any, ...]] = [
    (1, -5, 1, "2026-11-23 12:00:00.123456", "2026-11-23 12:00:00", "Zoë 😀", "abc", "{}", b"\x00\xff", "1.250", 0.5),
    (-(2**63), None, None, None, None, None, None, None, None, None, None),
    # Lengths around those where the form of a length changes.
    *((number, 0, 0, "2026-01-01 00:00:00", "2026-01-01 00:00:00", "n" * 250, "", "b" * length, b"r" * 255, "0", 1e300)
      for number, length in enumerate((250, 251, 252, 255, 256, 65_535, 65_536, 1_000_000), start=10)),
]  # fmt: skip


@pytest.fixture
def connections(mariadb_admin_url: str, _mariadb_schema: Any):
    """Ours and PyMySQL's, on the same server, each with the rows."""
    url = make_url(_mariadb_schema[0])
    where = {"host": url.host, "port": url.port, "user": url.username, "database": url.database}
    opened = [
        kind(**where, charset="utf8mb4", autocommit=True, ssl_disabled=True, **more)
        for kind, more in ((DriverConnection, {"conv": CONVERSIONS}), (pymysql.connections.Connection, {}))
    ]
    for connection in opened:
        with connection.cursor() as cursor:
            cursor.execute(_KINDS)
            cursor.executemany(f"INSERT INTO kinds VALUES ({', '.join(['%s'] * 11)})", _ROWS)
    yield opened
    for connection in opened:
        connection.close()


def _asked(connection: Any, query: str, parameters: Any = None) -> tuple[Any, Any, int]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall(), cursor.description, cursor.rowcount


def _without_zone(rows: Any) -> list[tuple[Any, ...]]:
    return [
        tuple(value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row) for row in rows
    ]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM kinds ORDER BY id",
        "SELECT * FROM kinds WHERE id = 12345",
        "SELECT id, body FROM kinds WHERE id > 0 ORDER BY id DESC",
        "SELECT COUNT(*), SUM(id), MAX(at), AVG(share) FROM kinds WHERE id > 0",
        "SELECT 1",
        "SELECT NULL, 'x', 2.50, NOW() IS NULL",
        # A row that is longer than the longest packet comes in two.
        "SELECT REPEAT('x', 9000000), REPEAT('y', 9000000)",
    ],
)
def test_every_kind_of_value_is_read_as_pymysql_reads_it(connections: Any, query: str) -> None:
    ours, theirs = connections
    expected = _asked(theirs, query)
    # The second time its columns are known already.
    for _ in range(2):
        rows, description, rowcount = _asked(ours, query)
        assert _without_zone(rows) == _without_zone(expected[0])
        assert (description, rowcount) == expected[1:]


def test_columns_that_are_known_do_not_hide_that_others_came(connections: Any) -> None:
    ours, _ = connections
    for _ in range(3):
        for number in range(40):
            assert _asked(ours, f"SELECT {number} AS a{number}, 'x' AS b")[0] == ((number, "x"),)


def test_instants_go_to_the_server_and_come_back_as_they_were(connections: Any) -> None:
    ours, _ = connections
    for at in (
        datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=timezone.utc),
        datetime(2026, 11, 23, 12, tzinfo=timezone.utc),
        datetime(9000, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
    ):
        assert _asked(ours, "SELECT CAST(%s AS DATETIME(6))", (at,))[0] == ((at,),)


@pytest.mark.parametrize("value", [True, False, 0, -1, 2**63 - 1, 1.5, None, 'it\'s \\ "so"\n\0\x1a%', "😀", b"\x00'"])
def test_parameters_are_written_as_pymysql_writes_them(connections: Any, value: Any) -> None:
    ours, theirs = connections
    assert ours.escape(value) == theirs.escape(value)
    assert _asked(ours, "SELECT %s", (value,))[0] == _asked(theirs, "SELECT %s", (value,))[0]


def test_an_error_amid_the_rows_is_raised_and_the_connection_goes_on(connections: Any) -> None:
    ours, _ = connections
    failing = "SELECT id, (SELECT id FROM kinds k WHERE k.id > 0 AND kinds.id > 0) FROM kinds ORDER BY id"
    with pytest.raises(pymysql.err.OperationalError, match="more than 1 row"):
        _asked(ours, failing)
    assert _asked(ours, "SELECT 7")[0] == ((7,),)


def test_a_connection_that_is_cut_amid_an_answer_is_lost_and_says_so(connections: Any) -> None:
    ours, theirs = connections
    _asked(ours, "SELECT 1")
    theirs.kill(ours.thread_id())
    with pytest.raises(pymysql.err.OperationalError) as caught:
        _asked(ours, "SELECT 1")
    assert caught.value.args[0] in (2006, 2013)
