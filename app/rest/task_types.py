"""Task types over HTTP."""

from typing import Any

from app.errors import InvalidSchema, LimitBelowRunning, TaskTypeNotFound
from app.policies import POLICIES
from app.queue.keys import Scope
from app.queue.register import change_type, register_type
from app.queue.task_types import list_types, read_type
from app.queue.usage import read_usage
from app.rest.contract import Answer, contract
from app.rest.names import whichever_exists
from app.rest.representations import show_task_type
from app.rest.schemas import task_types as schemas
from app.web.auth import actor
from app.web.current import database, settings

TAG = "Task types"


@contract(
    "register_task_type",
    tag=TAG,
    scope=Scope.PRODUCER,
    body=schemas.TaskTypeRegistration,
    answer=schemas.RegisteredTaskType,
    messages={201: "Task type registered successfully", 200: "Task type updated successfully"},
    errors=(InvalidSchema, LimitBelowRunning),
)
def register_task_type(body: dict[str, Any]) -> Answer:
    """Register a task type, or update the one of that name.

    Registering again with the same body changes nothing, so workers may do it at every start. A policy that is left
    out gets the server's default when the type is new and stays as it is otherwise.
    """
    for name in ("param_schema", "result_schema"):
        _need_type(body.get(name), name)
    policies = {name: body.pop(name) for name in POLICIES if name in body}
    defaults = settings().default_policies
    row, is_new = database().write(
        lambda tx: register_type(tx, **body, policies=policies, defaults=defaults, actor=actor())
    )
    database().cache.clear()
    usage = {} if is_new else database().read(read_usage)
    data = {**show_task_type(row, usage.get(row["id"])), "created": is_new, "updated": not is_new}
    status = 201 if is_new else 200
    return Answer(data, register_task_type.contract.messages[status], status)  # type: ignore[attr-defined]


@contract(
    "list_task_types",
    tag=TAG,
    scope=Scope.READ,
    query=schemas.TaskTypeQuery,
    answer=schemas.TaskTypeList,
    messages={200: "Task types retrieved successfully"},
)
def list_task_types(query: dict[str, Any]) -> Answer:
    """List the task types."""
    is_descending = query["sort_order"].lower() == "desc"
    rows = database().read(
        lambda tx: list_types(tx, active_only=query["active_only"], sort_by=query["sort_by"], descending=is_descending)
    )
    usage = database().read(read_usage)
    shown = [show_task_type(row, usage.get(row["id"])) for row in rows]
    return Answer({"task_types": shown, "count": len(shown)}, "Task types retrieved successfully")


@contract(
    "get_task_type",
    tag=TAG,
    scope=Scope.READ,
    answer=schemas.TaskType,
    messages={200: "Task type retrieved successfully"},
    errors=(TaskTypeNotFound,),
)
def get_task_type(name: str) -> Answer:
    """Read a task type by its name."""
    row = whichever_exists(name, lambda known: database().read(lambda tx: read_type(tx, known)))
    usage = database().read(read_usage)
    return Answer(show_task_type(row, usage.get(row["id"])), "Task type retrieved successfully")


@contract(
    "change_task_type",
    tag=TAG,
    scope=Scope.ADMIN,
    body=schemas.TaskTypeChange,
    answer=schemas.TaskType,
    messages={200: "Task type updated successfully"},
    errors=(TaskTypeNotFound, InvalidSchema, LimitBelowRunning),
)
def change_task_type(name: str, body: dict[str, Any]) -> Answer:
    """Change parts of a task type; what is left out stays.

    Tasks that exist keep the `max_attempts` they were created with; other policies apply to them from now on. Other
    server processes follow within `TASKMANAGER_CACHE_SECONDS`.
    """
    for field in ("param_schema", "result_schema"):
        _need_type(body.get(field), field)
    row = whichever_exists(name, lambda known: database().write(lambda tx: change_type(tx, known, body, actor())))
    database().cache.clear()
    usage = database().read(read_usage)
    return Answer(show_task_type(row, usage.get(row["id"])), "Task type updated successfully")


def _need_type(schema: dict[str, Any] | None, field: str) -> None:
    """An old rule that catches schemas which accept anything by mistake."""
    if schema is not None and "type" not in schema:
        raise InvalidSchema(
            f"`{field}` must say its `type`.", details=[{"field": f"{field}.type", "problem": "Is missing."}]
        )
