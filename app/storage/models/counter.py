"""Counters: single numbers that all processes share."""

from sqlalchemy import BigInteger, Column, Table

from app.storage.columns import Ascii
from app.storage.models.base import TABLE_OPTIONS, metadata

counters = Table(
    "counters",
    metadata,
    Column("name", Ascii(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
    **TABLE_OPTIONS,
)
