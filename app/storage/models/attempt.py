"""Attempts that did not complete their task: what most tasks never have, so it stays out of the tasks table."""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table

from app.storage.columns import Ascii, Id, Instant, Json, LongText
from app.storage.models.base import TABLE_OPTIONS, metadata

attempts = Table(
    "attempts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("task_id", Id, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("worker_id", String(255), nullable=False),
    Column("lease_token", Ascii(64), nullable=False),
    Column("claimed_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=False),
    Column("outcome", Ascii(16), nullable=False),
    Column("error_message", LongText),
    # What the worker reported after the task had been taken over: kept, never applied.
    Column("late_report", Json),
    Column("late_report_at", Instant),
    # What is too long for a message, such as a stack trace.
    Column("error_details", LongText),
    Index("ix_attempts_task_id", "task_id"),
    **TABLE_OPTIONS,
)
