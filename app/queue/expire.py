"""Expire: leases that ran out, and tasks that nobody started in time."""

from collections import defaultdict

from sqlalchemy import bindparam, select, update

from app.lifecycle import FailureReason, TaskStatus
from app.queue.attempts import add_attempts
from app.queue.enter import COLUMNS, enter
from app.queue.finish import FINISH, finish_by_type
from app.queue.leases import EXPIRED
from app.queue.retry_policy import is_out_of_time, retries_end
from app.queue.task_types import find_type_by_id
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import tasks

LEASE_ENDED = "The lease ended without a heartbeat or a result"
_NOT_STARTED = "Nobody started the task in time"
_NOT_RETRIED = "Nobody started another attempt in time"

_ids = tasks.c.id.in_(bindparam("task_ids", expanding=True))
_overdue = tasks.c.due_at <= bindparam("now", type_=Instant)
_HELD = select(
    *COLUMNS,
    tasks.c.max_attempts,
    tasks.c.has_followers,
    tasks.c.claimed_by,
    tasks.c.claimed_at,
    tasks.c.lease_token,
).where(_ids, _overdue, tasks.c.status == int(TaskStatus.CLAIMED))
_WAITING = select(
    tasks.c.id, tasks.c.type_id, tasks.c.deadline_at, tasks.c.first_claimed_at, tasks.c.lease_token
).where(_ids, _overdue, tasks.c.status.in_([int(TaskStatus.PENDING), int(TaskStatus.BLOCKED)]))
# `claimed_by` and `lease_token` stay: until somebody else claims the task, its worker may still complete it.
_PUT_BACK = (
    update(tasks)
    .where(_ids)
    .values(
        status=int(TaskStatus.PENDING),
        due_at=tasks.c.deadline_at,
        attempt_ends_at=None,
        error_message=LEASE_ENDED,
        updated_at=bindparam("at", type_=Instant),
    )
)
_GIVE_UP = (
    update(tasks)
    .where(_ids)
    .values(
        status=int(TaskStatus.FAILED), failure_reason=bindparam("reason"), error_message=bindparam("error"), **FINISH
    )
)


def expire_leases(tx: Transaction, task_ids: list[int]) -> int:
    """End the attempts of these claimed tasks whose lease has run out, and return how many there were.

    A task with attempts left is claimable again at once: it has waited for a whole lease already.
    """
    with tx.atomic():
        expired = tx.all(_HELD.with_for_update(skip_locked=tx.skips_locked_rows), {"task_ids": task_ids, "now": tx.now})
        if not expired:
            return 0
        put_back = []
        dead: dict[str, list[Row]] = defaultdict(list)
        for task in expired:
            if task["deadline_at"] is not None and task["deadline_at"] <= tx.now:
                dead[FailureReason.DEADLINE_PASSED].append(task)
            elif task["attempts"] >= task["max_attempts"] or _is_out_of_time(tx, task):
                dead[FailureReason.LEASE_EXPIRED].append(task)
            else:
                put_back.append(task)
        add_attempts(tx, expired, EXPIRED, LEASE_ENDED)
        if put_back:
            tx.execute(_PUT_BACK, {"task_ids": [task["id"] for task in put_back], "at": tx.now})
            enter(tx, [task for task in put_back if task["has_followers"] or _has_end(tx, task)])
        for reason, of_reason in dead.items():
            _give_up(tx, of_reason, reason, LEASE_ENDED)
        return len(expired)


def _has_end(tx: Transaction, task: Row) -> bool:
    return retries_end(find_type_by_id(tx, task["type_id"]).policies, task["first_claimed_at"]) is not None


def _is_out_of_time(tx: Transaction, task: Row) -> bool:
    return is_out_of_time(find_type_by_id(tx, task["type_id"]).policies, task["first_claimed_at"], tx.now)


def expire_waiting(tx: Transaction, task_ids: list[int]) -> int:
    """Fail these waiting tasks that nobody started in time, and return how many there were."""
    with tx.atomic():
        overdue = tx.all(
            _WAITING.with_for_update(skip_locked=tx.skips_locked_rows), {"task_ids": task_ids, "now": tx.now}
        )
        dead: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for task in overdue:
            has_missed_deadline = task["deadline_at"] is not None and task["deadline_at"] <= tx.now
            if has_missed_deadline or not _is_out_of_time(tx, task):
                dead[FailureReason.DEADLINE_PASSED, _NOT_STARTED].append(task)
            elif task["lease_token"] is None:
                dead[FailureReason.ATTEMPTS_EXHAUSTED, _NOT_RETRIED].append(task)
            else:
                # The worker of its last attempt may still complete it.
                dead[FailureReason.LEASE_EXPIRED, _NOT_RETRIED].append(task)
        for (reason, error), of_reason in dead.items():
            _give_up(tx, of_reason, reason, error)
        return len(overdue)


def _give_up(tx: Transaction, dead: list[Row], reason: str, error: str) -> None:
    for finish in finish_by_type(tx, dead):
        tx.execute(_GIVE_UP, {"reason": reason, "error": error, **finish})
