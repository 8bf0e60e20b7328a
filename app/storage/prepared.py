"""Prepared: a statement that is compiled once, and then runs on the driver's own cursor.

The hot statements are the same ones again and again. SQLAlchemy's way from a statement and its parameters to its rows
costs as much as the driver's; this one does only what these statements need.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, SelectBase
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.dml import UpdateBase

# Where SQLAlchemy leaves the place for a list, in brackets.
_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")

Row = dict[str, Any]
Processor = Callable[[Any], Any]


class Prepared:
    """A statement, made at import, with bound parameters; how it is written depends on the database."""

    __slots__ = ("statement",)

    def __init__(self, statement: SelectBase | UpdateBase) -> None:
        self.statement = statement


class Form:
    """A prepared statement as one database understands it."""

    def __init__(self, prepared: Prepared, dialect: Dialect) -> None:
        statement = prepared.statement
        compiled: Any = statement.compile(dialect=dialect)
        self._text: str = compiled.string
        # PyMySQL writes parameters into the text, SQLite binds them.
        self._is_written = dialect.paramstyle == "pyformat"
        self._style = "%({})s" if self._is_written else ":{}"
        self._lists = tuple(dict.fromkeys(_LIST.findall(self._text)))
        self._write: dict[str, Processor] = {}
        self._constants: Row = {}
        for name, parameter in compiled.binds.items():
            write = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if write is not None:
                self._write[name] = write
            if not parameter.required and name in self._lists:
                raise ValueError(f"the list {name} is to be bound when the statement runs")
            if not parameter.required:
                self._add_constant(name, write(parameter.value) if write is not None else parameter.value)
        columns: Mapping[str, Any] = dict(statement.selected_columns) if isinstance(statement, SelectBase) else {}
        self._names = tuple(columns.keys())
        self._read = [
            (name, read)
            for name, column in columns.items()
            if (read := column.type.dialect_impl(dialect).result_processor(dialect, None)) is not None
        ]

    def _add_constant(self, name: str, value: Any) -> None:
        if self._is_written and type(value) is int:
            # So it is written once, and not with every execution.
            self._text = self._text.replace(self._style.format(name), str(value))
        else:
            self._constants[name] = value

    def run(self, connection: Connection, parameters: Any, prefix: str = "") -> tuple[Any, Sequence[Any]]:
        """Run the statement, with `prefix` before it, and return the driver's cursor and what it has found.

        Errors of the driver are raised as SQLAlchemy raises them.
        """
        text, values = self._bind(parameters or {})
        text = prefix + text
        dialect = connection.dialect
        cursor = connection.connection.cursor()
        try:
            is_heard = connection.engine._has_events
            if is_heard:
                connection.dispatch.before_cursor_execute(connection, cursor, text, values, None, False)
            cursor.execute(text, values)
            if is_heard:
                connection.dispatch.after_cursor_execute(connection, cursor, text, values, None, False)
            # SQLite finds rows, and what is wrong with them, only now.
            rows = cursor.fetchall() if self._names else ()
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, dialect.loaded_dbapi.Error):
                raise
            # SQLAlchemy knows which errors of the driver mean what, and which of them end the connection.
            connection._handle_dbapi_exception(error, text, values, cursor, None)
        return cursor, rows

    def rows(self, connection: Connection, parameters: Any) -> list[Row]:
        """Run the statement and return all its rows as dicts; raises as `run`."""
        names, read = self._names, self._read
        found = [dict(zip(names, row, strict=True)) for row in self.run(connection, parameters)[1]]
        for row in found:
            for name, process in read:
                row[name] = process(row[name])
        return found

    def _bind(self, parameters: Mapping[str, Any]) -> tuple[str, Row]:
        """Return the text and what is bound in it; raises ValueError for an empty list."""
        text = self._text
        values = {**self._constants, **parameters}
        for name, write in self._write.items():
            if name in parameters:
                values[name] = [write(value) for value in values[name]] if name in self._lists else write(values[name])
        for name in self._lists:
            listed = values.pop(name)
            if not listed:
                raise ValueError(f"the list {name} is empty, which SQL cannot write")
            if type(listed[0]) is int:
                written = ", ".join(map(int.__repr__, listed))
            else:
                each = {f"{name}__{place}": value for place, value in enumerate(listed)}
                values.update(each)
                written = ", ".join(map(self._style.format, each))
            text = text.replace(f"(__[POSTCOMPILE_{name}])", f"({written})")
        return text, values
