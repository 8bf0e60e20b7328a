"""The tables, one file each, as SQLAlchemy Core tables.

Core and not mapped classes: the queue only ever runs single guarded statements, for which a unit of work is a cost
without a use (docs/decisions/0002-core-not-orm.md has the measurement).
"""

from app.storage.models.api_key import api_keys
from app.storage.models.attempt import attempts
from app.storage.models.audit_entry import audit_entries
from app.storage.models.base import metadata
from app.storage.models.concurrency_key import concurrency_keys, line_places
from app.storage.models.counter import counters
from app.storage.models.dependency import dependencies
from app.storage.models.duty import duties
from app.storage.models.idempotency_key import idempotency_keys
from app.storage.models.operation import operations
from app.storage.models.schedule import schedules
from app.storage.models.task import tasks
from app.storage.models.task_label import task_labels
from app.storage.models.task_log import task_logs
from app.storage.models.task_type import task_type_limits, task_type_usage, task_types
from app.storage.models.worker import worker_types, workers
from app.storage.models.workflow import workflow_tasks, workflows

__all__ = [
    "api_keys",
    "attempts",
    "audit_entries",
    "concurrency_keys",
    "counters",
    "dependencies",
    "duties",
    "idempotency_keys",
    "line_places",
    "metadata",
    "operations",
    "schedules",
    "task_labels",
    "task_logs",
    "task_type_limits",
    "task_type_usage",
    "task_types",
    "tasks",
    "worker_types",
    "workers",
    "workflow_tasks",
    "workflows",
]
