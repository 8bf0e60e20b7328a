"""Answers that were given to requests with an Idempotency-Key."""

from sqlalchemy import Column, Index, SmallInteger, Table, UniqueConstraint

from app.storage.columns import Ascii, Hash, Id, Instant, Json
from app.storage.models.base import TABLE_OPTIONS, metadata

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    # Each API key has its own Idempotency-Keys; 0 stands for no API key.
    Column("api_key_id", Id, nullable=False),
    Column("idempotency_key", Ascii(255), nullable=False),
    Column("request_hash", Hash(), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("answer", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("api_key_id", "idempotency_key"),
    Index("ix_idempotency_keys_created_at", "created_at"),
    **TABLE_OPTIONS,
)
