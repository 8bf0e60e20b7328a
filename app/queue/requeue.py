"""Requeue: a person wants what failed or was cancelled to be tried again."""

from collections import defaultdict

from sqlalchemy import Update, and_, bindparam, case, null, or_, select, update

from app.errors import TaskNotRequeuable
from app.lifecycle import FINISHED, TaskStatus
from app.queue.alarms import first_alarm
from app.queue.audit import PROGRAM, Actor, write_audit
from app.queue.line import join_line, leave_line, line_key
from app.queue.ranks import claim_rank
from app.queue.task_types import find_type_by_id
from app.queue.tasks import read_task
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.hints import BY_PRIMARY_KEY
from app.storage.models import dependencies, tasks

MAX_EXTRA_ATTEMPTS = 1000
# What a task does when another that it waits for fails: only the last lets it run.
_STRICT = ("fail", "cancel")
_ANY_POLICY = (*_STRICT, "run_anyway")

_ENDED = tasks.c.status.in_([int(TaskStatus.FAILED), int(TaskStatus.CANCELLED)])
_ids = tasks.c.id.in_(bindparam("task_ids", expanding=True))
_now = bindparam("now", type_=Instant)
_expires = bindparam("expires", type_=Instant)
# A deadline that still lies ahead; the databases differ in whether one assignment sees what another has changed, and
# these say the same either way.
_is_ahead = tasks.c.deadline_at > _now
_is_first = and_(_is_ahead, or_(_expires.is_(None), tasks.c.deadline_at < _expires))
_REQUEUE = (
    update(tasks)
    .with_hint(BY_PRIMARY_KEY, dialect_name="mysql")
    .where(_ids, _ENDED)
    .values(
        status=int(TaskStatus.PENDING),
        available_at=_now,
        due_at=case((_is_first, tasks.c.deadline_at), else_=_expires),
        deadline_at=case((_is_ahead, tasks.c.deadline_at)),
        progress=0,
        updated_at=_now,
        **{
            name: null()
            for name in (
                "result",
                "error_message",
                "failure_reason",
                "progress_message",
                "claimed_by",
                "claimed_at",
                "lease_token",
                "attempt_ends_at",
                "first_claimed_at",
                "completed_at",
            )
        },
    )
)
_FROM_THE_START = _REQUEUE.values(attempts=0)
_WITH_MORE_ATTEMPTS = _REQUEUE.values(max_attempts=tasks.c.attempts + bindparam("more"))
_STAND_IN_LINE = (
    update(tasks).with_hint(BY_PRIMARY_KEY, dialect_name="mysql").where(_ids).values(status=int(TaskStatus.BLOCKED))
)
# What still waits for others is not claimable, and expires only once it is.
_BLOCK = (
    update(tasks)
    .with_hint(BY_PRIMARY_KEY, dialect_name="mysql")
    .where(_ids)
    .values(status=int(TaskStatus.BLOCKED), due_at=tasks.c.deadline_at)
)

COLUMNS = (
    tasks.c.id,
    tasks.c.type_id,
    tasks.c.status,
    tasks.c.priority,
    tasks.c.deadline_at,
    tasks.c.has_followers,
    tasks.c.extras,
)
_LOCK = select(*COLUMNS).where(tasks.c.id == bindparam("task_id")).with_for_update()

_of_tasks = dependencies.c.task_id.in_(bindparam("task_ids", expanding=True))
_HAS_PREREQUISITES = select(dependencies.c.task_id).where(_of_tasks).limit(1)
_NOT_COMPLETED = tasks.c.status != int(TaskStatus.COMPLETED)
_OPEN_PREREQUISITES = (
    select(dependencies.c.task_id, dependencies.c.depends_on_id, dependencies.c.on_failure)
    .select_from(dependencies.join(tasks, tasks.c.id == dependencies.c.depends_on_id))
    .where(_of_tasks, _NOT_COMPLETED)
)
_LOCK_OPEN = (
    select(tasks.c.id, tasks.c.status)
    .with_hint(tasks, BY_PRIMARY_KEY, "mysql")
    .where(_ids, _NOT_COMPLETED)
    .with_for_update()
)
_FOLLOW = update(tasks).with_hint(BY_PRIMARY_KEY, dialect_name="mysql").where(_ids).values(has_followers=True)
_MEET = update(dependencies).where(_of_tasks).values(is_met=True)
_WAIT = (
    update(dependencies)
    .where(
        _of_tasks,
        dependencies.c.depends_on_id.in_(bindparam("prerequisite_ids", expanding=True)),
        dependencies.c.on_failure.in_(bindparam("policies", expanding=True)),
    )
    .values(is_met=False)
)
_CHUNK = 500


def requeue_task(tx: Transaction, task_id: int, actor: Actor = PROGRAM, *, extra_attempts: int | None = None) -> Row:
    """Let a failed or cancelled task wait again, and return it.

    All its attempts are given back to it, or `extra_attempts` on top of those that it has had. A deadline that has
    passed is dropped. Raises TaskNotFound, or TaskNotRequeuable.
    """
    with tx.atomic():
        row = tx.one(_LOCK, {"task_id": task_id})
        if row is not None and row["status"] in (TaskStatus.FAILED, TaskStatus.CANCELLED):
            requeue_tasks(tx, [row], extra_attempts=extra_attempts)
            details = {} if extra_attempts is None else {"extra_attempts": extra_attempts}
            write_audit(tx, actor, "requeue_task", f"tasks/{task_id}", details)
            return read_task(tx, task_id)
        task = read_task(tx, task_id)
    # The first run of this very work, whose answer was lost, has requeued it.
    if tx.is_rerun and task["available_at"] == tx.now:
        return task
    raise TaskNotRequeuable


def requeue_tasks(tx: Transaction, rows: list[Row], *, extra_attempts: int | None = None) -> None:
    """Let these tasks wait again, as `requeue_task` does: a handful of statements, however many they are.

    `rows` hold `COLUMNS` of failed or cancelled tasks that the transaction has locked.
    """
    by_type: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_type[row["type_id"]].append(row)
    statement = _FROM_THE_START if extra_attempts is None else _WITH_MORE_ATTEMPTS
    parameters = {"now": tx.now, **({} if extra_attempts is None else {"more": extra_attempts})}
    of_rank: dict[int, int] = {}
    for type_id, of_type in by_type.items():
        task_type = find_type_by_id(tx, type_id)
        ranks = {}
        for row in of_type:
            deadline = row["deadline_at"] if row["deadline_at"] is not None and row["deadline_at"] > tx.now else None
            ranks[row["id"]] = claim_rank(
                task_type.policies, priority=row["priority"], available_at=tx.now, deadline_at=deadline
            )
        expires = first_alarm(task_type.policies, tx.now, None)
        tx.execute(_ranked(statement, ranks), {"task_ids": list(ranks), "expires": expires, **parameters})
        of_rank.update(ranks)
    _enter(tx, [{**row, "claim_rank": of_rank[row["id"]]} for row in rows])


def _ranked(statement: Update, ranks: dict[int, int]) -> Update:
    """Give each task its rank; nearly always they share one."""
    shared = set(ranks.values())
    return statement.values(claim_rank=case(ranks, value=tasks.c.id) if len(shared) > 1 else shared.pop())


def _enter(tx: Transaction, rows: list[Row]) -> None:
    """Put these tasks where they belong: among the claimable, behind what they wait for, or in line."""
    blocked = _wait_for_prerequisites(tx, [row["id"] for row in rows])
    keyed = [row for row in rows if line_key(find_type_by_id(tx, row["type_id"]), row["extras"]) is not None]
    if keyed:
        tx.execute(_FOLLOW, {"task_ids": [row["id"] for row in keyed]})
    if held_back := [row["id"] for row in keyed if row["id"] in blocked]:
        # Requeued before anybody saw to their followers, they still have their places in line.
        leave_line(tx, held_back)
    in_line = [row for row in keyed if row["id"] not in blocked]
    if in_line:
        tx.execute(_STAND_IN_LINE, {"task_ids": [row["id"] for row in in_line]})
        join_line(tx, in_line)


def _wait_for_prerequisites(tx: Transaction, task_ids: list[int]) -> set[int]:
    """Block those tasks that depend on what is not completed, and return them.

    What is not there any more counts as met, and so does what has ended for a task that runs anyway.
    """
    of_tasks = {"task_ids": task_ids}
    if tx.one(_HAS_PREREQUISITES, of_tasks) is None:
        return set()
    edges = tx.all(_OPEN_PREREQUISITES, of_tasks)
    # Locked, so that none of them ends before it is known that others wait for it.
    statuses: dict[int, int] = {}
    open_ids = sorted({edge["depends_on_id"] for edge in edges})
    for start in range(0, len(open_ids), _CHUNK):
        locked = tx.all(_LOCK_OPEN, {"task_ids": open_ids[start : start + _CHUNK]})
        statuses.update((row["id"], row["status"]) for row in locked)
    unfinished = {task_id for task_id, status in statuses.items() if status not in FINISHED}
    tx.execute(_MEET, of_tasks)
    blocked: set[int] = set()
    for prerequisites, policies in ((unfinished, _ANY_POLICY), (set(statuses) - unfinished, _STRICT)):
        holding = [edge for edge in edges if edge["depends_on_id"] in prerequisites and edge["on_failure"] in policies]
        blocked.update(edge["task_id"] for edge in holding)
        held_by = sorted({edge["depends_on_id"] for edge in holding})
        for start in range(0, len(held_by), _CHUNK):
            chunk = held_by[start : start + _CHUNK]
            tx.execute(_WAIT, {**of_tasks, "prerequisite_ids": chunk, "policies": policies})
            tx.execute(_FOLLOW, {"task_ids": chunk})
    if blocked:
        tx.execute(_BLOCK, {"task_ids": sorted(blocked)})
    return blocked
