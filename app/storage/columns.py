"""Column types: the few ways in which values are stored, the same on every database."""

import json
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import BigInteger, DateTime, Dialect, Integer, String, Text, TypeDecorator
from sqlalchemy.dialects.mysql import CHAR, DATETIME, MEDIUMTEXT, VARCHAR
from sqlalchemy.types import TypeEngine

UTC = timezone.utc
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """A UTC instant with microseconds: `DATETIME(6)`, and on SQLite, which has no such type, an integer.

    Whole microseconds since 1970 sort and compare right on SQLite and cost less than text.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose how this database stores an instant."""
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else DATETIME(fsp=6))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Turn an aware datetime into what the database stores."""
        if value is None or dialect.name != "sqlite":
            return value
        return (value - EPOCH) // _MICROSECOND

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Leave alone what the driver has read; it knows that all times are UTC."""
        return super().result_processor(dialect, coltype) if dialect.name == "sqlite" else None

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Turn what SQLite stores into an aware datetime."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Json(TypeDecorator[Any]):
    """Any JSON value as compact text; None is JSON's null.

    Text, not the databases' JSON types: those reorder keys, round numbers, and MariaDB's is text anyway.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """TEXT holds only 64 KiB on MySQL, less than a request body."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else MEDIUMTEXT())

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """Write the value as compact JSON."""
        return to_json(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Return what reads the JSON text; NULL becomes None."""
        return _read_json


_decode = json.JSONDecoder().decode


def _read_json(text: str | None) -> Any:
    return None if text is None else _decode(text)


_ONLY_JSON = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def to_json(value: Any) -> str:
    """Return compact JSON text in readable Unicode; raises TypeError for most of what is no JSON.

    NaN, which no caller can send, would become null.
    """
    return to_json_bytes(value).decode()


def to_json_bytes(value: Any) -> bytes:
    """As `to_json`, in UTF-8."""
    try:
        return orjson.dumps(value, option=_ONLY_JSON)
    except orjson.JSONEncodeError:
        # Integers beyond 64 bits, and what is nested deeper than 254 levels.
        return _encode(value).encode()


# The same instants again and again: the tasks of a batch have several in common.
@lru_cache(maxsize=1024)
def instant_text(value: datetime) -> str:
    """Write an instant as the API shows it, and as JSON holds it: UTC, milliseconds, `Z`."""
    return f"{value.isoformat(timespec='milliseconds')[:23]}Z"


MAX_ID = 2**63 - 1
# SQLite gives only its INTEGER primary keys their values by itself.
Id = BigInteger().with_variant(Integer, "sqlite")
# All integers of SQLite have 64 bits; it cannot change the type that it once wrote down.
Rank = Integer().with_variant(BigInteger(), "mysql", "mariadb")
LongText = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


def Ascii(length: int) -> TypeEngine[str]:
    """Return a text type for keys and codes: one byte a character, compared byte by byte."""
    return String(length).with_variant(VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")


def Hash() -> TypeEngine[str]:
    """Return a type for a SHA-256 in hexadecimal."""
    return String(64).with_variant(CHAR(64, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
