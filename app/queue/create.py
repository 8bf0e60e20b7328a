"""Create: put a task into the queue, once."""

from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from app.errors import QueueError, TryAgain
from app.queue.create_many import create_tasks
from app.queue.duplicates import Created, forget_hashes, meet_duplicate, stands_in_the_way
from app.queue.new_task import NewTask, checked_row
from app.queue.signals import refuse_while_draining
from app.queue.task_types import TaskType, find_type
from app.storage.database import Row, Transaction
from app.storage.models import task_types, tasks
from app.storage.prepared import Prepared

_COLUMNS = (
    "status",
    "priority",
    "claim_rank",
    "due_at",
    "params",
    "progress",
    "attempts",
    "max_attempts",
    "available_at",
    "deadline_at",
    "created_at",
    "updated_at",
    "dedupe_key",
    "dedupe_hash",
    "parent_task_id",
    "has_followers",
    "extras",
)
# The type's id is looked up together with the revision under which the task was checked; if that has changed, the id
# is NULL and the insert fails. Not INSERT … SELECT: that takes InnoDB's table-wide lock for ids.
_INSERT = Prepared(
    insert(tasks)
    .values(
        type_id=select(task_types.c.id)
        .where(task_types.c.id == bindparam("of_type"), task_types.c.revision == bindparam("revision"))
        .scalar_subquery(),
        **{name: bindparam(name, type_=tasks.c[name].type) for name in _COLUMNS},
    )
    .inline()
)
# A locking read sees what has been committed meanwhile, also inside a transaction with an older snapshot.
_EQUAL = select(tasks).where(tasks.c.dedupe_hash == bindparam("hash")).with_for_update(read=True)
_MAX_TRIES = 10


def create_task(tx: Transaction, new: NewTask) -> Created:
    """Create the task, or do with an equal one what the type's policies say.

    Raises QueueDraining, TaskTypeNotFound, TaskTypeInactive, InvalidParameters, in this order; InstantPassed for a
    deadline that leaves no time for a start; DependencyNotFound, DuplicateTask.
    """
    if not tx.is_rerun:
        # The first run was let in, and may have created the task.
        refuse_while_draining(tx)
    for try_ in range(_MAX_TRIES):
        task_type = find_type(tx, new.type_name, fresh=try_ > 0)
        row = checked_row(tx, task_type, new, unique_hash=tx.nonce * 2)
        if row["extras"] is not None or task_type.policies.key_order == "round_robin":
            (created,) = create_tasks(tx, [new])
            if isinstance(created, QueueError):
                raise created
            return created
        try:
            task_id = tx.insert(_INSERT, {**row, "of_type": task_type.id, "revision": task_type.revision})
        except IntegrityError:
            existing = _find_equal(tx, task_type, row["dedupe_hash"])
            if existing is None:
                # Either the cached type is out of date, or the equal task stands in the way no longer.
                continue
            if tx.is_rerun and existing["created_at"] == row["created_at"]:
                # After a lost answer: this very request created it.
                return Created({**existing, "type": task_type.name})
            return meet_duplicate(tx, task_type, existing, row, new.on_duplicate)
        return Created({"id": task_id, "type_id": task_type.id, "type": task_type.name, **row})
    raise TryAgain(retry_after_seconds=1)


def _find_equal(tx: Transaction, task_type: TaskType, hashed: str) -> Row | None:
    """Return the equal task that stands in the way of a new one, or free the hash and return None."""
    existing = tx.one(_EQUAL, {"hash": hashed})
    if existing is None or (tx.is_rerun and existing["created_at"] == tx.now):
        return existing
    if stands_in_the_way(tx, task_type, existing):
        return existing
    forget_hashes(tx, [existing["id"]])
    return None
