"""Hypothesis drives tasks that wait for each other and in lines: none runs too early, and none waits for nothing."""

from collections import Counter
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.errors import QueueError
from app.lifecycle import FINISHED, TaskStatus
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.line import admit_due, recheck_lines
from app.queue.release import release_task
from app.queue.tasks import read_page
from app.storage.models import line_places
from tests.support.factories import Queue

NUMBERS = st.integers(0, 11)
# Each run of the machine has a type of its own; addresses are given again to what comes later.
TYPE_NUMBERS = count(1)
KEYS = st.sampled_from([None, "a", "b"])


class Followers(RuleBasedStateMachine):
    """Producers, workers, and time, on one type with limits per key."""

    queue: Queue
    clock = None
    policies: dict[str, object] = {}

    @initialize()
    def register(self):
        self.name = f"type {next(TYPE_NUMBERS)}"
        self.limit = 2
        self.terms = {"max_attempts": 2, "lease_seconds": 60, "retry_delay_seconds": 10, "dedupe": "never"}
        self.kind = self._register()
        self.holds = []
        self.depends_on: dict[int, tuple[list[int], str]] = {}

    def _register(self):
        return self.queue.register(self.name, **self.terms, key_max_concurrency=self.limit, **self.policies)

    @rule(
        key=KEYS,
        delay=st.sampled_from([0, 0, 30]),
        on=st.lists(NUMBERS, max_size=2),
        on_failure=st.sampled_from(["fail", "cancel", "run_anyway"]),
        priority=st.integers(-1, 1),
    )
    def create(self, key, delay, on, on_failure, priority):
        known = sorted(self.depends_on)
        prerequisites = sorted({known[number % len(known)] for number in on}) if known else []
        task = self.queue.create(
            self.name,
            {},
            concurrency_key=key,
            delay_seconds=delay,
            depends_on=prerequisites,
            on_dependency_failure=on_failure,
            priority=priority,
        )
        self.depends_on[task["id"]] = (prerequisites, on_failure)

    @rule()
    def claim(self):
        task = self.queue.claim(self.kind)
        if task is not None:
            self.holds.append((task["id"], task["lease_token"]))

    def _report(self, verb, number, **report):
        if self.holds:
            task_id, token = self.holds[number % len(self.holds)]
            try:
                self.queue.do(verb, task_id, worker_id="w1", lease_token=token, **report)
            except QueueError:
                return

    @rule(number=NUMBERS)
    def complete(self, number):
        self._report(complete_task, number, result=None)

    @rule(number=NUMBERS, retryable=st.booleans(), after=st.sampled_from([0, None]))
    def fail(self, number, retryable, after):
        self._report(fail_task, number, error="bad", retryable=retryable, retry_after_seconds=after)

    @rule(number=NUMBERS, delay=st.sampled_from([0, 20]))
    def release(self, number, delay):
        self._report(release_task, number, delay_seconds=delay)

    @rule(number=NUMBERS)
    def cancel(self, number):
        if self.depends_on:
            known = sorted(self.depends_on)
            try:
                self.queue.do(cancel_task, known[number % len(known)])
            except QueueError:
                return

    @rule(limit=st.integers(1, 3))
    def change_limit(self, limit):
        try:
            self.limit = limit
            self._register()
        except QueueError:
            self.limit = None
            self._register()
        self.queue.do(recheck_lines, self.kind)
        self.do_what_is_due()

    @rule(seconds=st.sampled_from([1, 11, 61]))
    def pass_time(self, seconds):
        self.clock.advance(seconds=seconds)

    @rule()
    def do_what_is_due(self):
        while self.queue.do(do_what_is_due) + self.queue.do(admit_due):
            pass
        rows = self._rows()
        places = {row["task_id"]: row for row in self.queue.do(lambda tx: tx.all(line_places.select()))}
        for task_id, row in rows.items():
            prerequisites, _ = self.depends_on[task_id]
            waits = any(rows[other]["status"] not in FINISHED for other in prerequisites)
            is_blocked = row["status"] == TaskStatus.BLOCKED
            assert not row["has_followers"] or row["status"] not in FINISHED
            assert (task_id in places) == (
                self._key(row) is not None
                and row["status"] in (TaskStatus.BLOCKED, TaskStatus.PENDING, TaskStatus.CLAIMED)
                and not waits
            )
            if is_blocked and not waits:
                # It stands in the line of its key, which has no room.
                assert self.limit is not None or self.policies
                taken = self._taken(rows)[self._key(row)]
                assert taken >= (self.limit or 1) or self._pending(rows)[self._key(row)] > 0

    def _key(self, row):
        key = (row["extras"] or {}).get("concurrency_key")
        return "" if key is None and self.policies.get("key_order") else key

    def _taken(self, rows):
        admitted = (TaskStatus.PENDING, TaskStatus.CLAIMED)
        return Counter(self._key(row) for row in rows.values() if row["status"] in admitted)

    def _pending(self, rows):
        return Counter(self._key(row) for row in rows.values() if row["status"] == TaskStatus.PENDING)

    def _rows(self):
        rows = self.queue.do(read_page, limit=1000, type_name=self.name)[0]
        return {row["id"]: row for row in rows}

    @invariant()
    def nobody_runs_too_early_or_too_many(self):
        if not hasattr(self, "name"):
            return
        rows = self._rows()
        for task_id, row in rows.items():
            prerequisites, on_failure = self.depends_on[task_id]
            ends = [TaskStatus(rows[other]["status"]) for other in prerequisites]
            if row["status"] in (TaskStatus.PENDING, TaskStatus.CLAIMED, TaskStatus.COMPLETED):
                allowed = FINISHED if on_failure == "run_anyway" else (TaskStatus.COMPLETED,)
                assert all(end in allowed for end in ends)
        if self.limit is not None:
            for key, number in self._taken(rows).items():
                assert key is None or number <= self.limit


@pytest.mark.parametrize("policies", [{}, {"key_order": "round_robin"}], ids=str)
def test_nobody_runs_too_early_and_nobody_is_forgotten(database, clock, database_kind, policies):
    class OnThisDatabase(Followers):
        queue = Queue(database)

    OnThisDatabase.clock = clock
    OnThisDatabase.policies = policies
    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            max_examples=30 if database_kind == "sqlite" else 10,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
