"""Index tasks by type.

As with the status: a list of the few tasks of one type walked past all others.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("ix_tasks_type_id", "tasks", ["type_id"])


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_tasks_type_id", "tasks")
