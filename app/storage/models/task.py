"""Tasks: one row for the whole life of a task."""

from sqlalchemy import Boolean, Column, Index, Integer, SmallInteger, String, Table

from app.storage.columns import Ascii, Hash, Id, Instant, Json, LongText, Rank
from app.storage.models.base import TABLE_OPTIONS, metadata

tasks = Table(
    "tasks",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("type_id", Id, nullable=False),
    Column("status", SmallInteger, nullable=False),
    # Where the task stands among its equals, lowest first (app/queue/ranks.py): while it waits, in the order of
    # claims; once it is finished, in the order of their ends.
    Column("claim_rank", Rank, nullable=False),
    # The one alarm of the row: when time must do something to it, whatever its status.
    Column("due_at", Instant),
    Column("params", Json, nullable=False),
    Column("result", Json),
    Column("error_message", LongText),
    Column("failure_reason", Ascii(32)),
    Column("progress", SmallInteger, nullable=False),
    Column("progress_message", String(1000)),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("claimed_by", String(255)),
    Column("claimed_at", Instant),
    Column("lease_token", Ascii(64)),
    Column("attempt_ends_at", Instant),
    Column("available_at", Instant, nullable=False),
    Column("deadline_at", Instant),
    Column("completed_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("dedupe_key", String(255)),
    Column("dedupe_hash", Hash()),
    Column("parent_task_id", String(255)),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("first_claimed_at", Instant),
    # Others wait for the end of this task: its dependents, or the line of its concurrency key.
    Column("has_followers", Boolean, nullable=False, server_default="0"),
    # What most tasks do not have, as it was given at creation; side tables serve to search by it.
    Column("extras", Json),
    Index("ix_tasks_claim", "type_id", "status", "claim_rank", "id"),
    Index("ix_tasks_due_at", "due_at"),
    # For lists, newest first: the id stands behind every entry of an index by itself.
    Index("ix_tasks_status", "status"),
    Index("ix_tasks_type_id", "type_id"),
    Index("uq_tasks_dedupe_hash", "dedupe_hash", unique=True),
    **TABLE_OPTIONS,
)
