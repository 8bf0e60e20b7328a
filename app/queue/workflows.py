"""Workflows: tasks that are created together and wait for each other, by names of their own."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, case, func, insert, literal, select, update

from app.errors import BatchRefused, CyclicWorkflow, Detail, InvalidWorkflow, QueueError, WorkflowNotFound
from app.lifecycle import FINISHED, TaskStatus
from app.queue.create_many import create_tasks, unique_hash
from app.queue.new_task import NewTask
from app.queue.pages import cut_page
from app.queue.task_types import find_type_by_id
from app.storage.columns import to_json
from app.storage.database import Row, Transaction
from app.storage.models import dependencies, tasks, workflow_tasks, workflows

MAX_NODES = 10_000
_CHUNK = 500
_MAX_DETAILS = 50

_BY_ID = select(workflows).where(workflows.c.id == bindparam("workflow_id"))
_BY_HASH = select(tasks.c.extras).where(tasks.c.dedupe_hash == bindparam("hash"))
_LIST = select(workflows).order_by(workflows.c.id.desc()).limit(bindparam("number"))
_COUNTS = (
    select(tasks.c.status, func.count().label("number"))
    .select_from(workflow_tasks.join(tasks, tasks.c.id == workflow_tasks.c.task_id))
    .where(workflow_tasks.c.workflow_id == bindparam("workflow_id"))
    .group_by(tasks.c.status)
)
_MEMBERS = (
    select(
        workflow_tasks.c.name,
        *(
            tasks.c[name]
            for name in ("id", "type_id", "status", "progress", "attempts", "error_message", "failure_reason")
        ),
        *(tasks.c[name] for name in ("claimed_by", "available_at", "completed_at")),
    )
    .select_from(workflow_tasks.join(tasks, tasks.c.id == workflow_tasks.c.task_id))
    .where(workflow_tasks.c.workflow_id == bindparam("workflow_id"), workflow_tasks.c.task_id > bindparam("after_id"))
    .order_by(workflow_tasks.c.task_id)
    .limit(bindparam("number"))
)
_NAMES = (
    select(dependencies.c.task_id, workflow_tasks.c.name)
    .select_from(dependencies.join(workflow_tasks, workflow_tasks.c.task_id == dependencies.c.depends_on_id))
    .where(dependencies.c.task_id.in_(bindparam("task_ids", expanding=True)))
    .order_by(dependencies.c.task_id, dependencies.c.depends_on_id)
)


@dataclass(frozen=True, slots=True)
class Node:
    """One task of a new workflow, and the names of those that it waits for."""

    name: str
    task: NewTask
    depends_on: Sequence[str]


def create_workflow(tx: Transaction, name: str | None, nodes: Sequence[Node]) -> tuple[Row, dict[str, int]]:
    """Create all tasks of a workflow or none; return its row and the ids of its tasks by name.

    They are tasks of their own, whatever equals them. Raises InvalidWorkflow, CyclicWorkflow, or BatchRefused with
    the faults of each task.
    """
    check_graph(nodes)
    if tx.is_rerun and (own := _find_own(tx)) is not None:
        return own
    followed = {prerequisite for node in nodes for prerequisite in node.depends_on}
    with tx.undoable():
        workflow_id = tx.insert(insert(workflows), {"name": name, "created_at": tx.now})
        news = [
            replace(
                node.task,
                is_unique=True,
                is_followed=node.name in followed,
                is_held=bool(node.depends_on),
                extras={"workflow_id": workflow_id},
            )
            for node in nodes
        ]
        try:
            created = create_tasks(tx, news, atomic=True)
        except BatchRefused as error:
            raise BatchRefused(details=_by_name(nodes, error.details)) from None
        ids = {}
        for node, outcome in zip(nodes, created, strict=True):
            assert not isinstance(outcome, QueueError)
            ids[node.name] = outcome.task["id"]
        _insert_members(tx, workflow_id, ids)
        _insert_edges(tx, nodes, ids, {outcome.task["id"]: outcome.task["extras"] for outcome in created})  # type: ignore[union-attr]
    return {"id": workflow_id, "name": name, "created_at": tx.now}, ids


def _find_own(tx: Transaction) -> tuple[Row, dict[str, int]] | None:
    """Return the workflow that this very work created before the answer of the database was lost."""
    first = tx.one(_BY_HASH, {"hash": unique_hash(tx, 0)})
    if first is None:
        return None
    workflow, _counts = read_workflow(tx, first["extras"]["workflow_id"])
    members = tx.all(_MEMBERS, {"workflow_id": workflow["id"], "after_id": 0, "number": MAX_NODES})
    return workflow, {member["name"]: member["id"] for member in members}


def check_graph(nodes: Sequence[Node]) -> None:
    """Raise InvalidWorkflow for names that are unknown or used twice, CyclicWorkflow for a cycle, which it names."""
    faults: list[Detail] = []
    places: dict[str, int] = {}
    for place, node in enumerate(nodes):
        if node.name in places:
            faults.append({"field": f"tasks.{place}.name", "problem": f"`{node.name}` is the name of another task."})
        places.setdefault(node.name, place)
    for place, node in enumerate(nodes):
        faults += [
            {"field": f"tasks.{place}.depends_on", "problem": f"There is no task named `{name}` in the workflow."}
            for name in node.depends_on
            if name not in places
        ]
    if faults:
        raise InvalidWorkflow(details=faults[:_MAX_DETAILS])
    cycle = find_cycle({node.name: node.depends_on for node in nodes})
    if cycle is not None:
        path = " -> ".join([*cycle, cycle[0]])
        problem = f"These wait for each other: {path[:1000]}."
        raise CyclicWorkflow(problem, details=[{"field": "tasks", "problem": problem}])


def find_cycle(graph: dict[str, Sequence[str]]) -> list[str] | None:
    """Return the names along a cycle, each waiting for the next, or None. Without recursion, since chains are long."""
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        on_path: set[str] = set()
        waiting = [(start, False)]
        while waiting:
            name, is_left = waiting.pop()
            if is_left:
                path.pop()
                on_path.discard(name)
                done.add(name)
            elif name in on_path:
                return path[path.index(name) :]
            elif name not in done:
                path.append(name)
                on_path.add(name)
                waiting.append((name, True))
                waiting += [(prerequisite, False) for prerequisite in graph[name]]
    return None


def _by_name(nodes: Sequence[Node], details: list[Detail]) -> list[Detail]:
    """Let the faults name the tasks by their names beside their places."""
    named = []
    for detail in details:
        place = int(detail["field"].split(".")[1])
        named.append({"field": detail["field"], "problem": f"Task `{nodes[place].name}`: {detail['problem']}"})
    return named


def _insert_members(tx: Transaction, workflow_id: int, ids: dict[str, int]) -> None:
    rows = [{"workflow_id": workflow_id, "task_id": task_id, "name": name} for name, task_id in ids.items()]
    for start in range(0, len(rows), _CHUNK):
        tx.execute(insert(workflow_tasks), rows[start : start + _CHUNK])


def _insert_edges(tx: Transaction, nodes: Sequence[Node], ids: dict[str, int], extras: dict[int, Any]) -> None:
    edges: list[Row] = []
    waits: dict[int, str] = {}
    for node in nodes:
        prerequisites = sorted({ids[name] for name in node.depends_on})
        task_id = ids[node.name]
        edges += [
            {
                "task_id": task_id,
                "depends_on_id": prerequisite,
                "on_failure": node.task.on_dependency_failure,
                "is_met": False,
            }
            for prerequisite in prerequisites
        ]
        if prerequisites:
            waits[task_id] = to_json({**extras[task_id], "depends_on": prerequisites})
    for start in range(0, len(edges), _CHUNK):
        tx.execute(insert(dependencies), edges[start : start + _CHUNK])
    waiting = sorted(waits)
    # The ids are known only now: one statement for many tasks.
    for start in range(0, len(waiting), _CHUNK):
        chunk = waiting[start : start + _CHUNK]
        texts = case({task_id: literal(waits[task_id]) for task_id in chunk}, value=tasks.c.id)
        tx.execute(update(tasks).where(tasks.c.id.in_(chunk)).values(extras=texts))


def read_workflow(tx: Transaction, workflow_id: int) -> tuple[Row, dict[TaskStatus, int]]:
    """Return the row of a workflow and how many of its tasks have which status; raises WorkflowNotFound."""
    workflow = tx.one(_BY_ID, {"workflow_id": workflow_id})
    if workflow is None:
        raise WorkflowNotFound
    counts = {TaskStatus(row["status"]): row["number"] for row in tx.all(_COUNTS, {"workflow_id": workflow_id})}
    return workflow, counts


def state_of(counts: dict[TaskStatus, int]) -> str:
    """Return what a workflow is as a whole: `running`, or the worst end of its tasks."""
    if any(status not in FINISHED for status in counts):
        return "running"
    for worst in (TaskStatus.FAILED, TaskStatus.CANCELLED):
        if worst in counts:
            return worst.word
    return TaskStatus.COMPLETED.word


def list_members(tx: Transaction, workflow_id: int, *, after_id: int, limit: int) -> tuple[list[Row], int | None]:
    """Return a page of the tasks of a workflow by their ids, and the id after which the next one begins.

    Each has its name, its type's as `type`, and as `depends_on` the names of those that it waits for.
    """
    found = tx.all(_MEMBERS, {"workflow_id": workflow_id, "after_id": after_id, "number": limit + 1})
    members, next_after_id = cut_page(found, limit)
    waits = defaultdict(list)
    if members:
        for row in tx.all(_NAMES, {"task_ids": [member["id"] for member in members]}):
            waits[row["task_id"]].append(row["name"])
    page = [
        {**member, "type": find_type_by_id(tx, member["type_id"]).name, "depends_on": waits[member["id"]]}
        for member in members
    ]
    return page, next_after_id


def list_workflows(tx: Transaction, *, limit: int, below_id: int | None = None) -> tuple[list[Row], int | None]:
    """Return a page of workflows, newest first, and the id below which the next one begins."""
    statement = _LIST if below_id is None else _LIST.where(workflows.c.id < below_id)
    return cut_page(tx.all(statement, {"number": limit + 1}), limit)
