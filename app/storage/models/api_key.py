"""API keys: of the key itself only a hash is kept."""

from sqlalchemy import Column, String, Table

from app.storage.columns import Ascii, Hash, Id, Instant
from app.storage.models.base import TABLE_OPTIONS, metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False),
    # The first characters, by which a person recognises a key in a list.
    Column("prefix", Ascii(16), nullable=False),
    Column("key_hash", Hash(), nullable=False, unique=True),
    Column("scopes", Ascii(64), nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("created_at", Instant, nullable=False),
    **TABLE_OPTIONS,
)
