"""What people do to tasks: cancel, requeue and purge them, one or many, and change their priority."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.machine.model import Refused
from tests.machine.model.base import UNFINISHED
from tests.machine.steps import NEAR_PICKS, OUTCOMES, PICKS, TYPE, WORKER, Steps, instant

REASONS = st.sampled_from(["attempts_exhausted", "not_retryable", "deadline_passed", "lease_expired"])
# Most filters alone, so that they fit something now and then.
DEAD_LETTERS = st.one_of(
    st.just({}),
    *(st.fixed_dictionaries({name: one}) for name, one in {"type": TYPE, "failure_reason": REASONS}.items()),
    st.fixed_dictionaries({}, optional={"type": TYPE, "worker_id": WORKER, "is_old": st.booleans()}),
)
_SOME_STATUSES = st.lists(st.sampled_from(UNFINISHED), min_size=1, max_size=2, unique=True)
# To cancel all leaves little to do, so that is seldom.
TO_CANCEL = st.one_of(
    st.fixed_dictionaries({"type": TYPE, "statuses": _SOME_STATUSES}),
    st.fixed_dictionaries({"type": TYPE, "statuses": _SOME_STATUSES}),
    st.fixed_dictionaries({"statuses": _SOME_STATUSES}),
    st.fixed_dictionaries({"type": TYPE}),
    st.just({}),
)


class People(Steps):
    """Rules of those who look after tasks."""

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

    @precondition(Steps.has_dead_letters)
    @rule(number=PICKS, extra_attempts=st.sampled_from([None, None, 2]))
    def requeue_dead_letter(self, number, extra_attempts):
        dead = [task["id"] for task in self.model.tasks.values() if task["status"] == "failed"]
        self._requeue(self.pick(number, dead), extra_attempts)

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
