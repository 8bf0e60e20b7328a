"""Duties: what one process at a time does for all."""

from sqlalchemy import BigInteger, Column, Double, Table

from app.storage.columns import Ascii, Instant, LongText
from app.storage.models.base import TABLE_OPTIONS, metadata

duties = Table(
    "duties",
    metadata,
    Column("name", Ascii(64), primary_key=True),
    # Who does it now, and until when nobody else may.
    Column("holder", Ascii(64)),
    Column("held_until", Instant),
    Column("last_began_at", Instant),
    Column("last_ended_at", Instant),
    Column("last_seconds", Double),
    Column("last_changed", BigInteger),
    Column("last_error", LongText),
    Column("last_error_at", Instant),
    **TABLE_OPTIONS,
)
