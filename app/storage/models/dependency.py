"""Dependencies: which task waits for the end of which."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Table

from app.storage.columns import Ascii, Id
from app.storage.models.base import TABLE_OPTIONS, metadata

dependencies = Table(
    "dependencies",
    metadata,
    Column("task_id", Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    # Not a foreign key: what a task has waited for may be removed before it.
    Column("depends_on_id", Id, primary_key=True, autoincrement=False),
    # What becomes of the task if the other one fails: `fail`, `cancel`, `run_anyway`.
    Column("on_failure", Ascii(16), nullable=False),
    Column("is_met", Boolean, nullable=False),
    Index("ix_dependencies_task_id_is_met", "task_id", "is_met"),
    Index("ix_dependencies_depends_on_id_is_met", "depends_on_id", "is_met"),
    **TABLE_OPTIONS,
)
