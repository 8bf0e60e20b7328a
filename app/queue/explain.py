"""Explain: why is this task not being worked on, and what would change that?"""

from sqlalchemy import bindparam, select

from app.lifecycle import FailureReason, TaskStatus
from app.queue.explain_blocked import explain_blocked
from app.queue.explain_pending import explain_pending
from app.queue.explanation import (
    BEING_WORKED_ON,
    DUE,
    FINISHED,
    NOT_BEFORE_ITS_TIME,
    WAITS_FOR_RETRY,
    Explanation,
)
from app.queue.leases import RELEASED
from app.queue.task_types import read_type_by_id
from app.queue.tasks import read_task
from app.queue.wording import at, quoted, when
from app.storage.database import Row, Transaction
from app.storage.models import attempts

_LATEST_ATTEMPT = (
    select(attempts.c.number, attempts.c.outcome, attempts.c.worker_id, attempts.c.error_message)
    .where(attempts.c.task_id == bindparam("task_id"))
    .order_by(attempts.c.id.desc())
    .limit(1)
)


def explain_task(tx: Transaction, task_id: int) -> tuple[Row, Explanation]:
    """Return the task and why it is not being worked on; raises TaskNotFound.

    It is what holds at this moment: the present pauses, limits and lines, and not what may come ahead of it.
    """
    task = read_task(tx, task_id)
    status = TaskStatus(task["status"])
    if status == TaskStatus.PENDING:
        return task, explain_pending(tx, read_type_by_id(tx, task["type_id"]), task)
    if status == TaskStatus.BLOCKED:
        return task, explain_blocked(tx, read_type_by_id(tx, task["type_id"]), task)
    if status == TaskStatus.SCHEDULED:
        return task, _explain_scheduled(tx, task)
    if status == TaskStatus.CLAIMED:
        return task, _explain_claimed(tx, task)
    return task, _explain_finished(tx, task, status)


def _explain_scheduled(tx: Transaction, task: Row) -> Explanation:
    if task["due_at"] <= tx.now:
        return Explanation(
            reason=DUE,
            sentence=f"The time of task {task['id']} came at {at(task['due_at'], tx.now)}, and it is about to be put "
            "in line.",
            what_would_change_it="Nothing: the next request to the server puts it in line.",
            until=task["due_at"],
        )
    may_begin = f"may begin at {when(task['available_at'], tx.now)}"
    gives_up = task["due_at"] < task["available_at"]
    if gives_up:
        may_begin += f", but its deadline comes before that, at {at(task['due_at'], tx.now)}"
    attempt = tx.one(_LATEST_ATTEMPT, {"task_id": task["id"]})
    helps = "Time alone: at its deadline it fails." if gives_up else "Time alone: it is put in line then."
    reason = NOT_BEFORE_ITS_TIME
    if attempt is None:
        sentence = f"Task {task['id']} was given a time before which it is not begun; it {may_begin}."
    elif attempt["outcome"] == RELEASED:
        sentence = f"`{attempt['worker_id']}` gave task {task['id']} back for a while; it {may_begin}."
    else:
        reason = WAITS_FOR_RETRY
        sentence = (
            f"Attempt {attempt['number']} of {task['max_attempts']} of task {task['id']} failed with "
            f"{quoted(attempt['error_message'])}; the next {may_begin}."
        )
    return Explanation(reason=reason, sentence=sentence, what_would_change_it=helps, until=task["due_at"])


def _explain_claimed(tx: Transaction, task: Row) -> Explanation:
    attempt = f"attempt {task['attempts']} of {task['max_attempts']}"
    has_more = task["attempts"] < task["max_attempts"]
    lease_ends = at(task["due_at"], tx.now)
    if task["due_at"] <= tx.now:
        follows = "puts it back in line" if has_more else "gives it up, for this was its last attempt"
        return Explanation(
            reason=DUE,
            sentence=f"The lease of `{task['claimed_by']}` on task {task['id']} ended at {lease_ends} without a word "
            f"({attempt}).",
            what_would_change_it=f"Its worker still reports on it; otherwise the next request to the server {follows}.",
            until=task["due_at"],
            held_by=(task,),
        )
    follows = "it is put back in line then" if has_more else "it is given up then, for this is its last attempt"
    progress = f", {task['progress']} % done" if task["progress"] else ""
    return Explanation(
        reason=BEING_WORKED_ON,
        sentence=f"`{task['claimed_by']}` has been working on task {task['id']} since {at(task['claimed_at'], tx.now)} "
        f"({attempt}{progress}); its lease lasts until {lease_ends}.",
        what_would_change_it=f"Its worker reports on it; without a word from it {follows}.",
        until=task["due_at"],
        held_by=(task,),
    )


def _explain_finished(tx: Transaction, task: Row, status: TaskStatus) -> Explanation:
    ended = at(task["completed_at"], tx.now)
    subject = f"Task {task['id']}"
    if status == TaskStatus.COMPLETED:
        sentence = (
            f"{subject} was completed by `{task['claimed_by']}` at {ended}, on attempt {task['attempts']} of "
            f"{task['max_attempts']}."
        )
        helps = "Nothing: it is done. To have the work done again, create another task."
    elif status == TaskStatus.CANCELLED:
        sentence = f"{subject} was cancelled at {ended}."
        helps = "Requeue it to have it done after all."
    else:
        sentence = f"{subject} failed at {ended}: {_why_it_died(task)}."
        helps = "Requeue it to have it tried again."
    return Explanation(reason=FINISHED, sentence=sentence, what_would_change_it=helps)


def _why_it_died(task: Row) -> str:
    error = quoted(task["error_message"])
    most = task["max_attempts"]
    reason = task["failure_reason"]
    if reason == FailureReason.NOT_RETRYABLE:
        return f"its worker said on attempt {task['attempts']} of {most} that no further one can succeed, with {error}"
    if reason == FailureReason.LEASE_EXPIRED:
        return f"the lease of attempt {task['attempts']} of {most} ended without a word, and it was the last"
    if reason == FailureReason.DEPENDENCY_FAILED:
        return "a task that it depends on did not complete"
    if reason == FailureReason.DEADLINE_PASSED:
        return "no further attempt could begin in time" if task["attempts"] else "nobody began it in time"
    if task["attempts"] <= 1:
        return f"its only attempt failed with {error}"
    return f"all {task['attempts']:,} attempts are used up, and the last failed with {error}"
