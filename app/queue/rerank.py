"""Rerank: the order of claims has changed, and the tasks that wait follow it."""

from sqlalchemy import bindparam, case, select, update

from app.lifecycle import TaskStatus
from app.queue.line import line_key
from app.queue.ranks import waiting_rank
from app.queue.task_types import find_type_by_id
from app.storage.database import Row, Transaction
from app.storage.models import line_places, tasks

_READ = select(tasks.c.id, tasks.c.claim_rank, tasks.c.attempts, tasks.c.available_at, tasks.c.created_at).where(
    tasks.c.id.in_(bindparam("task_ids", expanding=True))
)


def rerank_tasks(tx: Transaction, rows: list[Row]) -> None:
    """Give these tasks, which the transaction holds, the ranks that their types' policies of now give them."""
    terms = {row["id"]: row for row in tx.all(_READ, {"task_ids": [row["id"] for row in rows]})}
    ranks = {}
    for row in rows:
        task_type = find_type_by_id(tx, row["type_id"])
        is_in_line = line_key(task_type, row["extras"]) is not None
        if is_in_line and row["status"] == TaskStatus.PENDING and task_type.policies.key_order == "round_robin":
            # Its rank is the turn of its key.
            continue
        known = terms[row["id"]]
        rank = waiting_rank(task_type.policies, {**row, **known})
        if rank != known["claim_rank"]:
            ranks[row["id"]] = rank
    if ranks:
        of_task = tasks.c.id.in_(list(ranks))
        tx.execute(update(tasks).where(of_task).values(claim_rank=case(ranks, value=tasks.c.id)))
        of_place = line_places.c.task_id.in_(list(ranks))
        tx.execute(update(line_places).where(of_place).values(claim_rank=case(ranks, value=line_places.c.task_id)))
