"""Audit: who changed what, written down in the transaction of the change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select

from app.queue.pages import cut_page
from app.storage.columns import Instant, to_json
from app.storage.database import Row, Transaction
from app.storage.models import audit_entries

SLICE = 500
# A longer value is not repeated: an entry says what changed, and is no backup.
_LONGEST_SHOWN = 500

_INSERT = insert(audit_entries)
_OLD = (
    select(audit_entries.c.id)
    .where(audit_entries.c.created_at <= bindparam("before", type_=Instant))
    .order_by(audit_entries.c.created_at)
    .limit(SLICE)
)
_DELETE = delete(audit_entries).where(audit_entries.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change: an API key with its name of this moment, or 0 with the name of a program."""

    api_key_id: int
    name: str


PROGRAM = Actor(0, "taskmanager")


def write_audit(tx: Transaction, actor: Actor, action: str, subject: str, details: Mapping[str, Any]) -> None:
    """Write down a change in its own transaction, so that neither is there without the other.

    `action` is the operation's id in OpenAPI, `subject` the path of what was changed below `/api`, and `details` are
    JSON values and instants, without secrets. Whoever changes nothing, also because a run before this one did it,
    writes nothing down.
    """
    tx.execute(
        _INSERT,
        {
            "created_at": tx.now,
            "api_key_id": actor.api_key_id,
            "actor": actor.name,
            "action": action,
            "subject": subject,
            "details": {name: _shown(value) for name, value in details.items()},
        },
    )


def describe_changes(before: Row, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return for each field that really changes its old and its new value, or only `"changed"` where these are long."""
    described: dict[str, Any] = {}
    for name, new in changes.items():
        if before[name] != new:
            values = {"old": _shown(before[name]), "new": _shown(new)}
            described[name] = values if len(to_json(values)) <= _LONGEST_SHOWN else "changed"
    return described


def list_audit(
    tx: Transaction,
    *,
    limit: int,
    below_id: int | None = None,
    action: str | None = None,
    subject: str | None = None,
    actor: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> tuple[list[Row], int | None]:
    """Return a page of entries, newest first, and the id below which the next page begins."""
    entries = audit_entries.c
    if action is not None and not action.isascii():
        # No action is written so, and MariaDB refuses to compare it with a column that has only ASCII.
        return [], None
    statement = select(audit_entries).order_by(entries.id.desc()).limit(limit + 1)
    if below_id is not None:
        statement = statement.where(entries.id < below_id)
    for column, wanted in ((entries.action, action), (entries.subject, subject), (entries.actor, actor)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if created_from is not None:
        statement = statement.where(entries.created_at >= created_from)
    if created_before is not None:
        statement = statement.where(entries.created_at < created_before)
    return cut_page(tx.all(statement), limit)


def remove_old_audit(tx: Transaction, keep_seconds: int) -> int:
    """Remove one slice of the entries that were kept for their time; return how many."""
    ids = [row["id"] for row in tx.all(_OLD, {"before": tx.now - timedelta(seconds=keep_seconds)})]
    return tx.changes(_DELETE, {"ids": ids}) if ids else 0


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
