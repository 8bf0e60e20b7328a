"""Operations over HTTP: changes of many tasks, begun with a request and gone on with beside others."""

import time
from typing import Any

from app.errors import InvalidCursor, OperationEnded, OperationNotFound
from app.queue.filters import TaskFilter
from app.queue.keys import Scope
from app.queue.operate import run_operation
from app.queue.operations import (
    RUNNING,
    NewOperation,
    cancel_operation,
    list_operations,
    read_operation,
    start_operation,
)
from app.rest.contract import Answer, contract
from app.rest.paging import make_cursor, read_cursor
from app.rest.representations import show_operation
from app.rest.schemas import operations as schemas
from app.web.auth import actor
from app.web.current import database

TAG = "Operations"
BEGUN = {202: "Operation started successfully", 200: "Operation completed successfully"}
# How long the request that begins an operation does slices of it; a small one is done by then.
_AT_ONCE_SECONDS = 0.5


def begin(kind: str, which: TaskFilter, extra_attempts: int | None = None) -> Answer:
    """Begin an operation, do what can be done at once, and answer how it stands; housekeeping goes on with it."""
    new = NewOperation(kind=kind, filter=which, actor=actor(), extra_attempts=extra_attempts)
    operation = database().write(lambda tx: start_operation(tx, new))
    end = time.monotonic() + _AT_ONCE_SECONDS
    operation_id = operation["id"]
    while time.monotonic() < end and database().write(lambda tx: run_operation(tx, operation_id), atomic=False):
        pass
    operation = database().read(lambda tx: read_operation(tx, operation_id))
    status = 202 if operation["status"] == RUNNING else 200
    return Answer(show_operation(operation), BEGUN[status], status)


@contract(
    "list_operations",
    tag=TAG,
    scope=Scope.READ,
    query=schemas.OperationQuery,
    answer=schemas.OperationList,
    messages={200: "Operations retrieved successfully"},
    errors=(InvalidCursor,),
)
def list_all(query: dict[str, Any]) -> Answer:
    """List operations, newest first; those that have ended are kept for 30 days."""
    limit = query["limit"]
    below_id = read_cursor(query.get("cursor"))
    page, next_below_id = database().read(
        lambda tx: list_operations(tx, limit=limit, below_id=below_id, status=query.get("status"))
    )
    data = {
        "operations": [show_operation(row) for row in page],
        "count": len(page),
        "limit": limit,
        "next_cursor": make_cursor(next_below_id),
    }
    return Answer(data, "Operations retrieved successfully")


@contract(
    "get_operation",
    tag=TAG,
    scope=Scope.READ,
    answer=schemas.Operation,
    messages={200: "Operation retrieved successfully"},
    errors=(OperationNotFound,),
)
def get_operation(operation_id: int) -> Answer:
    """Read an operation, to see how far it is."""
    row = database().read(lambda tx: read_operation(tx, operation_id))
    return Answer(show_operation(row), "Operation retrieved successfully")


@contract(
    "cancel_operation",
    tag=TAG,
    scope=Scope.ADMIN,
    answer=schemas.Operation,
    messages={200: "Operation cancelled successfully"},
    errors=(OperationNotFound, OperationEnded),
)
def cancel(operation_id: int) -> Answer:
    """Stop an operation before its next slice.

    What it has done stays done. Cancelling a cancelled operation changes nothing.
    """
    row = database().write(lambda tx: cancel_operation(tx, operation_id, actor()))
    return Answer(show_operation(row), "Operation cancelled successfully")
