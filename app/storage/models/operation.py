"""Operations: changes of many tasks, done slice by slice."""

from sqlalchemy import BigInteger, Column, Index, String, Table

from app.storage.columns import Ascii, Id, Instant, Json, LongText
from app.storage.models.base import TABLE_OPTIONS, metadata

operations = Table(
    "operations",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("kind", Ascii(32), nullable=False),
    # Which tasks, and what is to become of them.
    Column("filter", Json, nullable=False),
    Column("options", Json, nullable=False),
    Column("status", Ascii(16), nullable=False),
    # How far it is: where the next slice begins, and the last task that was there at the beginning.
    Column("position", Json, nullable=False),
    Column("up_to_task_id", Id, nullable=False),
    Column("examined", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("error_message", LongText),
    Column("created_by", String(255), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Index("ix_operations_status", "status", "id"),
    **TABLE_OPTIONS,
)
