"""Idempotency-Key: a repeated request gets the first answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from app.errors import IdempotencyKeyReused
from app.storage.columns import Instant
from app.storage.database import Database, Row, Transaction
from app.storage.models import idempotency_keys

SLICE = 200

_FIND = select(idempotency_keys).where(
    idempotency_keys.c.api_key_id == bindparam("api_key_id"),
    idempotency_keys.c.idempotency_key == bindparam("idempotency_key"),
)
_INSERT = insert(idempotency_keys)
_OLD = (
    select(idempotency_keys.c.id)
    .where(idempotency_keys.c.created_at <= bindparam("before", type_=Instant))
    .order_by(idempotency_keys.c.created_at)
    .limit(SLICE)
)
_DELETE = delete(idempotency_keys).where(idempotency_keys.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class RepeatableRequest:
    """A request that names a key of its own: the same key again, the same answer again."""

    api_key_id: int
    idempotency_key: str
    request_hash: str


def answer_once(
    database: Database, request: RepeatableRequest, work: Callable[[Transaction], tuple[int, Any]]
) -> tuple[int, Any]:
    """Return the status and answer of `work`, which is done at most once for the request's key.

    The answer is written in the transaction of the work, so neither is there without the other. Raises
    IdempotencyKeyReused if the key came with a different request.
    """

    def find(tx: Transaction) -> tuple[int, Any] | None:
        found = tx.one(_FIND, _key(request))
        if found is None:
            return None
        if found["request_hash"] != request.request_hash:
            raise IdempotencyKeyReused
        return found["status"], found["answer"]

    def do(tx: Transaction) -> tuple[int, Any]:
        status, answer = work(tx)
        values = {**_key(request), "request_hash": request.request_hash, "status": status, "answer": answer}
        tx.execute(_INSERT, {**values, "created_at": tx.now})
        return status, answer

    earlier = database.read(find)
    if earlier is not None:
        return earlier
    try:
        return database.write(do)
    except IntegrityError:
        # Somebody else, or our own lost first run, has just answered the same key.
        earlier = database.read(find)
        if earlier is None:
            raise
        return earlier


def remove_old_answers(tx: Transaction, keep_seconds: int) -> int:
    """Remove one slice of the answers that were kept for their time; return how many."""
    ids = [row["id"] for row in tx.all(_OLD, {"before": tx.now - timedelta(seconds=keep_seconds)})]
    return tx.changes(_DELETE, {"ids": ids}) if ids else 0


def _key(request: RepeatableRequest) -> Row:
    return {"api_key_id": request.api_key_id, "idempotency_key": request.idempotency_key}
