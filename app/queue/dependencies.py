"""Dependencies: which task waits for the end of which, and what the finished ones hand on."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, func, insert, select, update

from app.errors import DependencyNotFound
from app.lifecycle import FINISHED, TaskStatus
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import dependencies, tasks, workflow_tasks

# What becomes of a task when one that it waits for has failed or was cancelled.
ON_FAILURE = ("fail", "cancel", "run_anyway")
_MAX_RESULT_CHARACTERS = 4 * 1024 * 1024
_CHUNK = 1000

_LOCK = (
    select(tasks.c.id, tasks.c.status)
    .where(tasks.c.id.in_(bindparam("task_ids", expanding=True)))
    .order_by(tasks.c.id)
    .with_for_update()
)
_SET_FOLLOWED = (
    update(tasks)
    .where(tasks.c.id.in_(bindparam("task_ids", expanding=True)), tasks.c.has_followers.is_(False))
    .values(has_followers=True, updated_at=bindparam("at", type_=Instant))
)
_INSERT = insert(dependencies)
_RESULTS = (
    select(
        dependencies.c.task_id.label("of_task"),
        tasks.c.id,
        tasks.c.status,
        workflow_tasks.c.name,
        func.coalesce(func.length(tasks.c.result), 0).label("size"),
    )
    .select_from(
        dependencies.join(tasks, tasks.c.id == dependencies.c.depends_on_id).outerjoin(
            workflow_tasks, workflow_tasks.c.task_id == tasks.c.id
        )
    )
    .where(dependencies.c.task_id.in_(bindparam("task_ids", expanding=True)))
    .order_by(dependencies.c.task_id, dependencies.c.depends_on_id)
)
_CONTENTS = select(tasks.c.id, tasks.c.result).where(tasks.c.id.in_(bindparam("task_ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class Prerequisites:
    """The tasks that others are to wait for, held by the transaction, with their statuses."""

    statuses: dict[int, TaskStatus]

    def state_of(self, depends_on: Iterable[int], on_failure: str) -> TaskStatus | None:
        """Return BLOCKED while one is unfinished; FAILED or CANCELLED where one has failed; None if all are done."""
        statuses = [self.statuses[task_id] for task_id in depends_on]
        has_failed = any(status in (TaskStatus.FAILED, TaskStatus.CANCELLED) for status in statuses)
        if has_failed and on_failure != "run_anyway":
            return TaskStatus.FAILED if on_failure == "fail" else TaskStatus.CANCELLED
        return None if all(status in FINISHED for status in statuses) else TaskStatus.BLOCKED

    def missing(self, depends_on: Iterable[int]) -> list[int]:
        """Return those that do not exist."""
        return sorted({task_id for task_id in depends_on if task_id not in self.statuses})


def lock_prerequisites(tx: Transaction, task_ids: Iterable[int]) -> Prerequisites:
    """Hold these tasks until the end of the transaction, so that none of them ends unnoticed."""
    ordered = sorted(set(task_ids))
    statuses = {}
    for start in range(0, len(ordered), _CHUNK):
        for row in tx.all(_LOCK, {"task_ids": ordered[start : start + _CHUNK]}):
            statuses[row["id"]] = TaskStatus(row["status"])
    return Prerequisites(statuses)


def refuse_missing(prerequisites: Prerequisites, depends_on: Iterable[int]) -> None:
    """Raise DependencyNotFound, with every id that is no task."""
    missing = prerequisites.missing(depends_on)
    if missing:
        raise DependencyNotFound(
            details=[{"field": "depends_on", "problem": f"There is no task {task_id}."} for task_id in missing[:50]]
        )


def add_edges(tx: Transaction, edges: list[Row], unfinished: Iterable[int]) -> None:
    """Write down who waits for whom, and that the unfinished ones among these are waited for."""
    for start in range(0, len(edges), _CHUNK):
        tx.execute(_INSERT, edges[start : start + _CHUNK])
    followed = sorted(set(unfinished))
    for start in range(0, len(followed), _CHUNK):
        tx.execute(_SET_FOLLOWED, {"task_ids": followed[start : start + _CHUNK], "at": tx.now})


def attach_results(tx: Transaction, claimed: list[Row]) -> list[Row]:
    """Return the tasks with `dependencies`: id, name in the workflow, status and result of what each waited for.

    Costs a statement only if one of them has waited. A result that would bring all of them above 4 Mi characters is
    left out, and `is_omitted`.
    """
    waited = [task["id"] for task in claimed if (task["extras"] or {}).get("depends_on")]
    found = tx.all(_RESULTS, {"task_ids": waited}) if waited else []
    total = 0
    wanted = []
    for row in found:
        total += row["size"]
        row["is_omitted"] = total > _MAX_RESULT_CHARACTERS
        if not row["is_omitted"]:
            wanted.append(row["id"])
    contents = {}
    for start in range(0, len(wanted), _CHUNK):
        rows = tx.all(_CONTENTS, {"task_ids": wanted[start : start + _CHUNK]})
        contents.update({row["id"]: row["result"] for row in rows})
    results = defaultdict(list)
    for row in found:
        results[row["of_task"]].append({**row, "result": contents.get(row["id"])})
    return [{**task, "dependencies": results[task["id"]]} for task in claimed]
