"""The checks of the torture: a run in which all is well passes, and each fault that is put into it is found."""

import pytest

from app.lifecycle import TaskStatus
from bench.torture.findings import Findings
from bench.torture.invariants import Checker
from bench.torture.journal import Journal
from bench.torture.ledger import Ledger
from bench.torture.limit_checks import check_concurrency, check_rate
from bench.torture.records import Attempt, Record, Schedule

# The seconds of a made-up run are counted from here, as the clients' clocks and the API tell them.
NOON = 1_767_268_800.0


def instant(seconds: float) -> str:
    """Write so many seconds after noon as the API does."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"2026-01-01T12:{whole // 60:02d}:{whole % 60:02d}.{milliseconds:03d}Z"


class Run:
    """A made-up run: what clients wrote down, and what the tables hold. Everything in it is well."""

    def __init__(self):
        self.lines = []
        self.edges = {}
        self.schedules = [Schedule(1, 10, NOON, NOON + 30, 3, 0)]
        self.records = {}
        self._say("create", "k1", "/tasks/batch", {"tasks": [{}, {}]})
        self._say("created", "k1", [1, 2])
        self._say("create", "k2", "/tasks", {"dedupe_key": "u"})
        self._say("created", "k2", [3])
        self._say("create", "k3", "/tasks", {"type": "step"})
        self._say("created", "k3", [7])
        # Task 1 expires in the hands of ann and is completed by bob, after whom ann comes too late.
        self.claim(1, "ann", "t1", at=1)
        self.end(1, "t1", "complete", at=20)
        self.claim(1, "bob", "t2", at=5)
        self.end(1, "t2", "complete", at=6)
        self.verdict(1, "t2", "complete", "completed", at=7)
        self.verdict(1, "t1", "complete", "lease_lost", at=21)
        expired = Attempt(1, "t1", NOON + 1, "expired")
        self.record(1, "plain", "completed", "t2", "bob", key="k1", place=0, attempts=2, tries=[expired])
        # Task 2 fails once, is released once, and is cancelled.
        self.claim(2, "ann", "t3", at=1)
        self.end(2, "t3", "fail", at=2)
        self.verdict(2, "t3", "fail", "pending", at=3)
        self.claim(2, "ann", "t4", at=4)
        self.end(2, "t4", "release", at=5)
        self.verdict(2, "t4", "release", "pending", at=6)
        self._say("cancel", NOON + 7, 2)
        self._say("done", "cancel", NOON + 8, 2, "cancelled")
        tries = [Attempt(1, "t3", NOON + 1, "failed"), Attempt(2, "t4", NOON + 4, "released")]
        self.record(2, "plain", "cancelled", None, None, key="k1", place=1, attempts=1, tries=tries)
        # Task 3 is the only one with its dedupe_key.
        self.done(3, "unique", "t5", at=1)
        self.records[3].dedupe_key = "u"
        # Tasks 4 to 6 are those of the schedule.
        for number in range(3):
            self.done(4 + number, "tick", f"s{number}", at=10 * number + 1)
            self.records[4 + number].extras = {"schedule_id": 1, "scheduled_for": instant(10 * number)}
        # Task 7 waits for task 1.
        self.edges[7] = [(1, "fail")]
        self.done(7, "step", "t7", at=8, key="k3", place=0)

    def _say(self, *line):
        self.lines.append(list(line))

    def claim(self, task_id, worker, token, *, at):
        told = [NOON + at, NOON + at + 0.1, worker, token, instant(at), instant(at + 3), [task_id]]
        self._say("claim", *told)

    def end(self, task_id, token, kind, *, at):
        self._say("end", NOON + at, kind, token, [task_id])

    def verdict(self, task_id, token, kind, said, *, at):
        self._say("verdict", NOON + at, kind, token, said, [task_id])

    def record(self, task_id, kind, status, token, worker, *, attempts, tries=(), **params):
        number = int(TaskStatus.from_word(status))
        result = {"task": task_id, "token": token, "by": worker} if status == "completed" else None
        self.records[task_id] = Record(
            task_id, kind, number, params, result, attempts, 15, worker, NOON + 5, token, tries=list(tries)
        )

    def done(self, task_id, kind, token, *, at, **params):
        self.claim(task_id, "ann", token, at=at)
        self.end(task_id, token, "complete", at=at + 1)
        self.verdict(task_id, token, "complete", "completed", at=at + 1.1)
        self.record(task_id, kind, "completed", token, "ann", attempts=1, **params)

    def tasks(self):
        return [self.records[task_id] for task_id in sorted(self.records)]

    def breaches(self):
        ledger = Ledger()
        for line in self.lines:
            ledger.add(line, "client")
        findings = Findings()
        Checker(ledger, self, findings, schedules_ended_at=NOON + 29).run()
        return set(findings.breaches)


@pytest.fixture
def run():
    return Run()


def test_a_run_in_which_all_is_well_has_no_breach(run):
    assert run.breaches() == set()


def test_a_lost_task_is_found(run):
    del run.records[2]
    assert "no acknowledged task is lost" in run.breaches()


def test_a_task_that_was_never_finished_is_found(run):
    run.records[3].status = int(TaskStatus.PENDING)
    assert "every task has ended" in run.breaches()


def test_a_task_that_was_made_twice_is_found(run):
    run.done(8, "plain", "t8", at=1, key="k1", place=0)
    assert "one Idempotency-Key, one task" in run.breaches()


def test_two_tasks_of_one_dedupe_key_are_found(run):
    run.done(8, "unique", "t8", at=1)
    run.records[8].dedupe_key = "u"
    assert run.breaches() == {"one dedupe_key, one task"}


def test_a_key_with_two_answers_is_found(run):
    run._say("created", "k1", [1, 9])
    assert "one Idempotency-Key, one answer" in run.breaches()


def test_half_a_batch_is_found(run):
    run.lines.remove(["created", "k1", [1, 2]])
    del run.records[2]
    assert "a create is whole" in run.breaches()


def test_a_task_that_nobody_asked_for_is_found(run):
    run.done(8, "plain", "t8", at=1, key="unknown", place=0)
    assert run.breaches() == {"every task was asked for"}


def test_a_late_result_that_was_applied_is_found(run):
    run.records[1].result = {"task": 1, "token": "t1", "by": "ann"}
    assert run.breaches() == {"a result is that of the live claim"}


def test_a_refused_result_that_was_applied_is_found(run):
    run.records[1].result = {"task": 1, "token": "t1", "by": "ann"}
    run.records[1].token, run.records[1].claimed_by = "t1", "ann"
    assert {"a refused result is not applied", "an acknowledged result stands"} <= run.breaches()


def test_a_result_that_two_were_told_is_theirs_is_found(run):
    run.verdict(1, "t1", "complete", "completed", at=22)
    assert run.breaches() == {"an acknowledged result stands"}


def test_a_result_that_nobody_sent_is_found(run):
    run.lines = [line for line in run.lines if line[0] not in ("end", "verdict") or "t5" not in line]
    assert run.breaches() == {"a result was sent by a worker"}


def test_a_lost_result_is_found(run):
    run.records[3].status, run.records[3].result = int(TaskStatus.FAILED), None
    assert "an acknowledged result stands" in run.breaches()


def test_two_live_leases_are_found(run):
    run.lines = [line for line in run.lines if line[0] != "end" or line[3] != "t1"]
    run.lines = [line for line in run.lines if line[0] != "verdict" or line[3] != "t1"]
    run._say("beat", NOON + 2, 1, "t1", instant(9))
    assert run.breaches() == {"no two live leases"}


def test_a_claim_whose_answer_came_after_its_lease_is_no_second_one(run):
    late = next(line for line in run.lines if line[0] == "claim" and line[4] == "t1")
    late[2] = NOON + 5.5
    run._say("beat", NOON + 5.6, 1, "t2", instant(9))
    assert run.breaches() == set()


def test_a_clock_that_is_wrong_is_found(run):
    claim = next(line for line in run.lines if line[0] == "claim" and line[4] == "t5")
    claim[5] = instant(9)
    assert run.breaches() == {"the database's clock rules"}


def test_an_attempt_that_was_not_counted_is_found(run):
    run.records[1].attempts = 1
    assert run.breaches() == {"attempts add up"}


def test_a_claim_without_a_trace_is_found(run):
    run.claim(3, "bob", "t9", at=0.5)
    assert "every claim is in the history" in run.breaches()


def test_a_failure_that_did_not_count_is_found(run):
    run.records[2].tries[0].outcome = "released"
    assert "an acknowledged failure or release stands" in run.breaches()


def test_a_dead_letter_with_attempts_left_is_found(run):
    run.records[2].status, run.records[2].failure_reason = int(TaskStatus.FAILED), "attempts_exhausted"
    assert run.breaches() == {"who failed or was cancelled had a reason"}


def test_a_cancelled_task_that_nobody_cancelled_is_found(run):
    run.lines = [line for line in run.lines if line[0] not in ("cancel", "done")]
    assert run.breaches() == {"who failed or was cancelled had a reason"}


def test_a_dependent_that_began_too_early_is_found(run):
    claim = next(line for line in run.lines if line[0] == "claim" and line[4] == "t7")
    claim[1:3] = [NOON + 5, NOON + 5.1]
    claim[5] = instant(5)
    assert run.breaches() == {"no dependent before its task"}


def test_what_runs_anyway_begins_when_its_task_has_died_and_not_when_its_last_worker_completes_it_late(run):
    run.claim(8, "ann", "t8", at=1)
    run.end(8, "t8", "complete", at=9)
    run.verdict(8, "t8", "complete", "completed", at=9.1)
    run._say("create", "k4", "/tasks", {"type": "plain"})
    run._say("created", "k4", [8])
    expired = Attempt(15, "t8", NOON + 1, "expired")
    run.record(8, "plain", "completed", "t8", "ann", key="k4", place=0, attempts=15, tries=[expired])
    run.edges[7] = [(8, "run_anyway")]
    assert "no dependent before its task" not in run.breaches()
    run.edges[7] = [(8, "fail")]
    assert "no dependent before its task" in run.breaches()


def test_a_missing_instant_of_a_schedule_is_found(run):
    del run.records[5]
    assert run.breaches() == {"one task for each instant of a schedule"}


def test_a_second_task_for_an_instant_is_found(run):
    run.done(8, "tick", "s9", at=1)
    run.records[8].extras = {"schedule_id": 1, "scheduled_for": instant(10)}
    assert run.breaches() == {"one task for each instant of a schedule"}


def test_a_schedule_that_stopped_is_found(run):
    run.schedules[0].next_at = NOON + 20
    assert run.breaches() == {"one task for each instant of a schedule"}


def test_an_answer_of_500_is_found(run):
    run._say("odd", 500, "POST", "/tasks", "internal_error")
    assert run.breaches() == {"no answer of 500, none that is wrong"}


def test_a_limit_that_was_exceeded_is_found(run):
    policies = {"kind": "limited"}
    for number in range(9):
        run._say("create", f"l{number}", "/tasks", {"type": policies["kind"]})
        run._say("created", f"l{number}", [20 + number])
        run.done(20 + number, "limited", f"l{number}", at=1, key=f"l{number}", place=0)
    assert run.breaches() == {"max_concurrency holds, by what workers heard"}


def test_intervals_that_only_touch_do_not_overlap():
    findings = Findings()
    check_concurrency("one", [(1, 2), (2, 3), (3, 4)], 1, findings)
    assert findings.are_good
    check_concurrency("one", [(1, 2.1), (2, 3)], 1, findings)
    assert not findings.are_good


def test_a_rate_is_counted_in_every_window():
    findings = Findings()
    check_rate([NOON, NOON + 1, NOON + 10, NOON + 11], "2/10", findings)
    assert findings.are_good
    check_rate([NOON, NOON + 1, NOON + 9], "2/10", findings)
    assert not findings.are_good


def test_a_journal_whose_last_line_was_cut_is_read_up_to_there(tmp_path):
    (tmp_path / "worker.jsonl").write_text('["cancel", 1.0, 7]\n["cancel", 2.0, 8')
    assert dict(Ledger().read(tmp_path).cancels) == {7: [1.0]}
    Journal(tmp_path / "worker.jsonl").write(["cancel", 3.0, 9])
    assert dict(Ledger().read(tmp_path).cancels) == {7: [1.0], 9: [3.0]}
