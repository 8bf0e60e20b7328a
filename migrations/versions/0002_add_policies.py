"""Add the policies of retries, duplicates, orders and concurrency keys.

Each has a default that leaves the task types that exist as they are.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.setup.change_table import add_columns, drop_columns

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = mysql.MEDIUMTEXT().with_variant(sa.Text(), "sqlite")
WORD = mysql.VARCHAR(32, charset="ascii", collation="ascii_bin").with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    """Add the columns."""
    add_columns(
        "task_types",
        sa.Column("retry_for_seconds", sa.Integer(), nullable=True),
        sa.Column("dedupe_on", JSON, nullable=True),
        sa.Column("on_duplicate", WORD, nullable=False, server_default="return"),
        sa.Column("claim_order", WORD, nullable=False, server_default="priority"),
        sa.Column("priority_aging_seconds", sa.Integer(), nullable=True),
        sa.Column("key_max_concurrency", sa.Integer(), nullable=True),
        sa.Column("key_rate_limit", WORD, nullable=True),
        sa.Column("key_order", WORD, nullable=False, server_default="priority"),
    )


def downgrade() -> None:
    """Drop the columns."""
    drop_columns(
        "task_types",
        "key_order",
        "key_rate_limit",
        "key_max_concurrency",
        "priority_aging_seconds",
        "claim_order",
        "on_duplicate",
        "dedupe_on",
        "retry_for_seconds",
    )
