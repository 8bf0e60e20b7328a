"""Operations: changes of many tasks, begun here, done slice by slice by app/queue/operate.py; listed and cancelled."""

from dataclasses import asdict, dataclass
from datetime import timedelta

from sqlalchemy import bindparam, delete, func, insert, select, update

from app.errors import OperationEnded, OperationNotFound
from app.lifecycle import UNFINISHED, TaskStatus
from app.queue.audit import PROGRAM, Actor, write_audit
from app.queue.filters import TaskFilter
from app.queue.pages import cut_page
from app.queue.walk import Ground, Place, count_ground
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import operations, tasks

RUNNING, COMPLETED, CANCELLED, FAILED = STATUSES = ("running", "completed", "cancelled", "failed")
REQUEUE, PURGE, CANCEL, RERANK = KINDS = (
    *("requeue_dead_letters", "purge_dead_letters", "cancel_tasks"),
    "rerank_tasks",
)
KEPT = timedelta(days=30)
_REMOVAL_SLICE = 200

#: Since when there has been a slice to do, and the beginning of the oldest operation, which is removed first.
FIRST_RUNNING = (
    select(operations.c.created_at)
    .where(operations.c.status == RUNNING)
    .order_by(operations.c.id)
    .limit(1)
    .scalar_subquery()
)
FIRST_KEPT = (
    select(operations.c.created_at).where(operations.c.id > 0).order_by(operations.c.id).limit(1).scalar_subquery()
)

_LAST_TASK = select(func.coalesce(func.max(tasks.c.id), 0).label("id"))
_READ = select(operations).where(operations.c.id == bindparam("operation_id"))
_CANCEL = (
    update(operations)
    .where(operations.c.id == bindparam("operation_id"), operations.c.status == RUNNING)
    .values(
        status=CANCELLED,
        updated_at=bindparam("at", type_=Instant),
        ended_at=bindparam("at", type_=Instant),
    )
)
_OLD = (
    select(operations.c.id)
    .where(
        operations.c.status.in_((COMPLETED, CANCELLED, FAILED)),
        operations.c.ended_at < bindparam("before", type_=Instant),
    )
    .order_by(operations.c.id)
    .limit(_REMOVAL_SLICE)
)
_REMOVE = delete(operations).where(operations.c.id.in_(bindparam("ids", expanding=True)))
# Tasks move forwards through these, and may fall back from the last: so that is looked at first, and again at the end.
_UNFINISHED_ROUND = (TaskStatus.CLAIMED, *UNFINISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOperation:
    """What somebody asks for."""

    kind: str
    filter: TaskFilter
    actor: Actor = PROGRAM
    extra_attempts: int | None = None


def start_operation(tx: Transaction, new: NewOperation) -> Row:
    """Write the operation down and return it; it is done slice by slice, by whoever has the time."""
    last = tx.one(_LAST_TASK)
    options = {} if new.extra_attempts is None else {"extra_attempts": new.extra_attempts}
    values = {
        "kind": new.kind,
        "filter": new.filter.to_json(),
        "options": options,
        "status": RUNNING,
        "up_to_task_id": 0 if last is None else last["id"],
        "examined": 0,
        "changed": 0,
        "error_message": None,
        "created_by": new.actor.name,
        "created_at": tx.now,
        "updated_at": tx.now,
        "ended_at": None,
    }
    values["position"] = {
        "place": asdict(Place()),
        # Tasks that somebody else held when their slice came: to be looked at again.
        "left": [],
        "changed_in_round": 0,
        "total": count_ground(tx, ground_of(values)),
    }
    operation_id = tx.insert(insert(operations), values)
    details = {"filter": values["filter"], **options}
    if new.kind != RERANK:  # The change of the type that asks for it is written down already.
        write_audit(tx, new.actor, new.kind, f"operations/{operation_id}", details)
    return {"id": operation_id, **values}


def ground_of(operation: Row) -> Ground:
    """Return what the operation walks over: the tasks that were there, and as they were, when it began."""
    which = TaskFilter.from_json(operation["filter"])
    up_to_id = operation["up_to_task_id"]
    if operation["kind"] == RERANK:
        unfinished = tuple(int(status) for status in _UNFINISHED_ROUND)
        return Ground(filter=which, statuses=unfinished, up_to_id=up_to_id, is_walked_once=True)
    if operation["kind"] != CANCEL:
        # What fails later comes later in the index, so that a task that is requeued and fails again is left alone.
        failed = (int(TaskStatus.FAILED),)
        return Ground(filter=which, statuses=failed, up_to_id=up_to_id, last_end=operation["created_at"])
    words = which.statuses
    wanted = tuple(int(status) for status in _UNFINISHED_ROUND if words is None or status.word in words)
    return Ground(filter=which, statuses=wanted, up_to_id=up_to_id)


def read_operation(tx: Transaction, operation_id: int) -> Row:
    """Return an operation; raises OperationNotFound."""
    row = tx.one(_READ, {"operation_id": operation_id})
    if row is None:
        raise OperationNotFound
    return row


def list_operations(
    tx: Transaction, *, limit: int, below_id: int | None = None, status: str | None = None
) -> tuple[list[Row], int | None]:
    """Return a page of operations, newest first, and the id below which the next one begins."""
    statement = select(operations).order_by(operations.c.id.desc()).limit(limit + 1)
    if below_id is not None:
        statement = statement.where(operations.c.id < below_id)
    if status is not None:
        statement = statement.where(operations.c.status == status)
    return cut_page(tx.all(statement), limit)


def cancel_operation(tx: Transaction, operation_id: int, actor: Actor = PROGRAM) -> Row:
    """Stop the operation before its next slice and return it; a cancelled one stays as it is.

    What it has done stays done. Raises OperationNotFound or OperationEnded.
    """
    if tx.changes(_CANCEL, {"operation_id": operation_id, "at": tx.now}):
        write_audit(tx, actor, "cancel_operation", f"operations/{operation_id}", {})
    operation = read_operation(tx, operation_id)
    if operation["status"] != CANCELLED:
        raise OperationEnded
    return operation


def remove_old_operations(tx: Transaction) -> int:
    """Remove one slice of the operations that ended 30 days ago; return how many."""
    ids = [row["id"] for row in tx.all(_OLD, {"before": tx.now - KEPT})]
    return tx.changes(_REMOVE, {"ids": ids}) if ids else 0
