"""Hypothesis drives the verbs in any order: every step of a task must be one that the lifecycle allows."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.errors import QueueError
from app.lifecycle import FINISHED, TRANSITIONS, TaskStatus
from app.queue.attempts import list_attempts
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.heartbeat import beat
from app.queue.release import release_task
from app.queue.tasks import read_page
from tests.support.factories import Queue

MAX_ATTEMPTS = 2
WORKERS = st.sampled_from(["ann", "bob"])
HOLDS = st.integers(0, 7)
# Each run of the machine has a type of its own; addresses are given again to what comes later.
TYPE_NUMBERS = count(1)


@dataclass(frozen=True)
class Hold:
    """A claim that a worker remembers, whether it still holds or not."""

    task_id: int
    worker_id: str
    lease_token: str


class Lifecycle(RuleBasedStateMachine):
    """Workers that remember every claim they ever had, and report on any of them at any time."""

    queue: Queue
    clock = None

    @initialize()
    def register(self):
        self.name = f"type {next(TYPE_NUMBERS)}"
        self.kind = self.queue.register(
            self.name, max_attempts=MAX_ATTEMPTS, lease_seconds=60, retry_delay_seconds=10, dedupe="never"
        )
        self.holds: list[Hold] = []
        self.statuses: dict[int, TaskStatus] = {}
        self.results: dict[int, object] = {}
        self.live: dict[int, str] = {}

    @rule(delay=st.sampled_from([0, 30]), deadline=st.sampled_from([None, 45, 200]), priority=st.integers(-1, 1))
    def create(self, delay, deadline, priority):
        deadline_at = None if deadline is None else self.clock.instant + timedelta(seconds=deadline)
        task = self.queue.create(self.name, {}, delay_seconds=delay, deadline_at=deadline_at, priority=priority)
        self.statuses[task["id"]] = TaskStatus(task["status"])

    @rule(worker_id=WORKERS, sort_by=st.sampled_from([None, "id"]))
    def claim(self, worker_id, sort_by):
        pending = self._pending()
        task = self.queue.claim(self.kind, worker_id=worker_id, sort_by=sort_by)
        if task is None:
            assert not pending
            return
        assert task["id"] in pending
        if sort_by is None:
            assert task["claim_rank"] == min(pending.values())
        self.holds.append(Hold(task["id"], worker_id, task["lease_token"]))
        self.live[task["id"]] = task["lease_token"]

    def _pending(self):
        rows = self._rows()
        return {
            row["id"]: row["claim_rank"]
            for row in rows
            if row["status"] == TaskStatus.PENDING and (row["due_at"] is None or row["due_at"] > self.clock.instant)
        }

    @rule(seconds=st.sampled_from([1, 11, 61, 100]), does=st.booleans())
    def pass_time(self, seconds, does):
        self.clock.advance(seconds=seconds)
        if does:
            while self.queue.do(do_what_is_due):
                pass

    def _report(self, verb, hold_number, with_token, **report):
        if not self.holds:
            return None
        hold = self.holds[hold_number % len(self.holds)]
        token = hold.lease_token if with_token else None
        try:
            self.queue.do(verb, hold.task_id, worker_id=hold.worker_id, lease_token=token, **report)
        except QueueError:
            return None
        return hold

    @rule(hold=HOLDS, with_token=st.booleans(), result=st.integers())
    def complete(self, hold, with_token, result):
        before = dict(self.results)
        done = self._report(complete_task, hold, with_token, result=result)
        if done is not None:
            if with_token:
                # Only the latest claim of a task may ever speak for it.
                assert self.live[done.task_id] == done.lease_token
            self.results.setdefault(done.task_id, result)
        for task_id, first in before.items():
            assert self.results[task_id] == first

    @rule(hold=HOLDS, with_token=st.booleans(), retryable=st.booleans())
    def fail(self, hold, with_token, retryable):
        self._report(fail_task, hold, with_token, error="bad", retryable=retryable, retry_after_seconds=None)

    @rule(hold=HOLDS, with_token=st.booleans())
    def release(self, hold, with_token):
        self._report(release_task, hold, with_token, delay_seconds=0)

    @rule(hold=HOLDS, with_token=st.booleans())
    def send_heartbeat(self, hold, with_token):
        self._report(beat, hold, with_token, lease_seconds=None)

    @rule(number=st.integers(0, 7))
    def cancel(self, number):
        if self.statuses:
            task_id = sorted(self.statuses)[number % len(self.statuses)]
            try:
                self.queue.do(cancel_task, task_id)
            except QueueError:
                assert self._row(task_id)["status"] in FINISHED

    def _rows(self):
        return self.queue.do(read_page, limit=1000, type_name=self.name, include=["result"])[0]

    def _row(self, task_id):
        return next(row for row in self._rows() if row["id"] == task_id)

    @invariant()
    def every_step_is_allowed(self):
        for row in self._rows() if hasattr(self, "name") else []:
            now, before = TaskStatus(row["status"]), self.statuses[row["id"]]
            # One rule may take several steps: a round of housekeeping wakes and then gives up.
            assert now == before or _is_reachable(before, now), f"{before.word} became {now.word}"
            self.statuses[row["id"]] = now
            assert row["attempts"] <= row["max_attempts"] == MAX_ATTEMPTS
            assert (now == TaskStatus.FAILED) == (row["failure_reason"] is not None)
            assert (now in FINISHED) == (row["completed_at"] is not None)
            if now == TaskStatus.COMPLETED:
                assert row["result"] == self.results[row["id"]]
            if now == TaskStatus.CLAIMED:
                assert row["lease_token"] == self.live[row["id"]]
            ends = [a["outcome"] for a in self.queue.do(list_attempts, row["id"])]
            counted = len([outcome for outcome in ends if outcome != "released"])
            assert counted <= row["attempts"] <= counted + 1


def _is_reachable(start: TaskStatus, end: TaskStatus) -> bool:
    seen = {start}
    waiting = [start]
    while waiting:
        for following in TRANSITIONS[waiting.pop()] - seen:
            seen.add(following)
            waiting.append(following)
    return end in seen


@pytest.mark.parametrize(("examples", "steps"), [(25, 40)])
def test_every_step_of_a_task_is_one_that_the_lifecycle_allows(database, clock, database_kind, examples, steps):
    if database_kind == "mariadb":
        examples //= 3

    class OnThisDatabase(Lifecycle):
        queue = Queue(database)

    OnThisDatabase.clock = clock
    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
