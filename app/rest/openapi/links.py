"""Which operation can follow which: for people, and for tests that walk through the API."""

from typing import Any

PATH_PARAMETERS = ("task_id", "key_id", "workflow_id", "schedule_id", "operation_id")
_HOLDER = {
    "task_id": "$response.body#/data/id",
    "worker_id": "$response.body#/data/claimed_by",
    "lease_token": "$response.body#/data/lease_token",
}
_OF_TASK = {"task_id": "$response.body#/data/id"}
_OF_SCHEDULE = {"schedule_id": "$response.body#/data/id"}
_OF_OPERATION = {"operation_id": "$response.body#/data/id"}
_OF_KEY = {"key_id": "$response.body#/data/id"}
#: For each operation those that can follow it, with what they take from its answer.
LINKS: dict[str, dict[str, dict[str, Any]]] = {
    "register_task_type": {"create_task": {"type": "$response.body#/data/name"}},
    "create_task": {
        "claim_task": {"task_type_id": "$response.body#/data/type_id"},
        "get_task": _OF_TASK,
        "change_task": {**_OF_TASK, "priority": "$response.body#/data/priority"},
        "list_task_logs": _OF_TASK,
        "cancel_task": _OF_TASK,
        "list_task_attempts": _OF_TASK,
        "explain_task": _OF_TASK,
    },
    "create_workflow": {"get_workflow": {"workflow_id": "$response.body#/data/id"}},
    "claim_task": {
        "send_heartbeat": _HOLDER,
        "report_progress": _HOLDER,
        "complete_task": _HOLDER,
        "release_task": _HOLDER,
        "write_task_logs": _HOLDER,
        "cancel_task": _OF_TASK,
    },
    "save_schedule": {
        "get_schedule": _OF_SCHEDULE,
        "change_schedule": _OF_SCHEDULE,
        "delete_schedule": _OF_SCHEDULE,
    },
    "cancel_task": {"requeue_task": _OF_TASK, "purge_dead_letter": _OF_TASK},
    **{
        kind: {"get_operation": _OF_OPERATION, "cancel_operation": _OF_OPERATION}
        for kind in ("requeue_dead_letters", "purge_dead_letters", "cancel_tasks")
    },
    "create_api_key": {"change_api_key": _OF_KEY, "revoke_api_key": _OF_KEY},
}


def describe_links(links: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the links of an answer."""
    return {
        operation_id: {
            "operationId": operation_id,
            "parameters": {name: value for name, value in values.items() if name in PATH_PARAMETERS},
            **({"requestBody": body} if (body := _without_path_parameters(values)) else {}),
        }
        for operation_id, values in links.items()
    }


def _without_path_parameters(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in PATH_PARAMETERS}
