"""Report a batch: how many attempts ended, with a verdict for each, by the rules of complete.py and fail.py."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from app.errors import Invalid, QueueError, TaskNotFound
from app.lifecycle import TaskStatus
from app.queue.complete import was_completed_so
from app.queue.end_batch import Failure, Success, complete_batch, fail_batch
from app.queue.fail import next_state
from app.queue.follow import follow_up
from app.queue.leases import (
    FAILED,
    TAKEN_OVER,
    check_holder,
    find_attempts,
    is_said_again,
    keep_late_reports,
    may_be_said_again,
    read_token,
    was_not_taken_over,
)
from app.queue.parameters import check_result
from app.queue.task_types import TaskType, find_type_by_id, get_type
from app.queue.tasks import LIGHT
from app.storage.database import Row, Transaction
from app.storage.hints import BY_PRIMARY_KEY
from app.storage.models import tasks

MAX_REPORTS = 100

_HELD = (
    select(*LIGHT)
    .with_hint(tasks, BY_PRIMARY_KEY, "mysql")
    .where(tasks.c.id.in_(bindparam("task_ids", expanding=True)))
    .order_by(tasks.c.id)
    .with_for_update()
)
_STATUSES = (
    select(tasks.c.id, tasks.c.status)
    .with_hint(tasks, BY_PRIMARY_KEY, "mysql")
    .where(tasks.c.id.in_(bindparam("task_ids", expanding=True)))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How one attempt ended, as its worker says."""

    task_id: int
    lease_token: str | None
    is_success: bool
    result: Any = None
    error: str | None = None
    error_details: str | None = None
    retryable: bool = True
    retry_after_seconds: float | None = None

    def kept(self) -> Row:
        """Return what is kept of it when it comes too late."""
        if self.is_success:
            return {"success": True, "result": self.result}
        return {"success": False, "error": self.error, "error_details": self.error_details}


# The status that the task now has, or why the report was refused.
Verdict = TaskStatus | QueueError


def apply_reports(tx: Transaction, worker_id: str, reports: Sequence[Report]) -> list[Verdict]:
    """Apply each report that the worker may make, and return a verdict for each, in their order.

    None hurts another. Of two that contradict each other on one task the first counts. Saying the same again with the
    same tokens changes nothing and gets the same verdicts.
    """
    first: dict[int, Report] = {}
    for report in reports:
        first.setdefault(report.task_id, report)
    verdicts = _complete_at_once(tx, worker_id, first.values())
    left = [report for report in first.values() if report.task_id not in verdicts]
    if left:
        verdicts.update(_DecidedOneByOne(tx, worker_id, left).verdicts)
    return [
        verdicts[report.task_id] if _is_same(report, first[report.task_id]) else _reported_twice() for report in reports
    ]


def _is_same(report: Report, first: Report) -> bool:
    # To compare all that they say takes longer.
    return report is first or report == first


def _reported_twice() -> Invalid:
    problem = "Another report of this request says something else about the task, and comes first."
    return Invalid(problem, sentence="Task is reported twice", details=[{"field": "id", "problem": problem}])


def _complete_at_once(tx: Transaction, worker_id: str, reports: Iterable[Report]) -> dict[int, Verdict]:
    """Complete what can be completed without a look: one guarded update for each type, when it hits every task."""
    verdicts: dict[int, Verdict] = {}
    by_type: dict[int, list[Success]] = defaultdict(list)
    types: dict[int, TaskType | None] = {}
    followed = set()
    for report in reports:
        lease = read_token(report.lease_token) if report.is_success else None
        if lease is None:
            continue
        if lease.type_id not in types:
            # A token that was made up may name a type that does not exist.
            types[lease.type_id] = get_type(tx, lease.type_id)
        task_type = types[lease.type_id]
        if task_type is None:
            continue
        try:
            check_result(task_type.result_schema, report.result)
        except QueueError as error:
            verdicts[report.task_id] = error
        else:
            by_type[task_type.id].append(Success(report.task_id, str(report.lease_token), report.result))
            if lease.has_followers:
                followed.add(report.task_id)
    for type_id, successes in by_type.items():
        if complete_batch(tx, find_type_by_id(tx, type_id), worker_id, successes) == len(successes):
            verdicts.update({success.task_id: TaskStatus.COMPLETED for success in successes})
            if ended := [success.task_id for success in successes if success.task_id in followed]:
                follow_up(tx, ended)
    return verdicts


class _DecidedOneByOne:
    """Reports that need a look at their tasks: these are held while each is decided, and then changed together."""

    def __init__(self, tx: Transaction, worker_id: str, reports: Sequence[Report]) -> None:
        self._tx = tx
        self._worker_id = worker_id
        self._successes: dict[int, list[Success]] = defaultdict(list)
        self._failures: list[Failure] = []
        self._too_late: dict[int, Row] = {}
        self.verdicts: dict[int, Verdict] = {}
        with tx.atomic():
            held = tx.all(_HELD, {"task_ids": [report.task_id for report in reports]})
            self._rows = {task["id"]: task for task in held}
            self._find_attempts(reports)
            for report in reports:
                try:
                    self.verdicts[report.task_id] = self._decide(report)
                except QueueError as error:
                    self.verdicts[report.task_id] = error
            self._write()

    def _find_attempts(self, reports: Sequence[Report]) -> None:
        """Find the attempts of those who may say something again, or too late."""
        claims = []
        for report in reports:
            task = self._rows.get(report.task_id)
            if task is None:
                continue
            is_holder = task["claimed_by"] == self._worker_id and task["status"] == TaskStatus.CLAIMED
            if not is_holder or may_be_said_again(self._tx, task, report.lease_token):
                claims.append((report.task_id, report.lease_token))
        self._attempts = find_attempts(self._tx, self._worker_id, claims)

    def _decide(self, report: Report) -> TaskStatus:
        """Return the status that the task will have; raises what the verbs for one task raise."""
        task = self._rows.get(report.task_id)
        if task is None:
            raise TaskNotFound
        return self._complete(task, report) if report.is_success else self._fail(task, report)

    def _complete(self, task: Row, report: Report) -> TaskStatus:
        if was_completed_so(self._tx, task, self._worker_id, report.lease_token):
            return TaskStatus.COMPLETED
        if not was_not_taken_over(task, self._worker_id, report.lease_token):
            self._check_holder(task, report)
        check_result(find_type_by_id(self._tx, task["type_id"]).result_schema, report.result)
        self._successes[task["type_id"]].append(Success(task["id"], task["lease_token"], report.result))
        return TaskStatus.COMPLETED

    def _fail(self, task: Row, report: Report) -> TaskStatus:
        token = report.lease_token
        is_known = may_be_said_again(self._tx, task, token) and is_said_again(
            self._tx, self._attempts.get((task["id"], token)), token, FAILED
        )
        if is_known or was_not_taken_over(task, self._worker_id, token):
            return TaskStatus(task["status"])
        self._check_holder(task, report)
        state = next_state(self._tx, task, report.retryable, report.retry_after_seconds)
        self._failures.append(Failure(task, state, report.error, report.error_details))
        return TaskStatus(state["status"])

    def _check_holder(self, task: Row, report: Report) -> None:
        try:
            check_holder(task, self._worker_id, report.lease_token)
        except TAKEN_OVER:
            attempt = self._attempts.get((task["id"], report.lease_token))
            if attempt is not None:
                self._too_late[attempt["id"]] = report.kept()
            raise

    def _write(self) -> None:
        for type_id, successes in self._successes.items():
            complete_batch(self._tx, find_type_by_id(self._tx, type_id), self._worker_id, successes)
            if ended := [success.task_id for success in successes if self._rows[success.task_id]["has_followers"]]:
                follow_up(self._tx, ended)
        if self._failures:
            fail_batch(self._tx, self._failures)
            self._look_again()
        if self._too_late:
            keep_late_reports(self._tx, self._too_late)

    def _look_again(self) -> None:
        """Tell the statuses of those tasks that were to be claimable at once and may stand in line now."""
        entered = [
            failure.task["id"]
            for failure in self._failures
            if failure.task["has_followers"] and failure.next_state["status"] == TaskStatus.PENDING
        ]
        if entered:
            for row in self._tx.all(_STATUSES, {"task_ids": entered}):
                self.verdicts[row["id"]] = TaskStatus(row["status"])
