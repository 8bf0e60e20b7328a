"""Retries through the API: when the next attempt comes, when there is none, and what is kept of each."""

from datetime import datetime, timezone

import pytest


class Work:
    """A task type with the given policies and one claimed task of it, over HTTP."""

    def __init__(self, client, clock, **policies):
        self.client, self.clock = client, clock
        body = {"name": "work", "version": "1", "param_schema": {"type": "object"}, "retry_jitter": 0, **policies}
        assert client.post("/api/task-types/register", json=body).status_code == 201
        self.id = client.post("/api/tasks", json={"type": "work", "params": {}}).json["data"]["id"]
        self.claim()

    def claim(self):
        answer = self.client.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]})
        assert answer.status_code == 200, answer.json
        self.token = answer.json["data"]["lease_token"]
        return answer.json["data"]

    def report(self, verb, status=200, **body):
        answer = self.client.post(
            f"/api/tasks/{self.id}/{verb}", json={"worker_id": "w", "lease_token": self.token, **body}
        )
        assert answer.status_code == status, answer.json
        return answer.json.get("data")

    def fail(self, **body):
        return self.report("complete", success=False, error="bad", **body)

    def pause_after_failure(self, **body):
        """Fail, wait for the next attempt, begin it; return the seconds between."""
        told = self.fail(**body)
        assert (told["status"], told["will_retry"]) == ("scheduled", True)
        begin = datetime.strptime(told["available_at"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
        seconds = (begin - self.clock.instant).total_seconds()
        # What is shown is cut off after the milliseconds.
        self.clock.advance(seconds=seconds + 0.001)
        self.client.app.extensions["taskmanager"].housekeeping._next_round = 0.0
        self.claim()
        return seconds

    def get(self, path=""):
        return self.client.get(f"/api/tasks/{self.id}{path}").json["data"]


@pytest.fixture
def make_work(client, clock):
    """Make a claimed task of a type with these policies."""

    def make(**policies):
        return Work(client, clock, **policies)

    return make


@pytest.mark.parametrize(
    ("policies", "pauses"),
    [
        ({"retry_backoff": "fixed"}, [5, 5, 5]),
        ({"retry_backoff": "linear"}, [5, 10, 15]),
        ({"retry_backoff": "exponential"}, [5, 10, 20]),
        ({"retry_backoff": "exponential", "retry_delay_max_seconds": 8}, [5, 8, 8]),
        ({"retry_delay_seconds": 0.5, "retry_backoff": "fixed"}, [0.5, 0.5, 0.5]),
    ],
    ids=str,
)
def test_the_pauses_are_those_of_the_policy(make_work, policies, pauses):
    work = make_work(max_attempts=10, **{"retry_delay_seconds": 5, **policies})
    assert [work.pause_after_failure() for _ in pauses] == pauses


def test_the_jitter_keeps_within_its_share(make_work):
    work = make_work(max_attempts=50, retry_delay_seconds=100, retry_backoff="fixed", retry_jitter=0.1)
    pauses = [work.pause_after_failure() for _ in range(20)]
    assert all(90 <= pause <= 110 for pause in pauses)
    assert len(set(pauses)) > 1


def test_the_worker_may_say_when_and_its_word_counts_once(make_work):
    work = make_work(retry_delay_seconds=5, retry_backoff="fixed", retry_delay_max_seconds=10)
    assert work.pause_after_failure(retry_after_seconds=99) == 99
    assert work.pause_after_failure() == 5


def test_without_a_pause_the_task_is_claimable_at_once(make_work):
    work = make_work(retry_delay_seconds=0)
    assert work.fail()["status"] == "pending"
    assert work.claim()["attempts"] == 2
    assert work.fail(retry_after_seconds=0)["status"] == "pending"


@pytest.mark.parametrize(
    ("policies", "report", "reason"),
    [
        ({"max_attempts": 1}, {}, "attempts_exhausted"),
        ({"max_attempts": 5, "retry_for_seconds": 5, "retry_delay_seconds": 5}, {}, "attempts_exhausted"),
        ({"retry_for_seconds": 5}, {"retry_after_seconds": 5}, "attempts_exhausted"),
        ({}, {"retryable": False}, "not_retryable"),
        ({}, {"retryable": False, "retry_after_seconds": 5}, "not_retryable"),
    ],
    ids=str,
)
def test_a_dead_letter_says_why_it_died(make_work, policies, report, reason):
    work = make_work(**policies)
    told = work.fail(**report)
    assert (told["status"], told["will_retry"], told["failure_reason"]) == ("failed", False, reason)
    assert work.get()["failure_reason"] == reason


DETAILS = "Traceback (most recent call last):\n\x1b[31m  🦊\x00" + "x" * 100_000


def test_the_details_of_an_error_are_kept_with_the_attempt_and_not_with_the_task(make_work):
    work = make_work(retry_delay_seconds=0)
    told = work.fail(error_details=DETAILS)
    assert told["error_message"] == "bad"
    assert DETAILS not in str(told)
    work.claim()
    work.fail(error_details={"code": 5})
    work.claim()
    work.fail()
    attempts = work.get("/attempts")["attempts"]
    assert [(a["number"], a["outcome"], a["error_message"], a["error_details"]) for a in attempts] == [
        (1, "failed", "bad", DETAILS),
        (2, "failed", "bad", '{"code":5}'),
        (3, "failed", "bad", None),
    ]


def test_expired_and_released_attempts_are_kept_as_well(make_work, clock, app):
    work = make_work(lease_seconds=60)
    work.report("release")
    work.claim()
    clock.advance(seconds=60)
    app.extensions["taskmanager"].housekeeping._next_round = 0.0
    work.claim()
    shown = [(a["number"], a["worker_id"], a["outcome"], a["error_details"]) for a in work.get("/attempts")["attempts"]]
    assert shown == [(1, "w", "released", None), (1, "w", "expired", None)]


def test_the_details_of_a_late_report_are_kept_and_nothing_is_applied(make_work, client, clock, app):
    work = make_work(lease_seconds=60)
    clock.advance(seconds=60)
    app.extensions["taskmanager"].housekeeping._next_round = 0.0
    late = work.token
    work.claim()
    report = {"worker_id": "w", "lease_token": late, "success": False, "error": "e", "error_details": "long"}
    assert client.post(f"/api/tasks/{work.id}/complete", json=report).json["code"] == "lease_lost"
    (attempt,) = work.get("/attempts")["attempts"]
    assert attempt["late_report"] == {"success": False, "error": "e", "error_details": "long"}
    assert work.get()["status"] == "claimed"


def test_a_partial_result_is_seen_while_the_task_runs_and_replaced_at_its_end(make_work):
    work = make_work(result_schema={"type": "object", "required": ["all"]})
    work.report("progress", progress=10, result={"pages": 3})
    assert work.get()["result"] == {"pages": 3}
    work.report("progress", progress=20)
    work.report("progress", progress=30, result=None)
    assert (work.get()["result"], work.get()["progress"]) == ({"pages": 3}, 30)
    work.report("progress", progress=40, result=[0])
    assert work.get()["result"] == [0]
    work.report("complete", success=True, result={"all": 8})
    assert work.get()["result"] == {"all": 8}


def test_a_new_attempt_begins_without_the_partial_result_of_the_one_before(make_work):
    work = make_work(retry_delay_seconds=0)
    work.report("progress", progress=50, result="half")
    assert work.fail()["result"] == "half"
    assert work.claim()["result"] is None
    assert (work.get()["result"], work.get()["progress"]) == (None, 0)


def test_a_partial_result_after_the_lease_was_lost_is_refused(make_work, clock, app):
    work = make_work(lease_seconds=60)
    clock.advance(seconds=60)
    app.extensions["taskmanager"].housekeeping._next_round = 0.0
    late = work.token
    work.claim()
    fresh, work.token = work.token, late
    work.report("progress", status=409, progress=99, result="late")
    work.token = fresh
    assert (work.get()["result"], work.get()["progress"]) == (None, 0)
