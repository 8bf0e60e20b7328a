"""Leases: the token that proves a worker's right to a task, and who may still speak for one.

A token names the task type and the length of the lease beside its 128 random bits, and whether others wait for the
task, so that a heartbeat or a completion knows what to do without reading the task first: one guarded update is all.
A token that was tampered with is not the one in the row, so the update does not hit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import bindparam, select, update

from app.errors import ClaimedByAnother, LeaseLost, TaskCancelled, TaskNotClaimed
from app.lifecycle import FailureReason, TaskStatus
from app.storage.by_id import by_id
from app.storage.database import Row, Transaction
from app.storage.models import attempts

# A dead letter that died of these, and still has a token, was held by a worker to its end.
DIED_OF_TIME = (FailureReason.LEASE_EXPIRED, FailureReason.DEADLINE_PASSED)
# What tells a worker that somebody else has the task now.
TAKEN_OVER = (LeaseLost, ClaimedByAnother)
# How an unsuccessful attempt ended.
EXPIRED, FAILED, RELEASED = "expired", "failed", "released"
# The end of a token whose task had followers when it was claimed.
_FOLLOWED = "-f"

_OF_WORKER = (attempts.c.task_id == bindparam("task_id"), attempts.c.worker_id == bindparam("worker"))
_ATTEMPT_OF_TOKEN = select(attempts).where(*_OF_WORKER, attempts.c.lease_token == bindparam("token"))
_LATEST_ATTEMPT = select(attempts).where(*_OF_WORKER).order_by(attempts.c.id.desc()).limit(1)
_OF_TOKENS = select(attempts).where(
    attempts.c.task_id.in_(bindparam("task_ids", expanding=True)),
    attempts.c.worker_id == bindparam("worker"),
    attempts.c.lease_token.in_(bindparam("tokens", expanding=True)),
)
_KEEP_LATE = update(attempts).where(attempts.c.outcome == EXPIRED, attempts.c.late_report.is_(None))


@dataclass(frozen=True, slots=True)
class Lease:
    """What a lease token says."""

    type_id: int
    seconds: int
    # Whether others waited for the end of the task when it was claimed.
    has_followers: bool


def make_token(type_id: int, seconds: int, nonce: str, *, has_followers: bool = False) -> str:
    """Return the token for a claim of a task of this type, with a lease of so many seconds, from 128 random bits."""
    return f"{type_id}-{seconds}-{nonce}{_FOLLOWED if has_followers else ''}"


# A worker says the same token for the whole batch, and with each heartbeat.
@lru_cache(maxsize=1024)
def read_token(token: str | None) -> Lease | None:
    """Return what the token says, or None if there is none or it was not made here."""
    text = token or ""
    parts = text.removesuffix(_FOLLOWED).split("-")
    if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal() and text.isascii()):
        return None
    return Lease(int(parts[0][:18]), int(parts[1][:9]), text.endswith(_FOLLOWED))


def check_holder(task: Row, worker_id: str, token: str | None) -> None:
    """Raise unless this worker holds the claim of `task` now, however long its lease has run out.

    Raises TaskNotClaimed, TaskCancelled if it was this worker's, ClaimedByAnother, or LeaseLost for a token that is
    out of date.
    """
    if token is not None and task["lease_token"] != token:
        raise LeaseLost
    if task["status"] == TaskStatus.CANCELLED and task["claimed_by"] == worker_id:
        raise TaskCancelled
    if task["status"] != TaskStatus.CLAIMED:
        raise TaskNotClaimed
    if task["claimed_by"] != worker_id:
        raise ClaimedByAnother


def was_not_taken_over(task: Row, worker_id: str, token: str | None) -> bool:
    """Tell whether the worker's claim expired and nobody has claimed the task since: it may still be completed.

    Expiry alone leaves `claimed_by` and `lease_token` in a row that is not claimed.
    """
    if task["claimed_by"] != worker_id or (token is not None and task["lease_token"] != token):
        return False
    if task["status"] == TaskStatus.FAILED:
        return task["failure_reason"] in DIED_OF_TIME
    return task["status"] in (TaskStatus.PENDING, TaskStatus.BLOCKED)


def find_attempt(tx: Transaction, task_id: int, worker_id: str, token: str | None) -> Row | None:
    """Return the worker's unsuccessful attempt that had this token, or its latest if it names none."""
    if token is None:
        return tx.one(_LATEST_ATTEMPT, {"task_id": task_id, "worker": worker_id})
    if read_token(token) is None:
        return None
    return tx.one(_ATTEMPT_OF_TOKEN, {"task_id": task_id, "worker": worker_id, "token": token})


def find_attempts(
    tx: Transaction, worker_id: str, claims: Sequence[tuple[int, str | None]]
) -> dict[tuple[int, str | None], Row]:
    """Return, as `find_attempt` would, the attempts of many claims, each given as the task's id and the token."""
    named = [(task_id, token) for task_id, token in claims if read_token(token) is not None]
    found = {}
    if named:
        task_ids, tokens = (list(dict.fromkeys(part)) for part in zip(*named, strict=True))
        of_tokens = tx.all(_OF_TOKENS, {"task_ids": task_ids, "tokens": tokens, "worker": worker_id})
        found = {(attempt["task_id"], attempt["lease_token"]): attempt for attempt in of_tokens}
    for task_id, token in claims:
        if token is None and (latest := find_attempt(tx, task_id, worker_id, None)) is not None:
            found[task_id, None] = latest
    return found


def may_be_said_again(tx: Transaction, task: Row, token: str | None) -> bool:
    """Tell whether an attempt with this token may have been reported before, so that it is worth a look.

    With a token at any time; without one only when this very work is run again after a lost answer.
    """
    return tx.is_rerun if token is None else bool(task["lease_token"] != token)


def is_said_again(tx: Transaction, attempt: Row | None, token: str | None, outcome: str) -> bool:
    """Tell whether the attempt has already ended in this way."""
    if attempt is None or attempt["outcome"] != outcome:
        return False
    return token is not None or bool(attempt["ended_at"] == tx.now)


def was_said_before(tx: Transaction, task: Row, worker_id: str, token: str | None, outcome: str) -> bool:
    """Tell whether the worker's attempt has already ended in this way, so that it only says so again."""
    if not may_be_said_again(tx, task, token):
        return False
    return is_said_again(tx, find_attempt(tx, task["id"], worker_id, token), token, outcome)


def refuse_late_report(tx: Transaction, task: Row, worker_id: str, token: str | None, report: Row) -> None:
    """Return if the worker holds the claim of `task`; otherwise raise, and keep its report if its lease had ended."""
    try:
        check_holder(task, worker_id, token)
    except TAKEN_OVER:
        attempt = find_attempt(tx, task["id"], worker_id, token)
        if attempt is not None:
            keep_late_reports(tx, {attempt["id"]: report})
        raise


def keep_late_reports(tx: Transaction, reports: Mapping[int, Row]) -> None:
    """Keep what was reported on each of these attempts, by id, if it had expired and nothing was reported before."""
    statement = _KEEP_LATE.where(attempts.c.id.in_(list(reports)))
    tx.execute(statement.values(late_report=by_id(attempts.c.late_report, reports), late_report_at=tx.now))
