"""Another value for each row, in one update."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Case, Column, case, literal


def by_id(column: Column[Any], values: Mapping[int, Any]) -> Case[Any]:
    """Return, for each row by its id, the value that the column is to have, or to be compared with."""
    return case({row_id: literal(value, column.type) for row_id, value in values.items()}, value=column.table.c.id)
