"""Log lines that workers write while they work on a task."""

from sqlalchemy import Column, ForeignKey, Index, Integer, Table

from app.storage.columns import Ascii, Id, Instant, LongText
from app.storage.models.base import TABLE_OPTIONS, metadata

task_logs = Table(
    "task_logs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("task_id", Id, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("logged_at", Instant, nullable=False),
    Column("level", Ascii(16), nullable=False),
    Column("message", LongText, nullable=False),
    Index("ix_task_logs_task_id", "task_id", "id"),
    **TABLE_OPTIONS,
)
