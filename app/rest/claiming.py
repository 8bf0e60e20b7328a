"""What all claims have in common: which types, in which order, and when to ask again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import TaskTypeNotFound
from app.queue.claim_batch import claim_tasks
from app.queue.dependencies import attach_results
from app.queue.signals import Signals, find_signals
from app.queue.take import ClaimOrder
from app.queue.task_types import find_type, find_type_by_id, find_type_ids
from app.storage.database import Row, Transaction
from app.web.current import database, parts


def read_order(worker_id: str, asked: dict[str, Any]) -> ClaimOrder:
    """Return the order that the worker asks for."""
    sort_by = asked.get("sort_by")
    sort_order = (asked.get("sort_order") or ("desc" if sort_by == "priority" else "asc")).lower()
    return ClaimOrder(
        worker_id=worker_id,
        lease_seconds=asked["lease_seconds"],
        sort_by=sort_by,
        descending=sort_order == "desc",
    )


def wanted_types(tx: Transaction, asked: dict[str, Any]) -> Sequence[int]:
    """Return the ids of the types that fit every selector given."""
    wanted: list[set[int]] = []
    if asked.get("task_type_id") is not None:
        try:
            wanted.append({find_type_by_id(tx, asked["task_type_id"]).id})
        except TaskTypeNotFound:
            return []
    if asked.get("types") is not None:
        wanted.append({find_type(tx, name).id for name in asked["types"]})
    if asked.get("type_pattern") is not None:
        wanted.append(set(find_type_ids(tx, asked["type_pattern"])))
    return sorted(set.intersection(*wanted))


@dataclass(frozen=True, slots=True)
class Claimed:
    """What came of a claim."""

    tasks: list[Row]
    type_ids: Sequence[int]
    signals: Signals


def claim(tx: Transaction, asked: dict[str, Any], order: ClaimOrder, max_tasks: int) -> Claimed:
    """Claim up to so many tasks, with the results of what each has waited for."""
    type_ids = wanted_types(tx, asked)
    tasks = attach_results(tx, claim_tasks(tx, type_ids, order, max_tasks))
    return Claimed(tasks, type_ids, find_signals(tx))


def claim_now(asked: dict[str, Any], order: ClaimOrder, max_tasks: int) -> Claimed:
    """Claim up to so many tasks; if there are none, once more after what is due."""
    claimed = database().write(lambda tx: claim(tx, asked, order, max_tasks), atomic=False)
    return claim_what_is_due(claimed, asked, order, max_tasks)


def claim_what_is_due(claimed: Claimed, asked: dict[str, Any], order: ClaimOrder, max_tasks: int) -> Claimed:
    """Do what is due if nothing was claimed, and claim again: it may be just what this worker asks for."""
    if claimed.tasks or not parts().housekeeping.run_if_time():
        return claimed
    return database().write(lambda tx: claim(tx, asked, order, max_tasks), atomic=False)


def note_claim(asked: dict[str, Any], order: ClaimOrder, claimed: Claimed) -> int:
    """Remember who asked for what, and whether that was worth it; return in how many seconds to ask again."""
    found = parts()
    found.sightings.note_claim(order.worker_id, asked.get("worker_version"), claimed.type_ids)
    kind = (asked.get("task_type_id"), asked.get("type_pattern"), tuple(asked.get("types") or ()))
    polling, settings = found.polling, found.settings
    if claimed.tasks:
        polling.found_something(kind)
        return 0
    return polling.retry_after_seconds(kind, shortest=settings.poll_min_seconds, longest=settings.poll_max_seconds)
