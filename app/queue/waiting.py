"""Waiting: how many requests may wait for the end of a task at the same time, over all processes and hosts.

A slot is a lease on a row of `duties`, so that the slot of a process that dies comes free by itself.
"""

from datetime import timedelta

from sqlalchemy import bindparam, insert, null, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.lifecycle import FINISHED
from app.storage.columns import Instant
from app.storage.database import Transaction
from app.storage.models import duties, tasks

PREFIX = "wait:"
# Beyond the time that a request means to wait: its last looks at the task may take a moment longer.
_GRACE = timedelta(seconds=5)

_STATUS = select(tasks.c.status).where(tasks.c.id == bindparam("task_id"))
_SLOTS = select(duties.c.name, duties.c.holder, duties.c.held_until).where(
    duties.c.name.in_(bindparam("names", expanding=True))
)
_TAKE = (
    update(duties)
    .where(
        duties.c.name == bindparam("slot"),
        or_(duties.c.held_until.is_(None), duties.c.held_until <= bindparam("now", type_=Instant)),
    )
    .values(holder=bindparam("by"), held_until=bindparam("until", type_=Instant))
)
_ADD = insert(duties)
_GIVE_BACK = (
    update(duties)
    .where(duties.c.name == bindparam("slot"), duties.c.holder == bindparam("by"))
    .values(holder=null(), held_until=null())
)


def may_still_end(tx: Transaction, task_id: int) -> bool:
    """Tell whether the task is there and not finished."""
    task = tx.one(_STATUS, {"task_id": task_id})
    return task is not None and task["status"] not in FINISHED


def take_slot(tx: Transaction, *, slots: int, seconds: float) -> tuple[str, str] | None:
    """Take one of so many slots for so many seconds; return its name and the proof of it, or None if all are taken."""
    names = [f"{PREFIX}{number}" for number in range(1, slots + 1)]
    known = {row["name"]: row for row in tx.all(_SLOTS, {"names": names})}
    until = tx.now + timedelta(seconds=seconds) + _GRACE
    for name in names:
        slot = known.get(name)
        if slot is None:
            try:
                tx.execute(_ADD, {"name": name, "holder": tx.nonce, "held_until": until})
            except IntegrityError:
                # Somebody else has added it in this moment.
                continue
            return name, tx.nonce
        # After a lost answer, it may be this very request that has it.
        if slot["holder"] == tx.nonce:
            return name, tx.nonce
        if slot["held_until"] is None or slot["held_until"] <= tx.now:
            if tx.changes(_TAKE, {"slot": name, "now": tx.now, "by": tx.nonce, "until": until}):
                return name, tx.nonce
    return None


def give_slot_back(tx: Transaction, name: str, proof: str) -> None:
    """Let another request have the slot; one that has taken it since keeps it."""
    tx.execute(_GIVE_BACK, {"slot": name, "by": proof})
