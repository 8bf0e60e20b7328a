"""Create the side tables of the full rules.

Dependencies and workflows, concurrency keys, labels, logs, schedules, operations, workers, the audit log and duties:
what most tasks do not have, so that it costs those nothing.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from app.setup.create_table import create_table

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
RANK = sa.Integer().with_variant(sa.BigInteger(), "mysql", "mariadb")
INSTANT = mysql.DATETIME(fsp=6).with_variant(sa.BigInteger(), "sqlite")
LONG_TEXT = mysql.MEDIUMTEXT().with_variant(sa.Text(), "sqlite")
JSON = LONG_TEXT

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
    """Create the tables."""
    create_table(
        "dependencies",
        sa.Column("task_id", ID, autoincrement=False, nullable=False),
        sa.Column("depends_on_id", ID, autoincrement=False, nullable=False),
        required("on_failure", ascii_text(16)),
        required("is_met", sa.Boolean()),
        sa.PrimaryKeyConstraint("task_id", "depends_on_id", name="pk_dependencies"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_dependencies_task_id", ondelete="CASCADE"),
        options=OPTIONS,
        indexes={
            "ix_dependencies_depends_on_id_is_met": ["depends_on_id", "is_met"],
            "ix_dependencies_task_id_is_met": ["task_id", "is_met"],
        },
    )
    create_table(
        "workflows",
        generated_id(),
        optional("name", sa.String(255)),
        required("created_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_workflows"),
        options=OPTIONS,
    )
    create_table(
        "workflow_tasks",
        sa.Column("workflow_id", ID, autoincrement=False, nullable=False),
        sa.Column("task_id", ID, autoincrement=False, nullable=False),
        required("name", sa.String(255)),
        sa.PrimaryKeyConstraint("workflow_id", "task_id", name="pk_workflow_tasks"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_workflow_tasks_task_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["workflows.id"], name="fk_workflow_tasks_workflow_id", ondelete="CASCADE"
        ),
        options=OPTIONS,
        indexes={
            "ix_workflow_tasks_task_id": ["task_id"],
        },
    )
    create_table(
        "concurrency_keys",
        generated_id(),
        required("type_id", ID),
        required("concurrency_key", sa.String(255)),
        required("recent_claims", JSON),
        optional("due_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_concurrency_keys"),
        sa.UniqueConstraint("type_id", "concurrency_key", name="uq_concurrency_keys_type_id_concurrency_key"),
        options=OPTIONS,
        indexes={
            "ix_concurrency_keys_due_at": ["due_at"],
        },
    )
    create_table(
        "line_places",
        sa.Column("task_id", ID, autoincrement=False, nullable=False),
        required("key_id", ID),
        required("is_admitted", sa.Boolean()),
        sa.Column("is_claimed", sa.Boolean(), nullable=False, server_default="0"),
        required("claim_rank", RANK),
        sa.PrimaryKeyConstraint("task_id", name="pk_line_places"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_line_places_task_id", ondelete="CASCADE"),
        options=OPTIONS,
        indexes={
            "ix_line_places_key_id": ["key_id", "is_admitted", "claim_rank", "task_id"],
        },
    )
    create_table(
        "task_labels",
        required("label", sa.String(512)),
        sa.Column("task_id", ID, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("label", "task_id", name="pk_task_labels"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_task_labels_task_id", ondelete="CASCADE"),
        options=OPTIONS,
        indexes={
            "ix_task_labels_task_id": ["task_id"],
        },
    )
    create_table(
        "task_logs",
        generated_id(),
        required("task_id", ID),
        required("attempt", sa.Integer()),
        required("logged_at", INSTANT),
        required("level", ascii_text(16)),
        required("message", LONG_TEXT),
        sa.PrimaryKeyConstraint("id", name="pk_task_logs"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_task_logs_task_id", ondelete="CASCADE"),
        options=OPTIONS,
        indexes={
            "ix_task_logs_task_id": ["task_id", "id"],
        },
    )
    create_table(
        "schedules",
        generated_id(),
        required("name", sa.String(255)),
        required("name_key", sa.String(255)),
        required("type_id", ID),
        required("params", JSON),
        required("priority", sa.Integer()),
        optional("extras", JSON),
        optional("cron", ascii_text(255)),
        required("timezone", ascii_text(64)),
        optional("interval_seconds", sa.Integer()),
        optional("starts_at", INSTANT),
        optional("ends_at", INSTANT),
        required("jitter_seconds", sa.Integer()),
        required("overlap", ascii_text(16)),
        required("catch_up", ascii_text(16)),
        required("catch_up_limit", sa.Integer()),
        required("is_paused", sa.Boolean()),
        optional("next_at", INSTANT),
        optional("due_at", INSTANT),
        optional("last_at", INSTANT),
        optional("last_task_id", ID),
        required("created_count", sa.BigInteger()),
        required("skipped_count", sa.BigInteger()),
        optional("error_message", LONG_TEXT),
        required("created_at", INSTANT),
        required("updated_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
        sa.UniqueConstraint("name_key", name="uq_schedules_name_key"),
        options=OPTIONS,
        indexes={
            "ix_schedules_due_at": ["due_at"],
        },
    )
    create_table(
        "operations",
        generated_id(),
        required("kind", ascii_text(32)),
        required("filter", JSON),
        required("options", JSON),
        required("status", ascii_text(16)),
        required("position", JSON),
        required("up_to_task_id", ID),
        required("examined", sa.BigInteger()),
        required("changed", sa.BigInteger()),
        optional("error_message", LONG_TEXT),
        required("created_by", sa.String(255)),
        required("created_at", INSTANT),
        required("updated_at", INSTANT),
        optional("ended_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_operations"),
        options=OPTIONS,
        indexes={
            "ix_operations_status": ["status", "id"],
        },
    )
    create_table(
        "workers",
        required("worker_id", sa.String(255)),
        optional("version", sa.String(255)),
        required("first_seen_at", INSTANT),
        required("last_seen_at", INSTANT),
        optional("command", ascii_text(16)),
        optional("commanded_at", INSTANT),
        sa.PrimaryKeyConstraint("worker_id", name="pk_workers"),
        options=OPTIONS,
        indexes={
            "ix_workers_command": ["command"],
            "ix_workers_last_seen_at": ["last_seen_at"],
        },
    )
    create_table(
        "worker_types",
        sa.Column("type_id", ID, autoincrement=False, nullable=False),
        required("worker_id", sa.String(255)),
        required("last_asked_at", INSTANT),
        sa.PrimaryKeyConstraint("type_id", "worker_id", name="pk_worker_types"),
        options=OPTIONS,
        indexes={
            "ix_worker_types_worker_id": ["worker_id"],
        },
    )
    create_table(
        "audit_entries",
        generated_id(),
        required("created_at", INSTANT),
        required("api_key_id", ID),
        required("actor", sa.String(255)),
        required("action", ascii_text(64)),
        required("subject", sa.String(300)),
        required("details", JSON),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
        options=OPTIONS,
        indexes={
            "ix_audit_entries_created_at": ["created_at"],
        },
    )
    create_table(
        "duties",
        required("name", ascii_text(64)),
        optional("holder", ascii_text(64)),
        optional("held_until", INSTANT),
        optional("last_began_at", INSTANT),
        optional("last_ended_at", INSTANT),
        optional("last_seconds", sa.Double()),
        optional("last_changed", sa.BigInteger()),
        optional("last_error", LONG_TEXT),
        optional("last_error_at", INSTANT),
        sa.PrimaryKeyConstraint("name", name="pk_duties"),
        options=OPTIONS,
    )


def downgrade() -> None:
    """Drop the tables, those that refer to others first."""
    for table in (
        "duties",
        "audit_entries",
        "worker_types",
        "workers",
        "operations",
        "schedules",
        "task_logs",
        "task_labels",
        "line_places",
        "concurrency_keys",
        "workflow_tasks",
        "workflows",
        "dependencies",
    ):
        op.drop_table(table)
