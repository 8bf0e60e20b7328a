"""Follow: what the end of a task means to those that waited for it.

Whoever ends a task with followers sets its alarm to that very instant. So they are seen to even if the process dies in
between, and a task without followers pays nothing for that.
"""

from collections import defaultdict, deque
from datetime import timedelta

from sqlalchemy import bindparam, false, select, update

from app.lifecycle import FINISHED, FailureReason, TaskStatus
from app.queue.enter import COLUMNS, enter
from app.queue.finish import FINISH, finish_by_type
from app.queue.line import leave_line
from app.queue.task_types import find_type_by_id
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import dependencies, tasks

# How many dependents one transaction sees to; the alarm of the task stays until it has seen to all.
SLICE = 500
# A task costs as much as so many of its dependents, so that a long chain goes in slices too.
_PER_TASK = 20

_ids = tasks.c.id.in_(bindparam("task_ids", expanding=True))
_ENDED = (
    select(tasks.c.id, tasks.c.type_id, tasks.c.status, tasks.c.completed_at)
    .where(_ids, tasks.c.has_followers, tasks.c.status.in_([int(status) for status in FINISHED]))
    .order_by(tasks.c.id)
)
_EDGES = (
    select(dependencies.c.task_id, dependencies.c.on_failure)
    .where(dependencies.c.depends_on_id == bindparam("ended_id"), dependencies.c.is_met == false())
    .limit(bindparam("number"))
)
_DEPENDENTS = (
    select(*COLUMNS, tasks.c.has_followers)
    .where(_ids, tasks.c.status == int(TaskStatus.BLOCKED))
    .order_by(tasks.c.id)
    .with_for_update()
)
_MEET = (
    update(dependencies)
    .where(
        dependencies.c.depends_on_id == bindparam("ended_id"),
        dependencies.c.task_id.in_(bindparam("task_ids", expanding=True)),
    )
    .values(is_met=True)
)
# With locks, which see what others have committed since this transaction began.
_UNMET = (
    select(dependencies.c.task_id)
    .where(dependencies.c.task_id.in_(bindparam("task_ids", expanding=True)), dependencies.c.is_met == false())
    .with_for_update(read=True)
)
_GIVE_UP = (
    update(tasks)
    .where(_ids, tasks.c.status == int(TaskStatus.BLOCKED))
    .values(
        status=bindparam("next_status"), failure_reason=bindparam("reason"), error_message=bindparam("error"), **FINISH
    )
)
_SEEN_TO = (
    update(tasks)
    .where(tasks.c.id == bindparam("ended_id"), tasks.c.has_followers)
    .values(has_followers=False, due_at=bindparam("removed_at", type_=Instant))
)


def follow_up(tx: Transaction, task_ids: list[int]) -> int:
    """See to the followers of those of these tasks that have ended, at most one slice; return how many rows changed.

    Dependents become claimable, or fail or are cancelled with the task; these may have dependents in their turn. The
    next in the line of the task's concurrency key is admitted.
    """
    with tx.atomic():
        ended = deque(tx.all(_ENDED.with_for_update(skip_locked=tx.skips_locked_rows), {"task_ids": task_ids}))
        changed = len(ended)
        if ended:
            leave_line(tx, [task["id"] for task in ended])
        left = SLICE
        while ended and left > 0:
            task = ended.popleft()
            edges = tx.all(_EDGES, {"ended_id": task["id"], "number": left})
            if edges:
                gone = _see_to(tx, task, edges)
                ended.extend(tx.all(_ENDED.with_for_update(), {"task_ids": gone}) if gone else ())
            if len(edges) < left:
                retention = find_type_by_id(tx, task["type_id"]).policies.retention_seconds
                removed_at = task["completed_at"] + timedelta(seconds=retention)
                tx.execute(_SEEN_TO, {"ended_id": task["id"], "removed_at": removed_at})
            left -= len(edges) + _PER_TASK
            changed += len(edges)
        return changed


def _see_to(tx: Transaction, task: Row, edges: list[Row]) -> list[int]:
    """Tell the dependents behind these edges how `task` ended; return those that ended with it and have followers."""
    dependents = [edge["task_id"] for edge in edges]
    # Held before the edges are met: of two tasks that end at once, the second finds what the first has done.
    blocked = {row["id"]: row for row in tx.all(_DEPENDENTS, {"task_ids": dependents})}
    tx.execute(_MEET, {"ended_id": task["id"], "task_ids": dependents})
    doomed = defaultdict(list)
    if task["status"] != TaskStatus.COMPLETED:
        for edge in edges:
            if edge["on_failure"] != "run_anyway" and edge["task_id"] in blocked:
                doomed[edge["on_failure"]].append(blocked.pop(edge["task_id"]))
    if blocked:
        unmet = {row["task_id"] for row in tx.all(_UNMET, {"task_ids": list(blocked)})}
        enter(tx, [row for task_id, row in blocked.items() if task_id not in unmet])
    with_followers = []
    for on_failure, rows in doomed.items():
        _give_up(tx, task, on_failure, rows)
        with_followers += [row["id"] for row in rows if row["has_followers"]]
    return with_followers


def _give_up(tx: Transaction, ended: Row, on_failure: str, rows: list[Row]) -> None:
    happened = "has failed" if ended["status"] == TaskStatus.FAILED else "was cancelled"
    is_failure = on_failure == "fail"
    for finish in finish_by_type(tx, rows):
        tx.execute(
            _GIVE_UP,
            {
                "next_status": int(TaskStatus.FAILED if is_failure else TaskStatus.CANCELLED),
                "reason": FailureReason.DEPENDENCY_FAILED if is_failure else None,
                "error": f"Task {ended['id']}, which it waits for, {happened}",
                **finish,
            },
        )
