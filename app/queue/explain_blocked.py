"""Explain a blocked task: which tasks it waits for, or who is before it in the line of its concurrency key."""

from datetime import datetime

from sqlalchemy import bindparam, false, select, true

from app.lifecycle import FINISHED, TaskStatus
from app.queue.activity import MOST, Count, bounded, count_up_to
from app.queue.explain_pending import explain_overdue
from app.queue.explanation import DUE, WAITS_FOR_TASKS, WAITS_IN_LINE, Explanation, WaitsFor
from app.queue.obstacles import NAMED, SHOWN, name_holders
from app.queue.task_types import TaskType
from app.queue.wording import count_of, in_a_row, rate_of, verb, when
from app.storage.database import Row, Transaction
from app.storage.models import concurrency_keys, dependencies, line_places, tasks

# Compared by `=`: through `IS` no database looks into an index.
_unmet = (dependencies.c.task_id == bindparam("task_id"), dependencies.c.is_met == false())
_UNMET_NUMBER = count_up_to(MOST + 1, select(dependencies.c.depends_on_id).where(*_unmet))
_UNMET = (
    select(dependencies.c.depends_on_id.label("id"), tasks.c.status)
    .select_from(dependencies.outerjoin(tasks, tasks.c.id == dependencies.c.depends_on_id))
    .where(*_unmet)
    .order_by(dependencies.c.depends_on_id)
    .limit(SHOWN)
)
_some_unmet = (
    select(dependencies.c.depends_on_id, dependencies.c.on_failure).where(*_unmet).limit(MOST).subquery("unmet")
)
# What has not completed and takes the task with it.
_FATAL = (
    select(tasks.c.id, tasks.c.status, _some_unmet.c.on_failure)
    .select_from(_some_unmet.join(tasks, tasks.c.id == _some_unmet.c.depends_on_id))
    .where(
        tasks.c.status.in_([int(TaskStatus.FAILED), int(TaskStatus.CANCELLED)]),
        _some_unmet.c.on_failure != "run_anyway",
    )
    .limit(SHOWN)
)
_PLACE = (
    select(
        line_places.c.key_id,
        line_places.c.claim_rank,
        line_places.c.is_admitted,
        concurrency_keys.c.concurrency_key,
        concurrency_keys.c.due_at,
    )
    .select_from(line_places.join(concurrency_keys, concurrency_keys.c.id == line_places.c.key_id))
    .where(line_places.c.task_id == bindparam("task_id"))
)
_of_key = select(line_places.c.task_id).where(line_places.c.key_id == bindparam("key_id"))
_admitted = _of_key.where(line_places.c.is_admitted == true())
_in_line = _of_key.where(line_places.c.is_admitted == false())
_LINE = select(
    count_up_to(MOST + 1, _admitted).scalar_subquery().label("admitted"),
    (
        count_up_to(MOST + 1, _in_line.where(line_places.c.claim_rank < bindparam("rank"))).scalar_subquery()
        + count_up_to(
            MOST + 1,
            _in_line.where(line_places.c.claim_rank == bindparam("rank"), line_places.c.task_id < bindparam("task_id")),
        ).scalar_subquery()
    ).label("ahead"),
)
_some_admitted = _admitted.order_by(line_places.c.claim_rank, line_places.c.task_id).limit(SHOWN).subquery("admitted")
_HOLDERS = select(tasks.c.id, tasks.c.status, tasks.c.claimed_by, tasks.c.claimed_at, tasks.c.due_at).select_from(
    _some_admitted.join(tasks, tasks.c.id == _some_admitted.c.task_id)
)


def explain_blocked(tx: Transaction, task_type: TaskType, task: Row) -> Explanation:
    """Say which tasks it waits for or, if for none, how it stands in the line of its concurrency key."""
    if task["due_at"] is not None and task["due_at"] <= tx.now:
        return explain_overdue(tx, task)
    parameters = {"task_id": task["id"]}
    number = tx.execute(_UNMET_NUMBER, parameters).scalar_one()
    if number:
        fatal = tx.all(_FATAL, parameters)
        if fatal:
            return _explain_fatal(task, fatal[0], bounded(number))
        return _explain_dependencies(task, WaitsFor(bounded(number), tuple(tx.all(_UNMET, parameters))))
    place = tx.one(_PLACE, parameters)
    if place is not None and not place["is_admitted"]:
        return _explain_line(tx, task_type, task, place)
    return _about_to_move(task)


def _explain_fatal(task: Row, fatal: Row, number: Count) -> Explanation:
    happened = "has failed" if fatal["status"] == TaskStatus.FAILED else "was cancelled"
    follows = "to fail too" if fatal["on_failure"] == "fail" else "to be cancelled too"
    return Explanation(
        reason=DUE,
        sentence=f"Task {fatal['id']}, for which task {task['id']} waits, {happened}, so this one is about {follows}.",
        what_would_change_it="Nothing: the next request to the server sees to it; after that both may be requeued.",
        waits_for=WaitsFor(number, ({"id": fatal["id"], "status": fatal["status"]},)),
    )


def _explain_dependencies(task: Row, waits_for: WaitsFor) -> Explanation:
    number = waits_for.number
    if number.count == len(waits_for.tasks) and all(row["status"] in FINISHED for row in waits_for.tasks):
        return _about_to_move(task)
    named = [f"{row['id']} ({_status_word(row)})" for row in waits_for.tasks[:NAMED]]
    listed = in_a_row(named, number.count - len(named))
    listed = f"task {listed}" if number.count == 1 else f"{count_of(number.count, 'task')}: {listed}"
    if not number.is_exact:
        listed = f"{count_of(number.count, 'task', is_exact=False)}, among them {in_a_row(named)}"
    helps = verb(number.count, "That task ends.", "These tasks end.")
    if any(row["status"] is None for row in waits_for.tasks):
        helps = f"What was removed cannot end any more: cancel task {task['id']} and create it anew."
    return Explanation(
        reason=WAITS_FOR_TASKS,
        sentence=f"Task {task['id']} waits for {listed}.",
        what_would_change_it=helps,
        waits_for=waits_for,
    )


def _status_word(row: Row) -> str:
    return "removed" if row["status"] is None else TaskStatus(row["status"]).word


def _explain_line(tx: Transaction, task_type: TaskType, task: Row, place: Row) -> Explanation:
    parameters = {"key_id": place["key_id"], "rank": place["claim_rank"], "task_id": task["id"]}
    line = tx.one(_LINE, parameters) or {}
    holders = tx.all(_HOLDERS, {"key_id": place["key_id"]})
    ahead = bounded(line["ahead"])
    until = place["due_at"] if place["due_at"] is not None and place["due_at"] > tx.now else None
    why, helps = _why_nobody_moves(tx, task_type, holders, line["admitted"], until)
    if not why and ahead.count == 0:
        return _about_to_move(task)
    key = f"the concurrency key `{place['concurrency_key']}`" if place["concurrency_key"] else "tasks without a key"
    in_line = f"{count_of(ahead.count, 'task', is_exact=ahead.is_exact)} {verb(ahead.count, 'is', 'are')} ahead of it"
    in_line = in_line if ahead.count else "it is the first in that line"
    return Explanation(
        reason=WAITS_IN_LINE,
        sentence=f"Task {task['id']} waits in the line of {key}{why}; {in_line}.",
        what_would_change_it=helps,
        until=until,
        ahead=ahead,
        held_by=tuple(holders),
    )


def _why_nobody_moves(
    tx: Transaction, task_type: TaskType, holders: list[Row], admitted: int, until: datetime | None
) -> tuple[str, str]:
    """Say what the line waits for, and what would change that; the first is empty where it is about to move."""
    policies = task_type.policies
    held = f": {name_holders(holders, admitted)}" if holders else ""
    most = policies.key_max_concurrency
    if most is not None and admitted >= most:
        ends = verb(most, "That task ends", "One of these tasks ends")
        why = f", which may have {count_of(most, 'task')} at the same time{held}"
        return why, f"{ends}, or an admin raises `key_max_concurrency` of the type."
    is_offered = any(row["status"] == TaskStatus.PENDING for row in holders)
    if policies.key_rate_limit is not None and (until is not None or is_offered):
        possible = f"; there is room again at {when(until, tx.now)}" if until is not None else ""
        why = f", which is allowed {rate_of(policies.key_rate_limit)}{held}{possible}"
        return why, "Time alone, or an admin raises `key_rate_limit` of the type."
    if policies.key_order == "round_robin" and is_offered:
        return f", and the keys take turns{held}", "A worker claims that task."
    return "", "Those that are ahead of it move on."


def _about_to_move(task: Row) -> Explanation:
    return Explanation(
        reason=DUE,
        sentence=f"All that task {task['id']} waited for is over, and it is about to move on.",
        what_would_change_it="Nothing: the next request to the server lets it move on.",
    )
