"""Remove: finished tasks leave the table when the retention time of their type is over."""

from sqlalchemy import bindparam, delete, false, select, update

from app.lifecycle import FINISHED
from app.queue.usage import LAG, count_usage, read_watermark
from app.storage.columns import Instant
from app.storage.database import Transaction
from app.storage.models import attempts, task_logs, tasks, workflow_tasks, workflows

# What hangs on tasks is removed in slices of so many rows, before the tasks themselves.
DETAILS_SLICE = 2000

_ids = tasks.c.id.in_(bindparam("task_ids", expanding=True))
_REMOVABLE = select(tasks.c.id).where(
    _ids,
    tasks.c.status.in_([int(status) for status in FINISHED]),
    tasks.c.due_at <= bindparam("now", type_=Instant),
    # A task that is requeued waits for what has failed to be requeued too, and hears of its removal from follow.py.
    tasks.c.has_followers == false(),
)
# All that hangs on them goes with them.
_DELETE = delete(tasks).where(_ids)
_DETAILS = tuple(
    (
        select(table.c.id).where(table.c.task_id.in_(bindparam("task_ids", expanding=True))).limit(DETAILS_SLICE),
        delete(table).where(table.c.id.in_(bindparam("ids", expanding=True))),
    )
    for table in (task_logs, attempts)
)
_WORKFLOWS = (
    select(workflow_tasks.c.workflow_id)
    .where(workflow_tasks.c.task_id.in_(bindparam("task_ids", expanding=True)))
    .distinct()
)
_of_workflows = workflows.c.id.in_(bindparam("workflow_ids", expanding=True))
_LOCK_WORKFLOWS = select(workflows.c.id).where(_of_workflows).order_by(workflows.c.id).with_for_update()
_DELETE_EMPTY = delete(workflows).where(
    _of_workflows, ~select(workflow_tasks.c.task_id).where(workflow_tasks.c.workflow_id == workflows.c.id).exists()
)
_PUT_OFF = update(tasks).where(_ids).values(due_at=bindparam("later", type_=Instant))


def remove_tasks(tx: Transaction, task_ids: list[int]) -> int:
    """Remove these finished tasks and all that hangs on them, in slices; return how many rows were changed.

    A workflow goes with the last of its tasks. A task that has not been counted into its type's usage yet is put off,
    out of the way of what else is due.
    """
    watermark = read_watermark(tx)
    if any(task_id > watermark for task_id in task_ids):
        count_usage(tx)
        watermark = read_watermark(tx)
    with tx.atomic():
        locking = _REMOVABLE.with_for_update(skip_locked=tx.skips_locked_rows)
        due = [row["id"] for row in tx.all(locking, {"task_ids": task_ids, "now": tx.now})]
        counted = [task_id for task_id in due if task_id <= watermark]
        uncounted = [task_id for task_id in due if task_id > watermark]
        if counted and (removed := _remove_details(tx, counted)):
            return removed
        if counted:
            of_workflows = [row["workflow_id"] for row in tx.all(_WORKFLOWS, {"task_ids": counted})]
            if of_workflows:
                # Held, so that of two that remove the last tasks one finds the workflow empty.
                tx.all(_LOCK_WORKFLOWS, {"workflow_ids": of_workflows})
            tx.execute(_DELETE, {"task_ids": counted})
            if of_workflows:
                tx.execute(_DELETE_EMPTY, {"workflow_ids": of_workflows})
        if uncounted:
            tx.execute(_PUT_OFF, {"task_ids": uncounted, "later": tx.now + LAG})
        return len(due)


def _remove_details(tx: Transaction, task_ids: list[int]) -> int:
    """Remove one slice of the log lines or attempts of these tasks, unless there is less than a slice of each.

    A task may have a thousand of them, and to remove a slice of tasks with all of these would take seconds.
    """
    for find, remove in _DETAILS:
        ids = [row["id"] for row in tx.all(find, {"task_ids": task_ids})]
        if len(ids) == DETAILS_SLICE:
            return tx.changes(remove, {"ids": ids})
    return 0
