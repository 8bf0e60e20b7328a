"""The tables, one file each, as SQLAlchemy Core tables.

Core and not mapped classes: the queue only ever runs single guarded statements, for which a unit of work is a cost
without a use (docs/decisions/0002-core-not-orm.md has the measurement).
"""

from app.storage.models.api_key import api_keys
from app.storage.models.attempt import attempts
from app.storage.models.base import metadata
from app.storage.models.counter import counters
from app.storage.models.idempotency_key import idempotency_keys
from app.storage.models.task import tasks
from app.storage.models.task_type import task_type_limits, task_type_usage, task_types

__all__ = [
    "api_keys",
    "attempts",
    "counters",
    "idempotency_keys",
    "metadata",
    "task_type_limits",
    "task_type_usage",
    "task_types",
    "tasks",
]
