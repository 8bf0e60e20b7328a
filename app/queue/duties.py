"""Duties: who does now what only one process at a time does for all, and how the last round of it went."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import duties

HOUSEKEEPING = "housekeeping"
# Its hold is never taken: it keeps the rounds of what need not be done at once apart.
RARE = "rare"
HOLD = timedelta(seconds=10)

_of_name = duties.c.name == bindparam("duty")
_held_by = (_of_name, duties.c.holder == bindparam("by"))
_READ = select(duties).where(_of_name)
_TAKE = (
    update(duties)
    .where(
        _of_name,
        # Also our own: then the answer to a first run was lost.
        or_(
            duties.c.held_until.is_(None),
            duties.c.held_until <= bindparam("now", type_=Instant),
            duties.c.holder == bindparam("by"),
        ),
    )
    .values(
        holder=bindparam("by"),
        held_until=bindparam("until", type_=Instant),
        last_began_at=bindparam("now", type_=Instant),
    )
)
_EXTEND = update(duties).where(*_held_by).values(held_until=bindparam("until", type_=Instant))
_RELEASE = (
    update(duties)
    .where(*_held_by)
    .values(
        holder=None,
        held_until=None,
        last_ended_at=bindparam("now", type_=Instant),
        last_seconds=bindparam("seconds"),
        last_changed=bindparam("changed"),
    )
)
_REMEMBER_ERROR = (
    update(duties).where(_of_name).values(last_error=bindparam("error"), last_error_at=bindparam("now", type_=Instant))
)
_CLOSE_UNTIL = update(duties).where(_of_name).values(held_until=bindparam("until", type_=Instant))


def held_until(duty: str) -> Any:
    """Return the scalar subquery of the instant until which nobody else does the duty, or NULL."""
    return select(duties.c.held_until).where(duties.c.name == duty).scalar_subquery()


def read_duty(tx: Transaction, duty: str) -> Row:
    """Return the row of the duty; one that was never done has no values."""
    return tx.one(_READ, {"duty": duty}) or dict.fromkeys(duties.c.keys())


def take_duty(tx: Transaction, duty: str, holder: str) -> bool:
    """Become the holder of the duty for 10 s, and tell whether that succeeded: one at a time does.

    A holder that died is replaced when its hold has ended.
    """
    terms = {"duty": duty, "by": holder, "now": tx.now, "until": tx.now + HOLD}
    if tx.changes(_TAKE, terms):
        return True
    values = {"name": duty, "holder": holder, "held_until": tx.now + HOLD, "last_began_at": tx.now}
    return tx.one(_READ, {"duty": duty}) is None and _insert(tx, values)


def extend_hold(tx: Transaction, duty: str, holder: str) -> bool:
    """Hold the duty for 10 s from now, and tell whether it was still ours."""
    return bool(tx.changes(_EXTEND, {"duty": duty, "by": holder, "until": tx.now + HOLD}))


def release_duty(tx: Transaction, duty: str, holder: str, *, seconds: float, changed: int) -> bool:
    """Write down how the round went and let others do the next; tell whether the duty was still ours."""
    terms = {"duty": duty, "by": holder, "now": tx.now, "seconds": seconds, "changed": changed}
    return bool(tx.changes(_RELEASE, terms))


def remember_error(tx: Transaction, duty: str, error: str) -> None:
    """Write down the latest error of the duty, in words that are fit for an admin."""
    tx.execute(_REMEMBER_ERROR, {"duty": duty, "error": error, "now": tx.now})


def close_until(tx: Transaction, duty: str, until: datetime) -> None:
    """Let nobody do the duty before `until`."""
    if not tx.changes(_CLOSE_UNTIL, {"duty": duty, "until": until}):
        _insert(tx, {"name": duty, "held_until": until})


def _insert(tx: Transaction, values: dict[str, Any]) -> bool:
    try:
        tx.execute(insert(duties), values)
    except IntegrityError:
        # Somebody else does it for the first time too.
        return False
    return True
