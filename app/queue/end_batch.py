"""End a batch: what reports on many tasks change, in one update for each kind of change."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, bindparam, case, update

from app.lifecycle import TaskStatus
from app.queue.attempts import add_ends
from app.queue.complete import COMPLETE, COMPLETED, MAY_COMPLETE
from app.queue.fail import LET_GO, next_alarm, tell_followers
from app.queue.finish import FINISH, finish_parameters
from app.queue.leases import FAILED
from app.queue.task_types import TaskType, find_type_by_id
from app.storage.by_id import by_id
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.hints import BY_PRIMARY_KEY
from app.storage.models import tasks
from app.storage.prepared import Prepared

_UPDATE = update(tasks).with_hint(BY_PRIMARY_KEY, dialect_name="mysql")


class Success(NamedTuple):
    """A task that is done, with the token of its claim."""

    task_id: int
    token: str
    result: Any


class Failure(NamedTuple):
    """A task whose present attempt has failed, and what `next_state` says of it."""

    task: Row
    next_state: Row
    error: str | None
    error_details: str | None


def complete_batch(tx: Transaction, task_type: TaskType, worker_id: str, successes: Sequence[Success]) -> int:
    """Complete those of these tasks of one type which the worker may complete, and return how many these were."""
    holder = {"worker": worker_id, **finish_parameters(task_type, tx.now)}
    if len(successes) == 1:
        [(task_id, token, result)] = successes
        return tx.changes(COMPLETE, {"task_id": task_id, "token": token, "outcome": result, **holder})
    for place, (task_id, token, result) in enumerate(successes):
        holder.update({f"id_{place}": task_id, f"token_{place}": token, f"outcome_{place}": result})
    is_one_claim = len({success.token for success in successes}) == 1
    return tx.changes(_complete_many(len(successes), is_one_claim), holder)


@cache
def _complete_many(number: int, is_one_claim: bool) -> Prepared:
    """Return the statement for so many tasks: made but once, since making it costs as much as running it."""
    ids = [bindparam(f"id_{place}", type_=tasks.c.id.type) for place in range(number)]

    def of_each(name: str, column: Column[Any]) -> ColumnElement[Any]:
        values = {id_: bindparam(f"{name}_{place}", type_=column.type) for place, id_ in enumerate(ids)}
        return case(values, value=tasks.c.id)

    token = bindparam("token_0") if is_one_claim else of_each("token", tasks.c.lease_token)
    held = _UPDATE.where(tasks.c.id.in_(ids), tasks.c.lease_token == token, *MAY_COMPLETE)
    return Prepared(held.values(result=of_each("outcome", tasks.c.result), **COMPLETED))


def fail_batch(tx: Transaction, failures: Sequence[Failure]) -> None:
    """End the present attempts of these tasks, whose rows the transaction holds."""
    add_ends(tx, [(failure.task, failure.error, failure.error_details) for failure in failures], FAILED)
    retried = [failure for failure in failures if failure.next_state["status"] != TaskStatus.FAILED]
    if retried:
        _retry(tx, retried)
    dead = defaultdict(list)
    for failure in failures:
        if failure.next_state["status"] == TaskStatus.FAILED:
            dead[failure.task["type_id"]].append(failure)
    for type_id, of_type in dead.items():
        _give_up(tx, find_type_by_id(tx, type_id), of_type)
    followed = [{**failure.task, **failure.next_state} for failure in failures if failure.task["has_followers"]]
    if followed:
        tell_followers(tx, followed)


def _retry(tx: Transaction, failures: Sequence[Failure]) -> None:
    states = {failure.task["id"]: failure.next_state for failure in failures}
    alarms = {failure.task["id"]: next_alarm(tx, failure.task, failure.next_state) for failure in failures}
    statement = _UPDATE.where(tasks.c.id.in_(list(states))).values(
        status=by_id(tasks.c.status, {task_id: state["status"] for task_id, state in states.items()}),
        available_at=by_id(tasks.c.available_at, {task_id: state["available_at"] for task_id, state in states.items()}),
        due_at=by_id(tasks.c.due_at, alarms),
        error_message=_errors(failures),
        updated_at=bindparam("at", type_=Instant),
        **LET_GO,
    )
    tx.execute(statement, {"at": tx.now})


def _give_up(tx: Transaction, task_type: TaskType, failures: Sequence[Failure]) -> None:
    reasons = {failure.task["id"]: failure.next_state["failure_reason"] for failure in failures}
    statement = _UPDATE.where(tasks.c.id.in_(list(reasons))).values(
        status=int(TaskStatus.FAILED),
        error_message=_errors(failures),
        failure_reason=by_id(tasks.c.failure_reason, reasons),
        **{**FINISH, **LET_GO},
    )
    tx.execute(statement, finish_parameters(task_type, tx.now))


def _errors(failures: Sequence[Failure]) -> ColumnElement[Any]:
    return by_id(tasks.c.error_message, {failure.task["id"]: failure.error for failure in failures})
