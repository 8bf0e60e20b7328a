"""Register: make a task type known, or change what it is."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.errors import LimitBelowRunning, TaskTypeNotFound, TryAgain
from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.audit import PROGRAM, Actor, describe_changes, write_audit
from app.queue.filters import TaskFilter
from app.queue.json_schema import compile_schema
from app.queue.line import recheck_lines
from app.queue.operations import RERANK, NewOperation, start_operation
from app.queue.task_types import BY_NAME, name_key
from app.storage.database import Row, Transaction
from app.storage.models import line_places, task_type_limits, task_type_usage, task_types, tasks

_USAGE = insert(task_type_usage)
_LIMITS = insert(task_type_limits)
# What decides who is admitted from the line of a concurrency key.
_OF_KEYS = ("key_max_concurrency", "key_rate_limit", "key_order")
# What decides who is claimed first.
_OF_ORDER = ("claim_order", "priority_aging_seconds", "key_order")
_claimed = (tasks.c.type_id == bindparam("type_id"), tasks.c.status == int(TaskStatus.CLAIMED))
_CLAIMED = select(func.count()).select_from(tasks).where(*_claimed)
_of_key = func.count().label("of_key")
_MOST_OF_A_KEY = (
    select(_of_key)
    .select_from(tasks.join(line_places, line_places.c.task_id == tasks.c.id))
    .where(*_claimed)
    .group_by(line_places.c.key_id)
    .order_by(_of_key.desc())
    .limit(1)
)


def register_type(
    tx: Transaction,
    *,
    name: str,
    version: str,
    param_schema: dict[str, Any],
    policies: dict[str, Any],
    defaults: Policies,
    actor: Actor = PROGRAM,
    **flags: Any,
) -> tuple[Row, bool]:
    """Create the task type or update the one of that name; return its row and whether it is new.

    A policy that the caller leaves out gets the server's default on a new type and stays as it is on an old one.
    Raises InvalidSchema, or LimitBelowRunning.
    """
    compile_schema(param_schema)
    changes = {"name": name, "version": version, "param_schema": param_schema, **policies, **flags}
    found = tx.one(BY_NAME.with_for_update(), {"name_key": name_key(name)})
    if found is not None:
        return _change(tx, found, changes, actor, "register_task_type"), False
    values = {
        "name_key": name_key(name),
        "result_schema": None,
        "is_active": True,
        "is_paused": False,
        "revision": 1,
        **asdict(defaults),
        **changes,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    _check_result_schema(values)
    try:
        type_id = tx.insert(insert(task_types), values)
    except IntegrityError:
        # Somebody else has registered the same new name in this very moment.
        found = tx.one(BY_NAME.with_for_update(), {"name_key": name_key(name)})
        if found is None:
            raise TryAgain from None
        return _change(tx, found, changes, actor, "register_task_type"), False
    tx.execute(_USAGE, {"type_id": type_id, "usage_count": 0})
    tx.execute(_LIMITS, {"type_id": type_id, "recent_claims": []})
    return {"id": type_id, **values}, True


def change_type(tx: Transaction, name: str, changes: dict[str, Any], actor: Actor = PROGRAM) -> Row:
    """Apply `changes` to the task type and return its row.

    Raises TaskTypeNotFound, InvalidSchema, or LimitBelowRunning.
    """
    found = tx.one(BY_NAME.with_for_update(), {"name_key": name_key(name)})
    if found is None:
        raise TaskTypeNotFound
    return _change(tx, found, changes, actor, "change_task_type")


def _change(tx: Transaction, found: Row, changes: dict[str, Any], actor: Actor, action: str) -> Row:
    """Change the row, which the transaction holds; what is as it was does not make a new revision."""
    if "param_schema" in changes:
        compile_schema(changes["param_schema"])
    _check_result_schema(changes)
    details = describe_changes(found, changes)
    if not details:
        return found
    _check_limits(tx, found, changes)
    values = {**changes, "revision": found["revision"] + 1, "updated_at": tx.now}
    tx.execute(update(task_types).where(task_types.c.id == found["id"]).values(**values))
    if any(found[name] != changes.get(name, found[name]) for name in _OF_KEYS):
        recheck_lines(tx, found["id"])
    if any(found[name] != changes.get(name, found[name]) for name in _OF_ORDER):
        start_operation(tx, NewOperation(kind=RERANK, filter=TaskFilter(type=found["name"]), actor=actor))
    write_audit(tx, actor, action, f"task-types/{found['name']}", details)
    return {**found, **values}


def _check_limits(tx: Transaction, found: Row, changes: dict[str, Any]) -> None:
    """Raise LimitBelowRunning, with each limit that is to be lowered below what is claimed now."""
    details = []
    for name, count in (("max_concurrency", _CLAIMED), ("key_max_concurrency", _MOST_OF_A_KEY)):
        limit = changes.get(name)
        if limit is None or (found[name] is not None and limit >= found[name]):
            continue
        running = tx.execute(count, {"type_id": found["id"]}).scalar() or 0
        if limit < running:
            of_what = "of one concurrency key " if name == "key_max_concurrency" else ""
            details.append({"field": name, "problem": f"{running} tasks {of_what}are claimed now."})
    if details:
        raise LimitBelowRunning(details=details)


def _check_result_schema(values: dict[str, Any]) -> None:
    if values.get("result_schema") is not None:
        compile_schema(values["result_schema"], "result_schema")
