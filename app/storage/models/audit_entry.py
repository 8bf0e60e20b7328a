"""The audit log: who changed what."""

from sqlalchemy import Column, Index, String, Table

from app.storage.columns import Ascii, Id, Instant, Json
from app.storage.models.base import TABLE_OPTIONS, metadata

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("created_at", Instant, nullable=False),
    # The API key that was used, and its name at that time; 0 stands for none.
    Column("api_key_id", Id, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", Ascii(64), nullable=False),
    Column("subject", String(300), nullable=False),
    Column("details", Json, nullable=False),
    Index("ix_audit_entries_created_at", "created_at"),
    **TABLE_OPTIONS,
)
