"""Fire: what is due of the schedules becomes tasks, one for each instant, whoever and however many do it."""

import hashlib
import logging
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update

from app.errors import (
    InvalidParameters,
    QueueError,
    TaskFinished,
    TaskNotFound,
    TaskTypeInactive,
    TaskTypeNotFound,
    TryAgain,
)
from app.lifecycle import FINISHED
from app.queue.cancel import cancel_task
from app.queue.catch_up import Firing, plan_firing
from app.queue.create_many import create_tasks
from app.queue.new_task import NewTask
from app.queue.schedules import alarm
from app.queue.signals import find_signals
from app.queue.task_types import find_type_by_id
from app.storage.columns import Instant, LongText, instant_text
from app.storage.database import Row, Transaction
from app.storage.models import schedules, tasks
from app.storage.prepared import Prepared

log = logging.getLogger("taskmanager.schedules")

SLICE = 20
TASKS = 100
# So many instants that were missed are looked at in tens of milliseconds.
PASSED_OVER = 1000
# What cannot be fired at all is tried again after this, and meanwhile out of the way of the others.
_PAUSE = timedelta(minutes=10)

_DUE = (
    select(schedules)
    .where(schedules.c.due_at <= bindparam("now", type_=Instant))
    .order_by(schedules.c.due_at)
    .limit(SLICE)
)
# A schedule that was fired or changed meanwhile is as it was seen no longer.
_as_seen = (
    schedules.c.id == bindparam("schedule_id"),
    schedules.c.next_at == bindparam("seen_next", type_=Instant),
    schedules.c.due_at == bindparam("seen_due", type_=Instant),
    schedules.c.updated_at == bindparam("seen_update", type_=Instant),
)
_MOVE_ON = Prepared(
    update(schedules)
    .where(*_as_seen)
    .values(
        next_at=bindparam("then_next", type_=Instant),
        due_at=bindparam("then_due", type_=Instant),
        last_at=bindparam("fired_at", type_=Instant),
    )
)
_TAKE_DOWN = (
    update(schedules)
    .where(schedules.c.id == bindparam("schedule_id"))
    .values(
        last_task_id=bindparam("task_id"),
        created_count=schedules.c.created_count + bindparam("created"),
        skipped_count=schedules.c.skipped_count + bindparam("skipped"),
        error_message=bindparam("error", type_=LongText),
    )
)
_PUT_OFF = (
    update(schedules)
    .where(*_as_seen)
    .values(due_at=bindparam("later", type_=Instant), error_message=bindparam("error", type_=LongText))
)
_STATUS = select(tasks.c.status).where(tasks.c.id == bindparam("task_id"))


def fire_due_schedules(tx: Transaction) -> int:
    """Fire the schedules that are due, at most one slice, and return how many rows were changed.

    Any number of processes may do this at the same time; each schedule is a transaction of its own, and one that
    cannot be fired does not stop the others. While the queue is draining they stay due, and catch up afterwards.
    """
    due = tx.all(_DUE, {"now": tx.now})
    if not due or find_signals(tx).is_draining:
        return 0
    changed = created = passed_over = 0
    for schedule in due:
        if created >= TASKS or passed_over >= PASSED_OVER:
            break
        try:
            firing = plan_firing(schedule, tx.now, most=TASKS - created)
            made = _fire(tx, schedule, firing)
        except TryAgain as error:
            log.info("schedule %s stays due: %s", schedule["id"], error)
            continue
        except Exception as error:
            if tx.may_succeed_later(error):
                raise
            changed += _put_off(tx, schedule, error)
            continue
        passed_over += firing.passed_over
        if made is not None:
            changed += 1 + made
            created += made
    return changed


def _fire(tx: Transaction, schedule: Row, firing: Firing) -> int | None:
    """Move the schedule on, create its tasks, and return how many; None if it is as it was seen no longer."""
    then = alarm(schedule, firing.next_at, firing.following)
    with tx.atomic():
        moved = {"then_next": then["next_at"], "then_due": then["due_at"], "fired_at": firing.last_at}
        if not tx.changes_without_waiting(_MOVE_ON, {**_seen(schedule), **moved}):
            return None
        made: list[int] = []
        error = None
        try:
            made = _create_tasks(tx, schedule, firing.instants)
        except (TaskTypeNotFound, TaskTypeInactive, InvalidParameters) as refused:
            error = refused.shown_sentence
        tx.execute(
            _TAKE_DOWN,
            {
                "schedule_id": schedule["id"],
                "task_id": made[-1] if made else schedule["last_task_id"],
                "created": len(made),
                "skipped": firing.passed_over + len(firing.instants) - len(made),
                "error": error,
            },
        )
        return len(made)


def _create_tasks(tx: Transaction, schedule: Row, instants: list[datetime]) -> list[int]:
    """Create the tasks that the schedule's `overlap` allows, oldest first, and return their ids."""
    previous_id = schedule["last_task_id"]
    if schedule["overlap"] == "skip":
        # The first of several is the previous task of the second, and not finished.
        instants = [] if _is_unfinished(tx, previous_id) else instants[:1]
    elif schedule["overlap"] == "replace":
        # All but the latest would be cancelled as soon as they are there.
        instants = instants[-1:]
    if not instants:
        return []
    type_name = find_type_by_id(tx, schedule["type_id"]).name
    made = []
    for outcome in create_tasks(tx, [_new_task(schedule, type_name, instant) for instant in instants]):
        if isinstance(outcome, QueueError):
            raise outcome
        made.append(int(outcome.task["id"]))
    if schedule["overlap"] == "replace" and previous_id is not None:
        with suppress(TaskFinished, TaskNotFound):
            cancel_task(tx, previous_id)
    return made


def _new_task(schedule: Row, type_name: str, instant: datetime) -> NewTask:
    return NewTask(
        type_name=type_name,
        params=schedule["params"],
        priority=schedule["priority"],
        # Tasks of a schedule are equal on purpose; only for the same instant there is never a second one.
        once=hashlib.sha256(f"schedule {schedule['id']} {instant.isoformat()}".encode()).hexdigest(),
        on_duplicate="return",
        **schedule["extras"],
        extras={"schedule_id": schedule["id"], "scheduled_for": instant_text(instant)},
    )


def _is_unfinished(tx: Transaction, task_id: int | None) -> bool:
    if task_id is None:
        return False
    task = tx.one(_STATUS, {"task_id": task_id})
    return task is not None and task["status"] not in FINISHED


def _put_off(tx: Transaction, schedule: Row, error: Exception) -> int:
    """Let a schedule that cannot be fired wait, with the reason in it; return how many rows were changed."""
    if isinstance(error, QueueError):
        text = error.shown_sentence
        log.warning("schedule %s cannot be fired: %s", schedule["id"], error)
    else:
        text = "Internal error; the server's log has it."
        log.exception("schedule %s cannot be fired", schedule["id"])
    return tx.changes(_PUT_OFF, {**_seen(schedule), "later": tx.now + _PAUSE, "error": text})


def _seen(schedule: Row) -> Row:
    return {
        "schedule_id": schedule["id"],
        "seen_next": schedule["next_at"],
        "seen_due": schedule["due_at"],
        "seen_update": schedule["updated_at"],
    }
