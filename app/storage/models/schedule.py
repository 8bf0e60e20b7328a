"""Schedules: rules that create tasks over time."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table

from app.storage.columns import Ascii, Id, Instant, Json, LongText
from app.storage.models.base import TABLE_OPTIONS, metadata

schedules = Table(
    "schedules",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False),
    # The case-folded name: unique without regard to case.
    Column("name_key", String(255), nullable=False, unique=True),
    Column("type_id", Id, nullable=False),
    Column("params", Json, nullable=False),
    Column("priority", Integer, nullable=False),
    # What else its tasks are created with, such as tags.
    Column("extras", Json),
    # Either a cron expression or an interval.
    Column("cron", Ascii(255)),
    Column("timezone", Ascii(64), nullable=False),
    Column("interval_seconds", Integer),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    Column("jitter_seconds", Integer, nullable=False),
    Column("overlap", Ascii(16), nullable=False),
    Column("catch_up", Ascii(16), nullable=False),
    Column("catch_up_limit", Integer, nullable=False),
    Column("is_paused", Boolean, nullable=False),
    # The next instant of the rule, and when it is to be acted on: its jitter later; NULL when there is none.
    Column("next_at", Instant),
    Column("due_at", Instant),
    Column("last_at", Instant),
    Column("last_task_id", Id),
    Column("created_count", BigInteger, nullable=False),
    Column("skipped_count", BigInteger, nullable=False),
    Column("error_message", LongText),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index("ix_schedules_due_at", "due_at"),
    **TABLE_OPTIONS,
)
