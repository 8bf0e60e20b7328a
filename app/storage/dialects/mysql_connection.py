"""PyMySQL's connection, quicker where it opens and where it reads: most of what a statement costs is reading its rows.

What is replaced here is private to PyMySQL; tests/storage/test_mysql_connection.py holds it against PyMySQL's own way.
"""

import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple

from pymysql import connections, converters
from pymysql.constants import FIELD_TYPE
from pymysql.protocol import FieldDescriptorPacket

# In the first byte of a value: NULL, or that its length stands in so many of the next bytes.
_NULL = 251
_LENGTHS = {252: 2, 253: 3, 254: 8}
# Of results with so many columns, so many different descriptions are remembered.
_REMEMBERED = 16

Read = Callable[[bytes], Any]


# The tasks of a batch have several instants in common.
@lru_cache(maxsize=1024)
def _read_instant(text: str) -> datetime:
    """Read a UTC instant several times as fast as PyMySQL, which goes by a regular expression, and with its zone."""
    return datetime.fromisoformat(f"{text}+00:00")


def _write_instant(instant: datetime, _mapping: Any = None) -> str:
    return f"'{instant.replace(tzinfo=None)}'"


CONVERSIONS = {**converters.conversions, FIELD_TYPE.DATETIME: _read_instant, datetime: _write_instant}


class DriverConnection(connections.Connection):  # type: ignore[misc]
    """A connection with one TLS context for all: building one costs 23 ms each time."""

    _preferred_tls: ssl.SSLContext | None = None

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.described: dict[int, list[_Description]] = {}
        super().__init__(*positional, **named)

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        # Without TLS options PyMySQL encrypts where the server can; with them (`?ssl_ca=` …) it checks what they say.
        if sslp != {}:
            context: ssl.SSLContext = super()._create_ssl_ctx(sslp)
            return context
        if DriverConnection._preferred_tls is None:
            DriverConnection._preferred_tls = super()._create_ssl_ctx(sslp)
        return DriverConnection._preferred_tls

    def escape(self, obj: Any, mapping: Any = None) -> str:
        """Write a parameter into a statement."""
        # Most are numbers, which PyMySQL looks up in a table of its own.
        return str(obj) if type(obj) is int else str(super().escape(obj, mapping))

    def _read_query_result(self, unbuffered: bool = False) -> int:
        if unbuffered:
            return int(super()._read_query_result(unbuffered=True))
        self._result = None
        result = _Result(self)
        result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return int(result.affected_rows)


class _Description(NamedTuple):
    """What an answer says of its columns, as it came and as it was understood."""

    packets: bytes
    fields: list[FieldDescriptorPacket]
    converters: list[Any]
    description: tuple[Any, ...]
    reads: tuple[Read, ...]


class _Result(connections.MySQLResult):  # type: ignore[misc]
    """A result whose columns are understood but once, since they are the same ones again and again."""

    def _get_descriptions(self) -> None:
        connection = self.connection
        known = connection.described.setdefault(self.field_count, [])
        came = b""
        # What is wrong with the connection comes up again where PyMySQL reads, and is named there.
        with suppress(OSError):
            came = connection._rfile.peek()
        for seen in known:
            if came.startswith(seen.packets):
                connection._rfile.read(len(seen.packets))
                connection._next_seq_id = (connection._next_seq_id + self.field_count) % 256
                assert connection._read_packet().is_eof_packet(), "the descriptions of the columns have no end"
                break
        else:
            seen = self._understand(connection._next_seq_id)
            # What is known already may have come in two parts.
            if all(seen.packets != other.packets for other in known):
                if len(known) == _REMEMBERED:
                    known.clear()
                known.append(seen)
        self.fields, self.converters, self.description, self._reads = seen[1:]

    def _understand(self, first_number: int) -> _Description:
        super()._get_descriptions()
        packets = (field.get_all_data() for field in self.fields)
        came = b"".join(
            struct.pack("<I", len(packet) | (number % 256) << 24) + packet
            for number, packet in enumerate(packets, first_number)
        )
        reads = tuple(_reader(encoding, converter) for encoding, converter in self.converters)
        return _Description(came, self.fields, self.converters, self.description, reads)

    def _read_rowdata_packet(self) -> None:
        connection, reads = self.connection, self._reads
        rows = []
        while not self._check_packet_is_eof(answer := connection._read_packet()):
            packet = answer.get_all_data()
            place = 0
            row: list[Any] = []
            append = row.append
            for read in reads:
                length = packet[place]
                place += 1
                if length < _NULL:
                    end = place + length
                elif length == _NULL:
                    append(None)
                    continue
                else:
                    size = _LENGTHS[length]
                    end = place + size + int.from_bytes(packet[place : place + size], "little")
                    place += size
                append(read(packet[place:end]))
                place = end
            rows.append(tuple(row))
        self.affected_rows = len(rows)
        self.rows = tuple(rows)


def _reader(encoding: str | None, converter: Callable[[Any], Any] | None) -> Read:
    """Return what makes a value of its bytes."""
    if encoding is None:
        return converter or bytes
    if converter is int:
        return int
    # Which is what these two are, and takes no call of ours.
    decode = bytes.decode if encoding in ("ascii", "utf8") else partial(str, encoding=encoding)
    return decode if converter is None else lambda value: converter(decode(value))
