"""Operate: do one slice of an operation, in one short transaction that no two processes do at once."""

import logging
from collections.abc import Callable
from dataclasses import asdict

from sqlalchemy import bindparam, select, update

from app.errors import QueueError
from app.lifecycle import UNFINISHED, TaskStatus
from app.queue.finish import FINISH, finish_by_type
from app.queue.operations import CANCEL, COMPLETED, FAILED, PURGE, REQUEUE, RERANK, RUNNING, ground_of
from app.queue.remove import remove_tasks
from app.queue.requeue import COLUMNS, requeue_tasks
from app.queue.rerank import rerank_tasks
from app.queue.walk import SLICE, Ground, Place, walk_on
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.hints import BY_PRIMARY_KEY
from app.storage.models import operations, tasks

log = logging.getLogger("taskmanager.operations")

# How many operations are tried when those before them wait for what others hold.
_MAX_TRIED = 20
_UNKNOWN_ERROR = "Something went wrong in the server; the operator finds it in the log."

_RUNNING = select(operations.c.id).where(operations.c.status == RUNNING).order_by(operations.c.id).limit(_MAX_TRIED)
_ONE = select(operations).where(operations.c.id == bindparam("operation_id"), operations.c.status == RUNNING)
_MOVE_ON = (
    update(operations)
    .where(operations.c.id == bindparam("operation_id"), operations.c.status == RUNNING)
    .values(
        status=bindparam("next_status"),
        position=bindparam("next_position", type_=operations.c.position.type),
        examined=operations.c.examined + bindparam("more_examined"),
        changed=operations.c.changed + bindparam("more_changed"),
        updated_at=bindparam("at", type_=Instant),
        ended_at=bindparam("ends", type_=Instant),
    )
)
_GIVE_UP = (
    update(operations)
    .where(operations.c.id == bindparam("operation_id"), operations.c.status == RUNNING)
    .values(
        status=FAILED,
        error_message=bindparam("error"),
        updated_at=bindparam("at", type_=Instant),
        ended_at=bindparam("at", type_=Instant),
    )
)
_ids = tasks.c.id.in_(bindparam("task_ids", expanding=True))
_RING_NOW = (
    update(tasks)
    .with_hint(BY_PRIMARY_KEY, dialect_name="mysql")
    .where(_ids)
    .values(due_at=bindparam("at", type_=Instant))
)
_CANCEL_TASKS = (
    update(tasks)
    .with_hint(BY_PRIMARY_KEY, dialect_name="mysql")
    .where(_ids, tasks.c.status.in_([int(status) for status in UNFINISHED]))
    .values(status=int(TaskStatus.CANCELLED), **FINISH)
)


def run_operations(tx: Transaction) -> int:
    """Do one slice of the oldest operation that is running; return how many tasks were examined, 0 for nothing to do.

    An operation that cannot go on is marked as failed, and does not stop the others.
    """
    for row in tx.all(_RUNNING):
        if examined := run_operation(tx, row["id"]):
            return examined
    return 0


def run_operation(tx: Transaction, operation_id: int) -> int:
    """Do one slice of this operation; return as `run_operations`."""
    try:
        with tx.atomic():
            return _do_slice(tx, operation_id)
    except Exception as error:
        if tx.may_succeed_later(error):
            raise
        _give_up(tx, operation_id, error)
    return 1


def _give_up(tx: Transaction, operation_id: int, error: Exception) -> None:
    log.error("operation %d failed", operation_id, exc_info=error)
    message = error.shown_sentence if isinstance(error, QueueError) else _UNKNOWN_ERROR
    tx.execute(_GIVE_UP, {"operation_id": operation_id, "error": message, "at": tx.now})


def _do_slice(tx: Transaction, operation_id: int) -> int:
    # Whoever holds the operation's row does its slice; nobody waits for that, there is other work.
    locking = _ONE.with_for_update(skip_locked=tx.skips_locked_rows)
    operation = tx.lock(locking, {"operation_id": operation_id})
    if operation is None:
        return 0
    ground = ground_of(operation)
    position = operation["position"]
    left: list[int] = position["left"]
    place = Place(**position["place"]) if position["place"] is not None else None
    examined = 0
    if place is None or len(left) >= SLICE:
        ids, left = left[:SLICE], left[SLICE:]
    else:
        ids, place = walk_on(tx, ground, place)
        examined = len(ids)
    changed, held = _change(tx, operation, ground, ids)
    left = left + held
    in_round = position["changed_in_round"] + changed
    is_over = place is None and not left
    if is_over and ground.may_miss and in_round:
        # What moved from status to status meanwhile may have passed unseen: until a round finds nothing more.
        place, in_round, is_over = Place(), 0, False
    next_position = {
        **position,
        "place": None if place is None else asdict(place),
        "left": left,
        "changed_in_round": in_round,
    }
    if not (examined or changed or is_over or next_position != position):
        # It waits for what somebody else holds.
        return 0
    moved = {
        "next_status": COMPLETED if is_over else RUNNING,
        "next_position": next_position,
        "more_examined": examined,
        "more_changed": changed,
        "at": tx.now,
        "ends": tx.now if is_over else None,
    }
    tx.execute(_MOVE_ON, {"operation_id": operation_id, **moved})
    return max(examined + changed, int(is_over or next_position["place"] != position["place"]))


def _change(tx: Transaction, operation: Row, ground: Ground, task_ids: list[int]) -> tuple[int, list[int]]:
    """Change those of the tasks that the operation means; return how many, and those that somebody else holds."""
    if not task_ids:
        return 0, []
    meant = select(*COLUMNS).where(_ids, *ground.conditions(tx)).with_hint(tasks, BY_PRIMARY_KEY, "mysql")
    parameters = {"task_ids": task_ids}
    # Only what is meant gets locked: a locking read also locks what it looks at and does not return.
    meant_ids = [row["id"] for row in tx.all(meant, parameters)]
    if not meant_ids:
        return 0, []
    locking = meant.with_for_update(skip_locked=tx.skips_locked_rows)
    rows = tx.all(locking, {"task_ids": meant_ids})
    changed = _VERBS[operation["kind"]](tx, operation, rows) if rows else []
    return len(changed), sorted(set(meant_ids) - set(changed))


def _requeue(tx: Transaction, operation: Row, rows: list[Row]) -> list[int]:
    requeue_tasks(tx, rows, extra_attempts=operation["options"].get("extra_attempts"))
    return [row["id"] for row in rows]


def _purge(tx: Transaction, operation: Row, rows: list[Row]) -> list[int]:
    tx.execute(_RING_NOW, {"task_ids": [row["id"] for row in rows], "at": tx.now})
    # What has followers stays until housekeeping, which has just been called, has seen to these.
    free = [row["id"] for row in rows if not row["has_followers"]]
    if free:
        remove_tasks(tx, free)
    return free


def _cancel(tx: Transaction, operation: Row, rows: list[Row]) -> list[int]:
    for finish in finish_by_type(tx, rows):
        tx.execute(_CANCEL_TASKS, finish)
    return [row["id"] for row in rows]


def _rerank(tx: Transaction, operation: Row, rows: list[Row]) -> list[int]:
    # Changed by another process, the type may be kept here as it was.
    tx.cache.clear()
    rerank_tasks(tx, rows)
    return [row["id"] for row in rows]


_VERBS: dict[str, Callable[[Transaction, Row, list[Row]], list[int]]] = {
    REQUEUE: _requeue,
    PURGE: _purge,
    CANCEL: _cancel,
    RERANK: _rerank,
}
