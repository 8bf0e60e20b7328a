"""Routes: which view answers which path. A view's module is imported when the view is first asked for.

A cold start, which a person waits for, so pays for one view and not for all: their schemas and statements are most of
what the program is.
"""

from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from typing import Any

from flask import Flask, Response

# What the clients of the older TaskManager know, there without /api.
_LEGACY = (
    ("GET", "/health", "health.health"),
    ("POST", "/task-types/register", "task_types.register_task_type"),
    ("GET", "/task-types", "task_types.list_task_types"),
    ("GET", "/task-types/<name:name>", "task_types.get_task_type"),
    ("PATCH", "/task-types/<name:name>", "task_types.change_task_type"),
    ("POST", "/tasks/claim", "claims.claim"),
    ("POST", "/tasks/<id:task_id>/heartbeat", "claims.heartbeat"),
    ("POST", "/tasks/<id:task_id>/progress", "claims.progress"),
    ("POST", "/tasks/<id:task_id>/complete", "claims.complete"),
    ("POST", "/tasks/<id:task_id>/release", "claims.release"),
    ("POST", "/tasks/batch/claim", "batches.claim"),
    ("POST", "/tasks/batch/complete", "batches.complete"),
    ("POST", "/tasks/batch/exchange", "batches.exchange"),
    ("POST", "/tasks", "creation.create"),
    ("POST", "/tasks/batch", "creation.create_batch"),
    ("GET", "/tasks", "tasks.list_all"),
    ("GET", "/tasks/<id:task_id>", "tasks.get_task"),
    ("PATCH", "/tasks/<id:task_id>", "tasks.change"),
    ("POST", "/tasks/<id:task_id>/cancel", "tasks.cancel"),
    ("POST", "/tasks/cancel", "tasks.cancel_many"),
    ("POST", "/tasks/<id:task_id>/requeue", "tasks.requeue"),
    ("GET", "/tasks/<id:task_id>/attempts", "tasks.list_of_task"),
    ("POST", "/tasks/<id:task_id>/logs", "logs.write"),
    ("GET", "/tasks/<id:task_id>/logs", "logs.list_of_task"),
    ("GET", "/tasks/<id:task_id>/explain", "insight.explain"),
    ("GET", "/task-types/<name:name>/stats/", "insight.get_statistics"),
)
_NEWER = (
    ("GET", "/dead-letters", "dead_letters.list_all"),
    ("GET", "/dead-letters/summary", "dead_letters.count"),
    ("POST", "/dead-letters/requeue", "dead_letters.requeue"),
    ("POST", "/dead-letters/purge", "dead_letters.purge"),
    ("DELETE", "/dead-letters/<id:task_id>", "dead_letters.purge_one"),
    ("GET", "/operations", "operations.list_all"),
    ("GET", "/operations/<id:operation_id>", "operations.get_operation"),
    ("POST", "/operations/<id:operation_id>/cancel", "operations.cancel"),
    ("POST", "/keys", "keys.create_api_key"),
    ("GET", "/keys", "keys.list_api_keys"),
    ("PATCH", "/keys/<id:key_id>", "keys.change_api_key"),
    ("DELETE", "/keys/<id:key_id>", "keys.revoke_api_key"),
    ("GET", "/queue", "queue.get_queue"),
    ("PATCH", "/queue", "queue.change"),
    ("GET", "/workers", "workers.list_all"),
    ("GET", "/workers/<name:worker>", "workers.get_worker"),
    ("POST", "/workers/<name:worker>/command", "workers.command"),
    ("POST", "/workers/command", "workers.command_all"),
    ("POST", "/schedules", "schedules.save"),
    ("POST", "/schedules/preview", "schedules.preview"),
    ("GET", "/schedules", "schedules.list_all"),
    ("GET", "/schedules/<id:schedule_id>", "schedules.get_schedule"),
    ("PATCH", "/schedules/<id:schedule_id>", "schedules.change"),
    ("DELETE", "/schedules/<id:schedule_id>", "schedules.delete"),
    ("POST", "/workflows", "workflows.create"),
    ("GET", "/workflows", "workflows.list_all"),
    ("GET", "/workflows/<id:workflow_id>", "workflows.get_workflow"),
    ("POST", "/workflows/<id:workflow_id>/cancel", "workflows.cancel"),
    ("GET", "/audit", "audit.list_all"),
    ("POST", "/housekeeping/run", "housekeeping.run"),
)


class View:
    """A view, by its place below this package."""

    def __init__(self, place: str) -> None:
        self._module, _, self._name = place.rpartition(".")

    @cached_property
    def function(self) -> Callable[..., Response]:
        """The view itself."""
        found: Callable[..., Response] = getattr(import_module(f"{__package__}.{self._module}"), self._name)
        return found

    @property
    def contract(self) -> Any:
        """What the view promises."""
        return self.function.contract  # type: ignore[attr-defined]

    def __call__(self, **arguments: Any) -> Response:
        """Answer the present request."""
        return self.function(**arguments)


def add_routes(app: Flask, *, legacy_paths: bool) -> None:
    """Let `app` answer all paths of the API, and if wanted those of the older TaskManager."""
    for routes, prefixes in ((_LEGACY, ("/api", "")[: 1 + legacy_paths]), (_NEWER, ("/api",))):
        for method, path, place in routes:
            view = View(place)
            for prefix in prefixes:
                app.add_url_rule(f"{prefix}{path}", f"{place}{prefix}", view, methods=[method])
