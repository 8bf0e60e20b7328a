"""Another value for each row, in one update."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, ColumnElement, case, literal


def by_id(column: Column[Any], values: Mapping[int, Any]) -> ColumnElement[Any]:
    """Return, for each row by its id, the value that the column is to have, or to be compared with.

    One and the same for all is written once: a case for each row costs SQLAlchemy more than all the rest.
    """
    first, *others = values.values()
    # As text, since Python takes 1, 1.0 and True for equal.
    text = repr(first)
    if all(repr(value) == text for value in others):
        return literal(first, column.type)
    return case({row_id: literal(value, column.type) for row_id, value in values.items()}, value=column.table.c.id)
