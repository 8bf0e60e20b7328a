"""Workflows over HTTP."""

from typing import Any

from app.errors import (
    BatchRefused,
    CyclicWorkflow,
    IdempotencyKeyReused,
    InvalidCursor,
    InvalidWorkflow,
    QueueDraining,
    TryAgain,
    WorkflowNotFound,
)
from app.queue.filters import TaskFilter
from app.queue.keys import Scope
from app.queue.operations import CANCEL
from app.queue.workflows import Node, create_workflow, list_members, list_workflows, read_workflow, state_of
from app.rest.contract import Answer, contract
from app.rest.creation import IDEMPOTENCY, new_task, once
from app.rest.operations import BEGUN, begin
from app.rest.paging import make_cursor, read_cursor
from app.rest.representations import show_member, show_workflow
from app.rest.schemas import workflows as schemas
from app.rest.schemas.creation import NewWorkflow
from app.rest.schemas.operations import Operation
from app.storage.database import Transaction
from app.web.current import database

TAG = "Workflows"
CREATED = "Workflow created successfully"


@contract(
    "create_workflow",
    tag=TAG,
    scope=Scope.PRODUCER,
    body=NewWorkflow,
    answer=schemas.CreatedWorkflow,
    messages={201: CREATED},
    errors=(QueueDraining, InvalidWorkflow, CyclicWorkflow, BatchRefused, IdempotencyKeyReused, TryAgain),
    headers=IDEMPOTENCY,
)
def create(body: dict[str, Any]) -> Answer:
    """Create tasks that wait for each other.

    All of them are created or none. Each task may wait for others by their names; a cycle is refused.
    """
    nodes = [
        Node(item.pop("name"), new_task({**item, "depends_on": None}), item.get("depends_on", []))
        for item in body["tasks"]
    ]

    def work(tx: Transaction) -> tuple[int, Any]:
        workflow, task_ids = create_workflow(tx, body["name"], nodes)
        return 201, {**show_workflow(workflow), "task_ids": task_ids}

    status, data = once(work)
    return Answer(data, CREATED, status)


@contract(
    "list_workflows",
    tag=TAG,
    scope=Scope.READ,
    query=schemas.WorkflowListQuery,
    answer=schemas.WorkflowList,
    messages={200: "Workflows retrieved successfully"},
    errors=(InvalidCursor,),
)
def list_all(query: dict[str, Any]) -> Answer:
    """List the workflows, newest first."""
    below_id = read_cursor(query.get("cursor"))
    page, next_below_id = database().read(lambda tx: list_workflows(tx, below_id=below_id, limit=query["limit"]))
    data = {
        "workflows": [show_workflow(row) for row in page],
        "count": len(page),
        "next_cursor": make_cursor(next_below_id),
    }
    return Answer(data, "Workflows retrieved successfully")


@contract(
    "get_workflow",
    tag=TAG,
    scope=Scope.READ,
    query=schemas.WorkflowQuery,
    answer=schemas.WorkflowView,
    messages={200: "Workflow retrieved successfully"},
    errors=(WorkflowNotFound,),
)
def get_workflow(workflow_id: int, query: dict[str, Any]) -> Answer:
    """Read a workflow with the states of its tasks."""
    limit, after_id = query["limit"], query.get("after_id", 0)

    def work(tx: Transaction) -> dict[str, Any]:
        workflow, counts = read_workflow(tx, workflow_id)
        page, next_after_id = list_members(tx, workflow_id, after_id=after_id, limit=limit)
        return {
            **show_workflow(workflow),
            "status": state_of(counts),
            "counts": {status.word: number for status, number in sorted(counts.items())},
            "tasks": [show_member(member) for member in page],
            "next_after_id": next_after_id,
        }

    return Answer(database().read(work), "Workflow retrieved successfully")


@contract(
    "cancel_workflow",
    tag=TAG,
    scope=Scope.PRODUCER,
    answer=Operation,
    messages=BEGUN,
    errors=(WorkflowNotFound,),
)
def cancel(workflow_id: int) -> Answer:
    """Cancel all tasks of a workflow that have not ended.

    Those that wait for others come first, so that none fails because of what it waited for. What cannot be done within
    half a second goes on beside other requests (202).
    """
    database().read(lambda tx: read_workflow(tx, workflow_id))
    return begin(CANCEL, TaskFilter(workflow_id=workflow_id))
