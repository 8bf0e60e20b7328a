"""How migrations create tables: so that a migration which was interrupted can be run again."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from app.setup.failures import SetupError

Indexes = Mapping[str, list[str]]


def create_table(
    name: str,
    *parts: sa.schema.SchemaItem,
    options: Mapping[str, Any],
    indexes: Indexes | None = None,
    unique_indexes: Indexes | None = None,
) -> None:
    """Create the table and its indexes, or those of them that are missing.

    MySQL cannot roll DDL back, so a migration that lost its connection leaves the first tables behind. Raises
    SetupError when a table of that name holds something else, which must not be touched.
    """
    existing: set[str | None] = set()
    if op.get_context().as_sql:
        op.create_table(name, *parts, **options)
    else:
        inspector = sa.inspect(op.get_bind())
        if inspector.has_table(name):
            wanted = {part.name for part in parts if isinstance(part, sa.Column)}
            if {column["name"] for column in inspector.get_columns(name)} != wanted:
                raise SetupError(
                    f"The database already has a table {name} that is not TaskManager's, and it was not touched: "
                    "use a database of its own for TaskManager."
                )
            existing = {index["name"] for index in inspector.get_indexes(name)}
        else:
            op.create_table(name, *parts, **options)
    for is_unique, wanted_indexes in ((False, indexes or {}), (True, unique_indexes or {})):
        for index, columns in wanted_indexes.items():
            if index not in existing:
                op.create_index(index, name, columns, unique=is_unique)
