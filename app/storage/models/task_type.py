"""Task types: a named kind of work, its schemas and its policies."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, String, Table

from app.policies import POLICIES
from app.storage.columns import Ascii, Id, Instant, Json
from app.storage.models.base import TABLE_OPTIONS, metadata


def _policy_column(name: str) -> Column[Any]:
    policy = POLICIES[name]
    is_optional = policy.default is None
    # A policy that came later has a default for the types that were there before it.
    default = None if is_optional or "added_in" not in policy.metadata else str(policy.default)
    kind: Any = Ascii(32)
    if "names" in policy.metadata:
        kind = Json
    elif "low" in policy.metadata:
        kind = Double if isinstance(policy.default, float) else Integer
    return Column(name, kind, nullable=is_optional, server_default=default)


task_types = Table(
    "task_types",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False),
    # The case-folded name: unique without regard to case, the same on every database and collation.
    Column("name_key", String(255), nullable=False, unique=True),
    Column("version", String(50), nullable=False),
    Column("param_schema", Json, nullable=False),
    Column("result_schema", Json),
    Column("is_active", Boolean, nullable=False),
    Column("is_paused", Boolean, nullable=False),
    # Grows with every change; a task names the revision under which it was checked when it is inserted.
    Column("revision", Integer, nullable=False),
    *(_policy_column(name) for name in POLICIES),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    **TABLE_OPTIONS,
)

# Beside task_types, because every insert of a task reads that row and would wait for its writers.
task_type_usage = Table(
    "task_type_usage",
    metadata,
    Column("type_id", Id, primary_key=True, autoincrement=False),
    Column("usage_count", BigInteger, nullable=False),
    Column("last_used_at", Instant),
    **TABLE_OPTIONS,
)

# One row for each task type that has a limit; whoever claims under a limit locks it.
task_type_limits = Table(
    "task_type_limits",
    metadata,
    Column("type_id", Id, primary_key=True, autoincrement=False),
    # The instants of the latest claims, in microseconds since 1970, oldest first: as many as the rate allows.
    Column("recent_claims", Json, nullable=False),
    **TABLE_OPTIONS,
)
