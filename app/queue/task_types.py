"""Task types: found, listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from app.errors import TaskTypeNotFound
from app.policies import POLICIES, Policies
from app.queue.patterns import matcher
from app.storage.database import Row, Transaction
from app.storage.models import task_types

SORTABLE = ("id", "name", "version", "created_at", "updated_at")

BY_NAME = select(task_types).where(task_types.c.name_key == bindparam("name_key"))
_BY_ID = select(task_types).where(task_types.c.id == bindparam("type_id"))
_BY_IDS = select(task_types).where(task_types.c.id.in_(bindparam("type_ids", expanding=True)))
_ALL = select(task_types)
_NAMES = select(task_types.c.id, task_types.c.name).order_by(task_types.c.id)
# Of so many types and more, claims look at a copy of all.
_MANY = 100


@dataclass(frozen=True, slots=True)
class TaskType:
    """A task type as the verbs need it."""

    id: int
    name: str
    param_schema: dict[str, Any]
    result_schema: dict[str, Any] | None
    is_active: bool
    is_paused: bool
    revision: int
    policies: Policies

    @property
    def is_limited(self) -> bool:
        """Whether claims must be counted."""
        return self.policies.max_concurrency is not None or self.policies.rate_limit is not None

    @property
    def counts_claims_per_key(self) -> bool:
        """Whether each claim must be noted for the task's concurrency key."""
        return self.policies.key_rate_limit is not None or self.policies.key_order == "round_robin"

    @property
    def needs_transaction(self) -> bool:
        """Whether a claim is more than one guarded update."""
        return self.is_limited or self.counts_claims_per_key

    @property
    def has_limited_keys(self) -> bool:
        """Whether not all tasks with a concurrency key may be claimed at once."""
        return self.policies.key_max_concurrency is not None or self.counts_claims_per_key


def _load(row: Row | None) -> TaskType | None:
    if row is None:
        return None
    policies = Policies(**{name: row[name] for name in POLICIES})
    return TaskType(
        row["id"],
        row["name"],
        row["param_schema"],
        row["result_schema"],
        row["is_active"],
        row["is_paused"],
        row["revision"],
        policies,
    )


def name_key(name: str) -> str:
    """Return what makes two names the same: unique without regard to case."""
    return name.casefold()


def find_type(tx: Transaction, name: str, *, fresh: bool = False) -> TaskType:
    """Return the task type `name`, from the cache if it was read a moment ago; raises TaskTypeNotFound.

    `fresh` reads what is committed now, also inside a transaction with an older snapshot.
    """
    key = name_key(name)
    if fresh:
        tx.cache.clear()
    statement = BY_NAME.with_for_update(read=True) if fresh else BY_NAME
    found = tx.cache.get(("type", key), lambda: _load(tx.one(statement, {"name_key": key})))
    if found is None:
        raise TaskTypeNotFound(f"There is no task type `{name}`: register it first, or mend its name.")
    return found


def find_type_by_id(tx: Transaction, type_id: int) -> TaskType:
    """Return the task type with this id, from the cache if it was read a moment ago; raises TaskTypeNotFound."""
    found = get_type(tx, type_id)
    if found is None:
        raise TaskTypeNotFound
    return found


def read_type_by_id(tx: Transaction, type_id: int) -> TaskType:
    """Return the task type with this id as it is stored now; raises TaskTypeNotFound."""
    found = _load(tx.one(_BY_ID, {"type_id": type_id}))
    if found is None:
        raise TaskTypeNotFound
    return found


def get_type(tx: Transaction, type_id: int) -> TaskType | None:
    """Return the task type with this id, as `find_type_by_id`, or None."""
    return tx.cache.get(("type", type_id), lambda: _load(tx.one(_BY_ID, {"type_id": type_id})))


def find_types(tx: Transaction, type_ids: Sequence[int]) -> dict[int, TaskType]:
    """Return the task types with these ids by one statement, or from the cache; raises TaskTypeNotFound."""
    if len(type_ids) == 1:
        return {type_ids[0]: find_type_by_id(tx, type_ids[0])}

    def load(statement: Any, parameters: Row) -> dict[int, TaskType]:
        loaded = (_load(row) for row in tx.all(statement, parameters))
        return {task_type.id: task_type for task_type in loaded if task_type is not None}

    wanted = set(type_ids)
    if len(wanted) > _MANY:
        # Kept once for all: a worker may ask with many patterns for thousands of types each.
        known = tx.cache.get("all types", lambda: load(_ALL, {})) or {}
        found = {type_id: known[type_id] for type_id in type_ids if type_id in known}
        if missing := wanted - found.keys():
            # Registered since that copy was read.
            found |= load(_BY_IDS, {"type_ids": list(missing)})
    else:
        found = tx.cache.get(("types", tuple(type_ids)), lambda: load(_BY_IDS, {"type_ids": list(type_ids)})) or {}
    if len(found) < len(wanted):
        raise TaskTypeNotFound
    return found


def find_type_ids(tx: Transaction, pattern: str) -> list[int]:
    """Return the ids of all task types whose names fit the pattern."""
    fits = matcher(pattern)
    return [type_id for type_id, name in name_types(tx).items() if fits(name)]


def name_types(tx: Transaction) -> dict[int, str]:
    """Return the names of all task types by id, from the cache if they were read a moment ago."""
    return tx.cache.get("type names", lambda: {row["id"]: row["name"] for row in tx.all(_NAMES)}) or {}


def list_types(tx: Transaction, *, active_only: bool, sort_by: str, descending: bool) -> list[Row]:
    """Return all task types in the given order; ties are broken by id."""
    column = task_types.c[sort_by]
    statement = select(task_types)
    if active_only:
        statement = statement.where(task_types.c.is_active)
    columns = (column.desc(), task_types.c.id.desc()) if descending else (column, task_types.c.id)
    return tx.all(statement.order_by(*columns))


def read_type(tx: Transaction, name: str) -> Row:
    """Return the whole row of a task type, straight from the table; raises TaskTypeNotFound."""
    row = tx.one(BY_NAME, {"name_key": name_key(name)})
    if row is None:
        raise TaskTypeNotFound
    return row
