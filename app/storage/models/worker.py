"""Workers: who asks for tasks of which types."""

from sqlalchemy import Column, Index, String, Table

from app.storage.columns import Ascii, Id, Instant
from app.storage.models.base import TABLE_OPTIONS, metadata

workers = Table(
    "workers",
    metadata,
    Column("worker_id", String(255), primary_key=True),
    # What the worker calls itself, such as its program's version.
    Column("version", String(255)),
    Column("first_seen_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    # What an admin wants the worker to do: `quiet` or `terminate`.
    Column("command", Ascii(16)),
    Column("commanded_at", Instant),
    Index("ix_workers_last_seen_at", "last_seen_at"),
    Index("ix_workers_command", "command"),
    **TABLE_OPTIONS,
)

worker_types = Table(
    "worker_types",
    metadata,
    Column("type_id", Id, primary_key=True, autoincrement=False),
    Column("worker_id", String(255), primary_key=True),
    Column("last_asked_at", Instant, nullable=False),
    Index("ix_worker_types_worker_id", "worker_id"),
    **TABLE_OPTIONS,
)
