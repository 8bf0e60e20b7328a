"""How migrations change tables: so that a migration which was interrupted can be run again."""

from typing import Any

import sqlalchemy as sa
from alembic import op


def add_columns(table: str, *columns: sa.Column[Any]) -> None:
    """Add the columns, or those of them that are missing."""
    existing: set[str] = set()
    if not op.get_context().as_sql:
        existing = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}
    for column in columns:
        if column.name not in existing:
            op.add_column(table, column)


def drop_columns(table: str, *names: str) -> None:
    """Drop the columns, or those of them that are left."""
    existing = set(names)
    if not op.get_context().as_sql:
        existing = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}
    for name in names:
        if name in existing:
            op.drop_column(table, name)
