"""Add what a task remembers beside its row's old columns, and the details of a failed attempt.

`claim_rank` was the negated priority. It becomes an order of its own, so the priority gets a column, filled from it.
Finished tasks are ranked by their end, so that the latest are found through the index of claims.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from app.setup.change_table import add_columns, drop_columns

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INSTANT = mysql.DATETIME(fsp=6).with_variant(sa.BigInteger(), "sqlite")
LONG_TEXT = mysql.MEDIUMTEXT().with_variant(sa.Text(), "sqlite")
FINISHED = "(5, 6, 7)"
END = {
    "sqlite": "completed_at / 1000",
    "mysql": "FLOOR(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', completed_at) / 1000)",
}


def upgrade() -> None:
    """Add the columns and fill them."""
    database = op.get_context().dialect.name
    if database == "mysql":
        op.alter_column("tasks", "claim_rank", type_=sa.BigInteger(), existing_type=sa.Integer(), nullable=False)
    add_columns(
        "tasks",
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("first_claimed_at", INSTANT, nullable=True),
        sa.Column("has_followers", sa.Boolean(), nullable=False, server_default="0"),
        sa.Column("extras", LONG_TEXT, nullable=True),
    )
    add_columns("attempts", sa.Column("error_details", LONG_TEXT, nullable=True))
    # A rank above any priority is an instant already: this may be run twice.
    op.execute("UPDATE tasks SET priority = -claim_rank WHERE ABS(claim_rank) < 2147483648")
    op.execute("UPDATE tasks SET first_claimed_at = claimed_at WHERE first_claimed_at IS NULL")
    op.execute(
        f"UPDATE tasks SET claim_rank = {END[database]} "  # noqa: S608
        f"WHERE status IN {FINISHED} AND ABS(claim_rank) < 2147483648"
    )


def downgrade() -> None:
    """Rank by priority again and drop the columns."""
    op.execute("UPDATE tasks SET claim_rank = -priority")
    drop_columns("attempts", "error_details")
    drop_columns("tasks", "extras", "has_followers", "first_claimed_at", "priority")
    if op.get_context().dialect.name == "mysql":
        op.alter_column("tasks", "claim_rank", type_=sa.Integer(), existing_type=sa.BigInteger(), nullable=False)
