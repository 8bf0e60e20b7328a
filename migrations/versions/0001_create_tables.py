"""Create the tables.

The first schema: task types with their policies, tasks, their unsuccessful attempts, API keys, remembered answers and
counters. The types are spelled out here and not taken from the models, because models change and this file never does.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from app.setup.create_table import create_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = mysql.DATETIME(fsp=6).with_variant(sa.BigInteger(), "sqlite")
LONG_TEXT = mysql.MEDIUMTEXT().with_variant(sa.Text(), "sqlite")
JSON = LONG_TEXT
HASH = mysql.CHAR(64, charset="ascii", collation="ascii_bin").with_variant(sa.String(64), "sqlite")

OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_row_format": "DYNAMIC",
    "sqlite_autoincrement": True,
}


def ascii_text(length: int) -> sa.types.TypeEngine[str]:
    """Return a type of one byte a character, compared byte by byte."""
    return mysql.VARCHAR(length, charset="ascii", collation="ascii_bin").with_variant(sa.String(length), "sqlite")


def required(name: str, kind: Any) -> sa.Column[Any]:
    """Return a column that always has a value."""
    return sa.Column(name, kind, nullable=False)


def optional(name: str, kind: Any) -> sa.Column[Any]:
    """Return a column that may be NULL."""
    return sa.Column(name, kind, nullable=True)


def generated_id() -> sa.Column[Any]:
    """Return the id column whose values the database gives."""
    return sa.Column("id", ID, autoincrement=True, nullable=False)


def upgrade() -> None:
    """Create all tables."""
    create_table(
        "task_types",
        generated_id(),
        required("name", sa.String(255)),
        required("name_key", sa.String(255)),
        required("version", sa.String(50)),
        required("param_schema", JSON),
        optional("result_schema", JSON),
        required("is_active", sa.Boolean()),
        required("is_paused", sa.Boolean()),
        required("revision", sa.Integer()),
        required("max_attempts", sa.Integer()),
        required("retry_delay_seconds", sa.Double()),
        required("retry_backoff", ascii_text(32)),
        required("retry_delay_max_seconds", sa.Double()),
        required("retry_jitter", sa.Double()),
        required("lease_seconds", sa.Integer()),
        optional("attempt_timeout_seconds", sa.Integer()),
        optional("expires_after_seconds", sa.Integer()),
        required("dedupe", ascii_text(32)),
        optional("dedupe_window_seconds", sa.Integer()),
        optional("max_concurrency", sa.Integer()),
        optional("rate_limit", ascii_text(32)),
        required("retention_seconds", sa.Integer()),
        required("created_at", INSTANT),
        required("updated_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_task_types"),
        sa.UniqueConstraint("name_key", name="uq_task_types_name_key"),
        options=OPTIONS,
    )
    create_table(
        "task_type_usage",
        sa.Column("type_id", ID, autoincrement=False, nullable=False),
        required("usage_count", sa.BigInteger()),
        optional("last_used_at", INSTANT),
        sa.PrimaryKeyConstraint("type_id", name="pk_task_type_usage"),
        options=OPTIONS,
    )
    create_table(
        "task_type_limits",
        sa.Column("type_id", ID, autoincrement=False, nullable=False),
        required("recent_claims", JSON),
        sa.PrimaryKeyConstraint("type_id", name="pk_task_type_limits"),
        options=OPTIONS,
    )
    create_table(
        "tasks",
        generated_id(),
        required("type_id", ID),
        required("status", sa.SmallInteger()),
        required("claim_rank", sa.Integer()),
        optional("due_at", INSTANT),
        required("params", JSON),
        optional("result", JSON),
        optional("error_message", LONG_TEXT),
        optional("failure_reason", ascii_text(32)),
        required("progress", sa.SmallInteger()),
        optional("progress_message", sa.String(1000)),
        required("attempts", sa.Integer()),
        required("max_attempts", sa.Integer()),
        optional("claimed_by", sa.String(255)),
        optional("claimed_at", INSTANT),
        optional("lease_token", ascii_text(64)),
        optional("attempt_ends_at", INSTANT),
        required("available_at", INSTANT),
        optional("deadline_at", INSTANT),
        optional("completed_at", INSTANT),
        required("created_at", INSTANT),
        required("updated_at", INSTANT),
        optional("dedupe_key", sa.String(255)),
        optional("dedupe_hash", HASH),
        optional("parent_task_id", sa.String(255)),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        options=OPTIONS,
        indexes={
            "ix_tasks_claim": ["type_id", "status", "claim_rank", "id"],
            "ix_tasks_due_at": ["due_at"],
        },
        unique_indexes={"uq_tasks_dedupe_hash": ["dedupe_hash"]},
    )
    create_table(
        "attempts",
        generated_id(),
        required("task_id", ID),
        required("number", sa.Integer()),
        required("worker_id", sa.String(255)),
        required("lease_token", ascii_text(64)),
        required("claimed_at", INSTANT),
        required("ended_at", INSTANT),
        required("outcome", ascii_text(16)),
        optional("error_message", LONG_TEXT),
        optional("late_report", JSON),
        optional("late_report_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_attempts_task_id", ondelete="CASCADE"),
        options=OPTIONS,
        indexes={"ix_attempts_task_id": ["task_id"]},
    )
    create_table(
        "api_keys",
        generated_id(),
        required("name", sa.String(255)),
        required("prefix", ascii_text(16)),
        required("key_hash", HASH),
        required("scopes", ascii_text(64)),
        optional("expires_at", INSTANT),
        optional("revoked_at", INSTANT),
        required("created_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
        options=OPTIONS,
    )
    create_table(
        "idempotency_keys",
        generated_id(),
        required("api_key_id", ID),
        required("idempotency_key", ascii_text(255)),
        required("request_hash", HASH),
        required("status", sa.SmallInteger()),
        required("answer", JSON),
        required("created_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_idempotency_keys"),
        sa.UniqueConstraint("api_key_id", "idempotency_key", name="uq_idempotency_keys_api_key_id_idempotency_key"),
        options=OPTIONS,
        indexes={"ix_idempotency_keys_created_at": ["created_at"]},
    )
    create_table(
        "counters",
        required("name", ascii_text(64)),
        required("value", sa.BigInteger()),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
        options=OPTIONS,
    )


def downgrade() -> None:
    """Drop all tables, those that refer to others first."""
    for table in (
        "counters",
        "idempotency_keys",
        "api_keys",
        "attempts",
        "tasks",
        "task_type_limits",
        "task_type_usage",
        "task_types",
    ):
        op.drop_table(table)
