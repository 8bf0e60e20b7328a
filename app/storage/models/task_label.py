"""Labels: what tasks are found by, their tags and the short values of their metadata."""

from sqlalchemy import Column, ForeignKey, Index, String, Table

from app.storage.columns import Id
from app.storage.models.base import TABLE_OPTIONS, metadata

task_labels = Table(
    "task_labels",
    metadata,
    # A tag as `tag:name`, a member of the metadata as `name=value`.
    Column("label", String(512), primary_key=True),
    Column("task_id", Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Index("ix_task_labels_task_id", "task_id"),
    **TABLE_OPTIONS,
)
