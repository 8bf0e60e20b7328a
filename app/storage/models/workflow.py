"""Workflows: tasks that were created together, with names of their own."""

from sqlalchemy import Column, ForeignKey, Index, String, Table

from app.storage.columns import Id, Instant
from app.storage.models.base import TABLE_OPTIONS, metadata

workflows = Table(
    "workflows",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("name", String(255)),
    Column("created_at", Instant, nullable=False),
    **TABLE_OPTIONS,
)

workflow_tasks = Table(
    "workflow_tasks",
    metadata,
    Column("workflow_id", Id, ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("task_id", Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    # What the task is called within the workflow.
    Column("name", String(255), nullable=False),
    Index("ix_workflow_tasks_task_id", "task_id"),
    **TABLE_OPTIONS,
)
