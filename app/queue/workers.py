"""Workers: listed with what they do, read, and commanded."""

from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, func, or_, select, update

from app.errors import WorkerNotFound
from app.lifecycle import TaskStatus
from app.queue.audit import PROGRAM, Actor, describe_changes, write_audit
from app.queue.pages import cut_page
from app.queue.sightings import KEPT
from app.queue.task_types import name_types
from app.storage.columns import Instant
from app.storage.database import Database, Row, Transaction
from app.storage.hints import BY_CLAIM_INDEX
from app.storage.models import tasks, worker_types, workers

SLICE = 500
MAX_SHOWN_TASKS = 10

_BY_ID = select(workers).where(workers.c.worker_id == bindparam("worker"))
_TYPES = (
    select(worker_types.c.worker_id, worker_types.c.type_id)
    .where(
        worker_types.c.worker_id.in_(bindparam("worker_ids", expanding=True)),
        worker_types.c.last_asked_at > bindparam("since", type_=Instant),
    )
    .order_by(worker_types.c.worker_id, worker_types.c.type_id)
)
# Tasks that are being worked on are few, and the index of claims leads to them; no index knows their workers.
_RUNNING = (
    select(
        tasks.c.claimed_by,
        func.count().label("number"),
        func.max(tasks.c.due_at).label("lease_ends_at"),
        func.group_concat(tasks.c.id).label("ids"),
    )
    .with_hint(tasks, BY_CLAIM_INDEX, "mysql")
    .where(
        tasks.c.type_id.in_(bindparam("type_ids", expanding=True)),
        tasks.c.status == int(TaskStatus.CLAIMED),
        tasks.c.claimed_by.in_(bindparam("worker_ids", expanding=True)),
    )
    .group_by(tasks.c.claimed_by)
)
# MySQL cuts what it concatenates off after 1,024 characters.
_WHOLE_IDS = 1000
_COMMAND = (
    update(workers)
    .where(workers.c.worker_id.in_(bindparam("worker_ids", expanding=True)))
    .values(command=bindparam("new_command"), commanded_at=bindparam("at", type_=Instant))
)


def list_workers(
    tx: Transaction,
    *,
    limit: int,
    alive_seconds: int,
    after: str | None = None,
    type_id: int | None = None,
    seen_within_seconds: int | None = None,
) -> tuple[list[Row], str | None]:
    """Return a page of workers in the order of their ids, and the id after which the next begins.

    Each row has `types`, `running_tasks`, `running_task_ids` and `is_alive` beside the columns.
    """
    statement = select(workers).order_by(workers.c.worker_id).limit(limit + 1)
    if after is not None:
        statement = statement.where(workers.c.worker_id > after)
    if type_id is not None:
        of_worker = worker_types.c.worker_id == workers.c.worker_id
        statement = statement.join(worker_types, of_worker).where(
            worker_types.c.type_id == type_id, worker_types.c.last_asked_at > tx.now - KEPT
        )
    if seen_within_seconds is not None:
        statement = statement.where(workers.c.last_seen_at >= tx.now - timedelta(seconds=seen_within_seconds))
    page, next_after = cut_page(tx.all(statement), limit, "worker_id")
    return _with_work(tx, page, alive_seconds), next_after


def read_worker(tx: Transaction, worker_id: str, *, alive_seconds: int) -> Row:
    """Return a worker as `list_workers` does; raises WorkerNotFound."""
    row = tx.one(_BY_ID, {"worker": worker_id})
    if row is None:
        raise WorkerNotFound
    return _with_work(tx, [row], alive_seconds)[0]


def _with_work(tx: Transaction, page: list[Row], alive_seconds: int) -> list[Row]:
    if not page:
        return []
    ids = [row["worker_id"] for row in page]
    names = name_types(tx)
    types: dict[str, list[str]] = {}
    for row in tx.all(_TYPES, {"worker_ids": ids, "since": tx.now - KEPT}):
        if row["type_id"] in names:
            types.setdefault(row["worker_id"], []).append(names[row["type_id"]])
    running = {row["claimed_by"]: row for row in tx.all(_RUNNING, {"type_ids": list(names), "worker_ids": ids})}
    seen_since = tx.now - timedelta(seconds=alive_seconds)

    def complete(row: Row) -> Row:
        work: Row = running.get(row["worker_id"], {"number": 0, "lease_ends_at": tx.now, "ids": ""})
        return {
            **row,
            "types": types.get(row["worker_id"], []),
            "running_tasks": work["number"],
            "running_task_ids": _some_ids(work["ids"]),
            "is_alive": row["last_seen_at"] > seen_since or work["lease_ends_at"] > tx.now,
        }

    return [complete(row) for row in page]


def _some_ids(ids: str) -> list[int]:
    whole = ids if len(ids) <= _WHOLE_IDS else ids[:_WHOLE_IDS].rpartition(",")[0]
    return sorted(int(id_) for id_ in whole.split(",") if id_)[:MAX_SHOWN_TASKS]


def command_worker(tx: Transaction, worker_id: str, command: str | None, actor: Actor = PROGRAM) -> None:
    """Set what the worker is told to do, or with None take it back; raises WorkerNotFound."""
    row = tx.one(_BY_ID.with_for_update(), {"worker": worker_id})
    if row is None:
        raise WorkerNotFound
    if details := describe_changes(row, {"command": command}):
        _command(tx, [worker_id], command)
        write_audit(tx, actor, "command_worker", f"workers/{worker_id}", details)


def command_all_workers(database: Database, command: str | None, actor: Actor = PROGRAM) -> int:
    """Command every worker that is known, in slices of short transactions; return how many are told anew."""
    told = 0

    def work(tx: Transaction) -> int:
        in_slice = _command_slice(tx, command)
        if in_slice and not told:
            write_audit(tx, actor, "command_all_workers", "workers", {"command": command})
        return in_slice

    while in_slice := database.write(work):
        told += in_slice
    return told


def _command_slice(tx: Transaction, command: str | None) -> int:
    column = workers.c.command
    differs: Any = column.is_not(None) if command is None else or_(column.is_(None), column != command)
    others = select(workers.c.worker_id).where(differs).order_by(workers.c.worker_id).limit(SLICE).with_for_update()
    ids = [row["worker_id"] for row in tx.all(others)]
    if ids:
        _command(tx, ids, command)
    return len(ids)


def _command(tx: Transaction, worker_ids: list[str], command: str | None) -> None:
    at = None if command is None else tx.now
    tx.execute(_COMMAND, {"worker_ids": worker_ids, "new_command": command, "at": at})
