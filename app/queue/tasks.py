"""Tasks: read and listed."""

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

from sqlalchemy import Select, bindparam, func, literal, select, union_all

from app.errors import TaskNotFound
from app.lifecycle import TaskStatus
from app.queue.labels import put_rarest_first, select_labelled
from app.queue.patterns import exactly
from app.queue.task_types import find_type_by_id, find_type_ids, name_types
from app.storage.database import Row, Transaction
from app.storage.hints import BY_STATUS, BY_STATUS_OR_FEW, BY_TYPE
from app.storage.models import task_types, tasks
from app.storage.prepared import Prepared

#: All that is known of a task, but for what may be large.
LIGHT = [column for column in tasks.c if column.name not in ("params", "result")]
_MAX_PAGE_CHARACTERS = 8 * 1024 * 1024
_READ = Prepared(
    select(*tasks.c, task_types.c.name.label("type"))
    .select_from(tasks.join(task_types, task_types.c.id == tasks.c.type_id))
    .where(tasks.c.id == bindparam("task_id"))
)


def read_task(tx: Transaction, task_id: int) -> Row:
    """Return the whole row of a task with its type's name as `type`; raises TaskNotFound."""
    row = tx.one(_READ, {"task_id": task_id})
    if row is None:
        raise TaskNotFound
    return row


def list_tasks(
    tx: Transaction,
    *,
    limit: int,
    offset: int = 0,
    below_id: int | None = None,
    statuses: Sequence[TaskStatus] | None = None,
    type_name: str | None = None,
    worker_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    labels: Sequence[str] = (),
    workflow_id: int | None = None,
) -> list[Row]:
    """Return tasks without `params` and `result`, newest first.

    `type_name` with `%` in it is a pattern; `labels` must all be there; `below_id` continues a listing.
    """
    is_plain = not labels and workflow_id is None
    # Not joined with the task types: where these are few, MariaDB joins them through a buffer and sorts all tasks.
    labelled, task_id = select_labelled(LIGHT, put_rarest_first(tx, labels), workflow_id)
    statement = labelled.order_by(task_id.desc())
    if below_id is not None:
        statement = statement.where(task_id < below_id)
    status: Any = tasks.c.status
    type_id: Any = tasks.c.type_id
    if not is_plain:
        # As plain columns they would lead SQLite to the index of claims, and to sort what it finds there.
        status, type_id = status + 0, type_id + 0
    type_ids = None if type_name is None else find_type_ids(tx, exactly(type_name))
    if type_ids is not None:
        statement = statement.where(type_id.in_(type_ids))
        if is_plain and statuses is None and len(type_ids) == 1:
            statement = statement.with_hint(tasks, BY_TYPE, "mysql")
    if worker_id is not None:
        statement = statement.where(tasks.c.claimed_by == worker_id)
    if created_from is not None:
        statement = statement.where(tasks.c.created_at >= created_from)
    if created_before is not None:
        statement = statement.where(tasks.c.created_at < created_before)
    walks = [statement]
    if statuses is not None:
        wanted = [int(each) for each in dict.fromkeys(statuses)]
        walks = [statement.where(status.in_(wanted))]
        if is_plain and wanted:
            by_status = statement.with_hint(tasks, BY_STATUS if type_ids is None else BY_STATUS_OR_FEW, "mysql")
            walks = [by_status.where(status == each) for each in wanted]
    rows = tx.all(_newest_of(walks, limit, offset))
    names = name_types(tx) if rows else {}
    return [{**row, "type": names.get(row["type_id"]) or find_type_by_id(tx, row["type_id"]).name} for row in rows]


def _newest_of(walks: Sequence[Select[Any]], limit: int, offset: int) -> Select[Any]:
    """Return one statement for the newest of several walks: each goes as far as it may be asked for, and no farther."""
    if len(walks) == 1:
        return walks[0].limit(limit).offset(offset)
    pages = [walk.with_only_columns(tasks.c.id).limit(limit + offset).subquery() for walk in walks]
    newest = union_all(*(select(page) for page in pages)).subquery()
    statement = select(*LIGHT).select_from(newest.join(tasks, tasks.c.id == newest.c.id))
    return statement.order_by(newest.c.id.desc()).limit(limit).offset(offset)


def read_page(
    tx: Transaction, *, limit: int, include: Sequence[str] = (), **filters: Any
) -> tuple[list[Row], int | None]:
    """Return a page of `list_tasks` with the columns that `include` names, and the id below which the next begins.

    The page ends early where these would come to more than 8 Mi characters: they are held in memory whole.
    """
    # One more than asked for tells whether there is a next page.
    rows = list_tasks(tx, limit=limit + 1, **filters)
    page = rows[:limit]
    heavy = [tasks.c[name] for name in include]
    if include and page:
        of_page = tasks.c.id.in_([row["id"] for row in page])
        size: Any = sum((func.coalesce(func.length(column), 0) for column in heavy), literal(0))
        sizes = {row["id"]: row["size"] for row in tx.all(select(tasks.c.id, size.label("size")).where(of_page))}
        totals = accumulate(sizes.get(row["id"], 0) for row in page)
        fitting = max(1, sum(total <= _MAX_PAGE_CHARACTERS for total in totals))
        page = page[:fitting]
    next_below_id = page[-1]["id"] if len(rows) > len(page) else None
    if include and page:
        of_page = tasks.c.id.in_([row["id"] for row in page])
        contents = {row["id"]: row for row in tx.all(select(tasks.c.id, *heavy).where(of_page))}
        # One that was removed in this moment is not there any more.
        page = [{**row, **contents[row["id"]]} for row in page if row["id"] in contents]
    return page, next_below_id
