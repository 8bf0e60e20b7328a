"""What people and time do: change types and the queue, requeue, cancel, purge; schedules; housekeeping."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.machine.model import Refused
from tests.machine.model.base import UNFINISHED
from tests.machine.model.housekeeping import JOBS
from tests.machine.steps import (
    A_TYPE,
    NEAR_PICKS,
    OUTCOMES,
    PICKS,
    SCHEMA,
    TYPE,
    TYPES,
    WORKER,
    Steps,
    instant,
)

POLICIES = {
    "max_attempts": [1, 2, 3],
    "retry_delay_seconds": [0, 10],
    "retry_backoff": ["fixed", "linear", "exponential"],
    "retry_for_seconds": [None, None, 100],
    "lease_seconds": [30, 60, 300],
    "attempt_timeout_seconds": [None, None, 45],
    "expires_after_seconds": [None, None, 50, 200],
    "dedupe": ["never", "unfinished", "forever"],
    "dedupe_window_seconds": [None, None, 60],
    "on_duplicate": ["return", "reject", "replace"],
    "claim_order": ["priority", "deadline"],
    "max_concurrency": [None, None, 1, 2, 4],
    "rate_limit": [None, None, None, "2/60", "3/10", "1/5"],
    "key_max_concurrency": [None, 1, 2],
    "key_rate_limit": [None, None, "2/60", "1/10"],
    "retention_seconds": [10**6, 10**6, 1000, 100, 0],
}
CHANGES = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in POLICIES.items()})
# Limits are what is changed most.
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from(POLICIES[name])
        for name in ("max_concurrency", "rate_limit", "key_max_concurrency", "key_rate_limit")
    },
)
SCHEDULES = st.fixed_dictionaries(
    {"type": A_TYPE},
    optional={
        "rule": st.sampled_from([("interval_seconds", 25), ("interval_seconds", 600), ("every_minutes", 5)]),
        "overlap": st.sampled_from(["skip", "queue", "replace"]),
        "catch_up": st.sampled_from(["none", "one", "all"]),
        "catch_up_limit": st.integers(1, 3),
        "priority": st.sampled_from([0, 3]),
        "concurrency_key": st.sampled_from([None, "a"]),
    },
)
REASONS = st.sampled_from(["attempts_exhausted", "not_retryable", "deadline_passed", "lease_expired"])
# Most filters alone, so that they fit something now and then.
DEAD_LETTERS = st.one_of(
    st.just({}),
    *(st.fixed_dictionaries({name: one}) for name, one in {"type": TYPE, "failure_reason": REASONS}.items()),
    st.fixed_dictionaries({}, optional={"type": TYPE, "worker_id": WORKER, "is_old": st.booleans()}),
)
TO_CANCEL = st.fixed_dictionaries(
    {}, optional={"type": TYPE, "statuses": st.lists(st.sampled_from(UNFINISHED), min_size=1, unique=True)}
)


class Admins(Steps):
    """Rules of those who look after the queue, and of time."""

    def register(self, name, given):
        body = {"name": name, "version": "1", "param_schema": SCHEMA, "retry_jitter": 0, **given}
        answer = self.send("POST", "/task-types/register", body)
        type_id = answer.data["id"] if answer.status < 400 else None
        is_new = self.expect("register", answer, lambda: self.model.register(name, given, type_id), (200, 201))
        assert is_new is None or answer.data["created"] == is_new

    @rule(name=TYPE, given=LIMITS)
    def register_again(self, name, given):
        self.register(name, given)

    @rule(name=A_TYPE, given=CHANGES)
    def change_type(self, name, given):
        self._change_type(name, given)

    @rule(name=TYPE, given=LIMITS)
    def change_limits(self, name, given):
        self._change_type(name, given)

    @rule(name=TYPE, flag=st.sampled_from(["is_paused", "is_active"]))
    def switch_type(self, name, flag):
        self._change_type(name, {flag: not self.model.types[name][flag]})

    @precondition(lambda self: any(kind["is_paused"] or not kind["is_active"] for kind in self.model.types.values()))
    @rule()
    def resume_types(self):
        for name in TYPES:
            self._change_type(name, {"is_paused": False, "is_active": True})

    def _change_type(self, name, given):
        answer = self.send("PATCH", f"/task-types/{name.replace(' ', '%20')}", given)
        self.expect("change_type", answer, lambda: self.model.change_type(name, given))

    @rule(
        given=st.fixed_dictionaries(
            {}, optional={name: st.sampled_from([False, False, True]) for name in ("is_paused", "is_draining")}
        )
    )
    def change_queue(self, given):
        answer = self.send("PATCH", "/queue", given)
        for name, value in given.items():
            setattr(self.model, name, value)
        self.expect("change_queue", answer, lambda: None)
        assert answer.data == {"is_paused": self.model.is_paused, "is_draining": self.model.is_draining}

    @precondition(lambda self: self.model.is_paused or self.model.is_draining)
    @rule()
    def resume_queue(self):
        self.change_queue({"is_paused": False, "is_draining": False})

    @precondition(Steps.has_tasks)
    @rule(number=PICKS)
    def cancel(self, number):
        task_id = self.pick_id(number, *UNFINISHED)
        answer = self.send("POST", f"/tasks/{task_id}/cancel")
        self.expect("cancel", answer, lambda: self.model.cancel(task_id))
        self._check(answer, task_id)

    @precondition(Steps.has_tasks)
    @rule(number=PICKS, priority=st.sampled_from([0, 5, 7, -5]))
    def change_priority(self, number, priority):
        task_id = self.pick_id(number, "blocked", "scheduled", "pending")
        answer = self.send("PATCH", f"/tasks/{task_id}", {"priority": priority})
        self.expect("change_priority", answer, lambda: self.model.change_priority(task_id, priority))
        self._check(answer, task_id)

    @precondition(Steps.has_tasks)
    @rule(number=PICKS, extra_attempts=st.sampled_from([None, 1, 2]))
    def requeue(self, number, extra_attempts):
        self._requeue(self.pick_id(number, "failed", "cancelled"), extra_attempts)

    def _requeue(self, task_id, extra_attempts):
        body = {} if extra_attempts is None else {"extra_attempts": extra_attempts}
        answer = self.send("POST", f"/tasks/{task_id}/requeue", body)
        self.expect("requeue", answer, lambda: self.model.requeue(task_id, extra_attempts))
        self._check(answer, task_id)

    @precondition(Steps.has_tasks)
    @rule(number=PICKS)
    def read(self, number):
        task_id = self.pick_id(number)
        answer = self.send("GET", f"/tasks/{task_id}")
        self.expect("read", answer, lambda: self.model.find(task_id))
        self._check(answer, task_id)

    def _check(self, answer, task_id):
        if answer.status == 200:
            self.check_task(answer.data, self.model.tasks[task_id])

    @precondition(Steps.has_tasks)
    @rule(number=PICKS)
    def list_attempts(self, number):
        task_id = self.pick_id(number)
        answer = self.send("GET", f"/tasks/{task_id}/attempts")
        self.expect("list_attempts", answer, lambda: self.model.find(task_id))
        if answer.status == 200:
            shown = [
                (each["number"], each["worker_id"], each["outcome"], each["late_report"] is not None)
                for each in answer.data["attempts"]
            ]
            kept = self.model.attempts[task_id]
            assert shown == [(each["number"], each["worker_id"], each["outcome"], each["is_late"]) for each in kept]

    @precondition(Steps.has_dead_letters)
    @rule(number=PICKS, extra_attempts=st.sampled_from([None, None, 2]))
    def requeue_dead_letter(self, number, extra_attempts):
        dead = [task["id"] for task in self.model.tasks.values() if task["status"] == "failed"]
        self._requeue(self.pick(number, dead), extra_attempts)

    @precondition(Steps.has_dead_letters)
    @rule(number=PICKS)
    def purge(self, number):
        task_id = self.pick_id(number, "failed")
        answer = self.send("DELETE", f"/dead-letters/{task_id}")
        is_removed = self.expect("purge", answer, lambda: self.model.purge(task_id))
        assert is_removed is None or answer.data["is_removed"] == is_removed

    @rule(
        which=DEAD_LETTERS,
        extra_attempts=st.sampled_from([None, None, 1]),
        at_once=st.sampled_from([True, True, False]),
    )
    def requeue_many(self, which, extra_attempts, at_once):
        more = {} if extra_attempts is None else {"extra_attempts": extra_attempts}
        terms = ("requeue_dead_letters", "/dead-letters/requeue")
        self._operate(*terms, self._dead_letters(which), at_once, more)

    @precondition(Steps.has_tasks)
    @rule(numbers=st.lists(PICKS, min_size=1, max_size=4))
    def requeue_by_ids(self, numbers):
        ids = [self.pick_id(number, "failed") for number in numbers]
        self._operate("requeue_dead_letters", "/dead-letters/requeue", {"ids": ids}, True, {})

    @rule(which=DEAD_LETTERS, at_once=st.sampled_from([True, True, False]))
    def purge_many(self, which, at_once):
        self._operate("purge_dead_letters", "/dead-letters/purge", self._dead_letters(which), at_once, {})

    @rule(which=TO_CANCEL, at_once=st.sampled_from([True, True, False]))
    def cancel_many(self, which, at_once):
        self._operate("cancel_tasks", "/tasks/cancel", which or {"all": True}, at_once, {})

    @precondition(lambda self: self.workflow_ids)
    @rule(number=NEAR_PICKS, at_once=st.booleans())
    def cancel_workflow(self, number, at_once):
        workflow_id = self.pick(number, self.workflow_ids)
        if workflow_id is not None:
            which = {"workflow_id": workflow_id}
            is_there = any(task["workflow_id"] == workflow_id for task in self.model.tasks.values())
            path = f"/workflows/{workflow_id}/cancel"
            self._operate("cancel_tasks", path, which, at_once, None, None if is_there else "workflow_not_found")

    def _dead_letters(self, which):
        which = dict(which)
        if which.pop("is_old", False):
            which["failed_before"] = self.model.now
        return which or {"all": True}

    def _operate(self, kind, path, which, at_once, more, refusal=None):
        """Begin an operation; `more` is what the request says beside the filter, None where it says nothing at all."""
        body = None if more is None else {**which, **more}
        if body is not None and "failed_before" in which:
            body["failed_before"] = instant(which["failed_before"])
        self.server.let_operations_run(at_once=at_once)
        answer = self.send("POST", path, body)
        operation_id = answer.data["id"] if answer.status < 400 else None

        def verb():
            if refusal is not None:
                raise Refused(refusal)
            extra_attempts = (more or {}).get("extra_attempts")
            return self.model.begin(kind, which, operation_id, extra_attempts, at_once=at_once)

        operation = self.expect(kind, answer, verb, (200, 202))
        if operation is not None:
            assert answer.status == (202 if operation["status"] == "running" else 200)
            assert (answer.data["status"], answer.data["changed"]) == (operation["status"], operation["changed"])
            OUTCOMES[kind, "changes some" if operation["changed"] else f"changes none, {operation['status']}"] += 1

    @precondition(lambda self: self.model.operations)
    @rule(number=NEAR_PICKS)
    def cancel_operation(self, number):
        known = [operation_id for operation_id in self.model.operations if isinstance(operation_id, int)]
        operation_id = self.pick(number, known) or 10**9
        answer = self.send("POST", f"/operations/{operation_id}/cancel")
        self.expect("cancel_operation", answer, lambda: self.model.cancel_operation(operation_id))

    def _schedule(self, given):
        """Return a schedule as the request says it, and as the model does."""
        given = dict(given)
        name, value = given.pop("rule", (None, None))
        if name is None:
            return given, given
        body = {name: value} if name == "interval_seconds" else {"cron": f"*/{value} * * * *"}
        return {**given, **body}, {**given, name: value}

    @rule(name=st.sampled_from(["first", "second"]), given=SCHEDULES)
    def save_schedule(self, name, given):
        body, given = self._schedule({"rule": ("interval_seconds", 120), **given})
        answer = self.send("POST", "/schedules", {"name": name, "params": {}, **body})
        schedule_id = answer.data["id"] if answer.status < 400 else None
        is_new = self.expect(
            "save_schedule", answer, lambda: self.model.save_schedule(name, given, schedule_id), (200, 201)
        )
        if is_new is not None:
            assert answer.data["created"] == is_new
            self._check_schedule(answer, schedule_id)

    @precondition(lambda self: self.model.schedules)
    @rule(number=NEAR_PICKS, given=SCHEDULES, is_paused=st.sampled_from([None, True, False]))
    def change_schedule(self, number, given, is_paused):
        if is_paused is not None:
            given = {"is_paused": is_paused}
        schedule_id = self.pick(number, list(self.model.schedules)) or 10**9
        body, given = self._schedule(given)
        answer = self.send("PATCH", f"/schedules/{schedule_id}", body)
        self.expect("change_schedule", answer, lambda: self.model.change_schedule(schedule_id, given))
        self._check_schedule(answer, schedule_id)

    def _check_schedule(self, answer, schedule_id):
        if answer.status < 400:
            schedule = self.model.schedules[schedule_id]
            wanted = (instant(schedule["due_at"]), schedule["created"], schedule["skipped"], schedule["last_task_id"])
            shown = tuple(answer.data[name] for name in ("due_at", "created_count", "skipped_count", "last_task_id"))
            assert shown == wanted

    @precondition(lambda self: self.model.schedules)
    @rule(number=st.integers(0, 3))
    def delete_schedule(self, number):
        schedule_id = 10**9 if number == 3 else self.pick(number, list(self.model.schedules))
        answer = self.send("DELETE", f"/schedules/{schedule_id}")
        self.expect("delete_schedule", answer, lambda: self.model.delete_schedule(schedule_id))

    @rule(name=A_TYPE)
    def look_at_type(self, name):
        path = f"/task-types/{name.replace(' ', '%20')}"
        answer = self.send("GET", path)
        kind = self.expect("look_at_type", answer, lambda: self.model.find_type(name))
        if kind is None:
            return
        assert answer.data["usage_count"] == kind["used"], f"used {kind['used']} times"
        wrong = [field for field in POLICIES if answer.data[field] != kind[field]]
        assert not wrong, wrong
        depth = self.send("GET", f"{path}/stats").data["depth"]
        statuses = [task["status"] for task in self.model.tasks.values() if task["type"] == name]
        assert {word: each["count"] for word, each in depth.items()} == {
            word: statuses.count(word) for word in UNFINISHED
        }

    @rule(seconds=st.sampled_from([1, 5, 10, 10, 20, 30, 30, 45, 60, 61, 100]))
    def pass_time(self, seconds):
        self._pass(seconds)

    @rule(seconds=st.sampled_from([300, 1000, 3600]))
    def pass_long_time(self, seconds):
        self._pass(seconds)

    def _pass(self, seconds):
        self.server.clock.advance(seconds=seconds)
        self.model.now += seconds

    @rule()
    def run_housekeeping(self):
        answer = self.send("POST", "/housekeeping/run", {"budget_seconds": 25})
        jobs = [job["name"] for job in answer.data["jobs"]]
        urgent = [name for name in jobs if name in JOBS]
        assert sorted(urgent) == sorted(self.model.due_jobs()), f"{urgent} were done, and not {self.model.due_jobs()}"
        # The order of the jobs is left to chance, so that none is always last; the answer says which it was.
        self.expect("run_housekeeping", answer, lambda: self.model.do_all(jobs))
        assert (answer.data["skipped"], answer.data["has_more"]) == (False, False)
        for name in jobs:
            OUTCOMES["run_housekeeping: a job", name] += 1

    @rule(seconds=st.sampled_from([10, 30, 60, 100, 300]))
    def pass_time_with_housekeeping(self, seconds):
        self._pass(seconds)
        self.run_housekeeping()
