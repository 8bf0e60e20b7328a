"""Sightings: when a worker was last heard of, and which types it asks for, without a write per request."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from app.storage.columns import Instant
from app.storage.database import Transaction
from app.storage.models import worker_types, workers

SIGHTING_SECONDS = 30
KEPT = timedelta(days=7)
SLICE = 500

_LAST_SEEN = select(workers.c.last_seen_at).where(workers.c.worker_id == bindparam("worker"))
_SEE = (
    update(workers)
    .where(workers.c.worker_id == bindparam("worker"), workers.c.last_seen_at <= bindparam("before", type_=Instant))
    .values(
        last_seen_at=bindparam("at", type_=Instant),
        # A heartbeat does not say the version.
        version=func.coalesce(bindparam("told_version"), workers.c.version),
    )
)
_MEET = insert(workers)
# The same words on every database; one statement for all types, whether or not the worker asked for them before.
_ASK = text("REPLACE INTO worker_types (type_id, worker_id, last_asked_at) VALUES (:type_id, :worker, :at)").bindparams(
    bindparam("at", type_=Instant)
)
_UNSEEN = (
    select(workers.c.worker_id)
    .where(workers.c.last_seen_at <= bindparam("before", type_=Instant))
    .order_by(workers.c.last_seen_at)
    .limit(SLICE)
)
_FORGET_TYPES = delete(worker_types).where(worker_types.c.worker_id.in_(bindparam("worker_ids", expanding=True)))
_FORGET = delete(workers).where(workers.c.worker_id.in_(bindparam("worker_ids", expanding=True)))


def note_worker(tx: Transaction, worker_id: str, *, version: str | None, asked: Mapping[int, datetime]) -> bool:
    """Write down that the worker was heard of, and when it asked for tasks of which types; tell whether that was due.

    However many processes hear of a worker, one of them writes, and it at most every 30 s.
    """
    row = tx.one(_LAST_SEEN, {"worker": worker_id})
    if row is None:
        seen = {"worker_id": worker_id, "version": version, "first_seen_at": tx.now, "last_seen_at": tx.now}
        try:
            tx.execute(_MEET, seen)
        except IntegrityError:
            return False
    else:
        # Looked at first, because on SQLite an update waits for other writers even where it hits no row.
        before = tx.now - timedelta(seconds=SIGHTING_SECONDS)
        seen = {"worker": worker_id, "before": before, "at": tx.now, "told_version": version}
        if row["last_seen_at"] > before or not tx.changes(_SEE, seen):
            return False
    if asked:
        tx.execute(_ASK, [{"type_id": id_, "worker": worker_id, "at": at} for id_, at in sorted(asked.items())])
    return True


def remove_unseen_workers(tx: Transaction) -> int:
    """Forget one slice of the workers that were not heard of for seven days; return how many."""
    with tx.atomic():
        unseen = _UNSEEN.with_for_update(skip_locked=tx.skips_locked_rows)
        ids = [row["worker_id"] for row in tx.all(unseen, {"before": tx.now - KEPT})]
        if ids:
            tx.execute(_FORGET_TYPES, {"worker_ids": ids})
            tx.execute(_FORGET, {"worker_ids": ids})
        return len(ids)
