"""Concurrency keys of a type, and the places of tasks in the lines of their keys."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, String, Table, UniqueConstraint

from app.storage.columns import Id, Instant, Json, Rank
from app.storage.models.base import TABLE_OPTIONS, metadata

concurrency_keys = Table(
    "concurrency_keys",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("type_id", Id, nullable=False),
    Column("concurrency_key", String(255), nullable=False),
    # The instants of the latest claims, in microseconds since 1970, oldest first: as many as the rate allows.
    Column("recent_claims", Json, nullable=False),
    # When the rate allows the next claim, while tasks wait for that.
    Column("due_at", Instant),
    UniqueConstraint("type_id", "concurrency_key"),
    Index("ix_concurrency_keys_due_at", "due_at"),
    **TABLE_OPTIONS,
)

# One row for each task that stands in the line of its concurrency key, or has been admitted and is not finished.
line_places = Table(
    "line_places",
    metadata,
    Column("task_id", Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("key_id", Id, nullable=False),
    # Whether the task has left the line and may be claimed, or is.
    Column("is_admitted", Boolean, nullable=False),
    # Kept only where the type counts claims per key: it has a rate per key, or its keys take turns.
    Column("is_claimed", Boolean, nullable=False, server_default="0"),
    Column("claim_rank", Rank, nullable=False),
    Index("ix_line_places_key_id", "key_id", "is_admitted", "claim_rank", "task_id"),
    **TABLE_OPTIONS,
)
