"""What workers say of tasks, also with the tokens of claims that they had long ago."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.machine.claiming import LEASES, Claiming
from tests.machine.model import Refused
from tests.machine.steps import A_TYPE, NEAR_PICKS, OUTCOMES, TYPES, WORKER, WORKERS, Steps, instant

# How the worker speaks: with its token, without one, with a token or under a name that is not its own.
MANNERS = st.sampled_from(
    ["properly"] * 5 + ["without token", "with another token", "with a tampered token", "with nonsense", "as another"]
)
RESULTS = st.sampled_from([None, 1, {"n": 1}])
REPORTS = st.tuples(
    NEAR_PICKS, MANNERS, st.booleans(), RESULTS, st.sampled_from([True, True, False]), st.sampled_from([None, 0, 20])
)


class Workers(Claiming):
    """Rules of workers: all of them report on what they claimed."""

    @rule(worker_id=WORKER)
    def claim_and_complete(self, worker_id):
        number = len(self.holds)
        self._claim({"worker_id": worker_id, "type_pattern": "%"}, TYPES, None, False, True)
        if len(self.holds) > number:
            self.complete(0, "properly", 1)

    @rule(worker_id=WORKER, retryable=st.booleans(), after=st.sampled_from([None, 0]))
    def claim_and_fail(self, worker_id, retryable, after):
        number = len(self.holds)
        self._claim({"worker_id": worker_id, "type_pattern": "%"}, TYPES, None, False, True)
        if len(self.holds) > number:
            self.fail(0, "properly", retryable, after)

    def _speaker(self, number, manner):
        """Return a task that was claimed, who speaks for it, and with which token."""
        hold = self.pick(number // 2, self._live_holds() if number % 2 else self.holds) or self.pick(number, self.holds)
        if hold is None:
            return 10**9, WORKERS[0], "nonsense"
        task_id, worker_id, token = hold
        if manner == "as another":
            worker_id = next(name for name in WORKERS if name != worker_id)
        tokens = {
            "without token": None,
            "with another token": self.pick(number + 1, self.holds)[2],
            "with a tampered token": f"{token[:-1]}{'1' if token[-1] == '0' else '0'}",
            "with nonsense": "nonsense",
        }
        return task_id, worker_id, tokens.get(manner, token)

    def _live_holds(self):
        """Return those claims of which the task is still being worked on."""
        tasks = self.model.tasks
        return [hold for hold in self.holds if hold[0] in tasks and tasks[hold[0]]["status"] == "claimed"]

    def _report(self, verb_name, number, manner, path, body, verb):
        task_id, worker_id, token = self._speaker(number, manner)
        self.speaker = worker_id
        body = {"worker_id": worker_id, "lease_token": token, **body}
        answer = self.send("POST", f"/tasks/{task_id}/{path}", body)
        task = self.expect(verb_name, answer, lambda: verb(task_id, worker_id, token))
        return answer, task

    @precondition(Steps.has_holds)
    @rule(number=NEAR_PICKS, manner=MANNERS, lease_seconds=LEASES)
    def send_heartbeat(self, number, manner, lease_seconds):
        answer, task = self._report(
            *("send_heartbeat", number, manner, "heartbeat", {"lease_seconds": lease_seconds}),
            lambda *speaker: self.model.beat(*speaker, lease_seconds),
        )
        if answer.status == 200:
            self._check_signals(answer.data, task)
            lease_expires_at = None if task is None else instant(task["due_at"])
            assert (answer.data["cancelled"], answer.data["lease_expires_at"]) == (task is None, lease_expires_at)

    @precondition(Steps.has_holds)
    @rule(number=NEAR_PICKS, manner=MANNERS, progress=st.integers(1, 99), result=RESULTS)
    def report_progress(self, number, manner, progress, result):
        partial = {} if result is None else {"result": result}
        answer, task = self._report(
            *("report_progress", number, manner, "progress", {"progress": progress, **partial}),
            lambda *speaker: self.model.beat(*speaker, refuses_cancelled=True, progress=progress, **partial),
        )
        if task is not None:
            self._check_signals(answer.data, task)
            self.check_task(answer.data, task)

    def _check_signals(self, shown, task):
        """Compare what a worker hears beside what it asked for."""
        assert shown["command"] == self.model.commands.get(self.speaker)
        if task is not None:
            assert shown["type_paused"] == (self.model.is_paused or self.model.kind_of(task)["is_paused"])

    @precondition(Steps.has_holds)
    @rule(number=st.integers(0, 3), lease_seconds=LEASES)
    def keep_alive(self, number, lease_seconds):
        self.send_heartbeat(number, "properly", lease_seconds)

    @precondition(Steps.has_holds)
    @rule(number=NEAR_PICKS, manner=MANNERS, result=RESULTS)
    def complete(self, number, manner, result):
        answer, task = self._report(
            *("complete", number, manner, "complete", {"success": True, "result": result}),
            lambda *speaker: self.model.complete(*speaker, result),
        )
        if task is not None:
            assert answer.data["will_retry"] is False
            self.check_task(answer.data, task)

    @precondition(Steps.has_holds)
    @rule(number=st.integers(0, 3), result=RESULTS)
    def complete_the_latest(self, number, result):
        self.complete(number, "properly", result)

    @precondition(Steps.has_holds)
    @rule(number=st.integers(0, 3), result=RESULTS)
    def complete_twice(self, number, result):
        self.complete(number, "properly", result)
        self.complete(number, "properly", result)

    @precondition(Steps.has_holds)
    @rule(
        number=NEAR_PICKS,
        manner=MANNERS,
        retryable=st.sampled_from([True, True, False]),
        after=st.sampled_from([None, 0, 20]),
    )
    def fail(self, number, manner, retryable, after):
        body = {"success": False, "error": "bad", "retryable": retryable, "retry_after_seconds": after}
        answer, task = self._report(
            *("fail", number, manner, "complete", body),
            lambda *speaker: self.model.fail(*speaker, retryable=retryable, retry_after_seconds=after),
        )
        if task is not None:
            assert answer.data["will_retry"] == (task["status"] in ("blocked", "scheduled", "pending"))
            self.check_task(answer.data, task)

    @precondition(Steps.has_holds)
    @rule(number=NEAR_PICKS, manner=MANNERS, delay_seconds=st.sampled_from([0, 0, 30]))
    def release(self, number, manner, delay_seconds):
        answer, task = self._report(
            *("release", number, manner, "release", {"delay_seconds": delay_seconds}),
            lambda *speaker: self.model.release(*speaker, delay_seconds),
        )
        if task is not None:
            self.check_task(answer.data, task)

    def _reports(self, drawn):
        """Return the reports of one worker, the first of these, and its id."""
        reports, speaker = [], None
        for number, manner, success, result, retryable, after in drawn:
            task_id, worker_id, token = self._speaker(number, manner)
            speaker = speaker or worker_id
            report = {"id": task_id, "lease_token": token, "success": success}
            how = {"result": result} if success else {"retryable": retryable, "retry_after_seconds": after}
            reports.append({**report, "result": None, "retryable": True, "retry_after_seconds": None, **how})
        return speaker or WORKERS[0], reports

    def _check_verdicts(self, rule_name, shown, verdicts):
        for each, verdict in zip(shown, verdicts, strict=True):
            if isinstance(verdict, Refused):
                assert (each["success"], each.get("code")) == (False, verdict.code), each
                OUTCOMES[rule_name, verdict.code] += 1
            else:
                assert (each["success"], each.get("status")) == (True, verdict), each
                OUTCOMES[rule_name, verdict] += 1

    @precondition(Steps.has_holds)
    @rule(drawn=st.lists(REPORTS, min_size=1, max_size=4))
    def complete_batch(self, drawn):
        worker_id, reports = self._reports(drawn)
        answer = self.send("POST", "/tasks/batch/complete", {"worker_id": worker_id, "results": reports})
        verdicts = self.expect("complete_batch", answer, lambda: self.model.report_batch(worker_id, reports))
        self._check_verdicts("complete_batch: a report", answer.data["results"], verdicts)

    @rule(
        drawn=st.lists(REPORTS, max_size=3),
        types=st.none() | st.lists(A_TYPE, min_size=1, max_size=3, unique=True),
        max_tasks=st.integers(1, 4),
        does=st.booleans(),
    )
    def exchange(self, drawn, types, max_tasks, does):
        worker_id, reports = self._reports(drawn)
        claim = None if types is None else {"types": types, "max_tasks": max_tasks}
        order = self._order({"worker_id": worker_id}, tuple(types or ()), None, False, does, max_tasks)
        body = {"worker_id": worker_id, "results": reports, "claim": claim}
        answer = self.send("POST", "/tasks/batch/exchange", body)

        def verb():
            for name in order.types:
                self.model.find_type(name)
            verdicts = self.model.report_batch(worker_id, reports)
            return verdicts, ([] if claim is None else self.model.claim(order))

        outcome = self.expect("exchange", answer, verb)
        if outcome is not None:
            self._check_verdicts("exchange: a report", answer.data["results"], outcome[0])
            OUTCOMES["exchange: tasks", str(len(outcome[1]))] += 1
            self.note_claims(answer.data["tasks"], outcome[1])
