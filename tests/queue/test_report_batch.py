"""Report a batch: each report gets the verdict that it would get alone, and none hurts another."""

from datetime import timedelta

import pytest
from sqlalchemy import event

from app.errors import QueueError
from app.lifecycle import FailureReason, TaskStatus
from app.queue.attempts import list_attempts
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.line import admit_due
from app.queue.report_batch import Report
from app.queue.tasks import read_task
from tests.support.factories import Queue
from tests.support.faults import lose_the_answer
from tests.support.statements import counted_statements


def _done(task, result=None, *, token=True):
    lease_token = task["lease_token"] if token is True else token
    return Report(task_id=task["id"], lease_token=lease_token, is_success=True, result=result)


def _failed(task, error="bad", *, token=True, **more):
    lease_token = task["lease_token"] if token is True else token
    return Report(task_id=task["id"], lease_token=lease_token, is_success=False, error=error, **more)


def _batch(queue, number, **policies):
    kind = queue.register(**{"retry_delay_seconds": 10, "retry_backoff": "fixed", "lease_seconds": 60, **policies})
    for _ in range(number):
        queue.create()
    return queue.claim_batch(kind)


def _rows(queue, tasks):
    return [queue.do(read_task, task["id"]) for task in tasks]


def test_a_batch_of_successes_is_one_statement_and_each_task_holds_its_own_result(queue, clock):
    batch = _batch(queue, 5)
    results = [None, {"z": 1, "a": "🦊"}, [], "text", 1.5]
    clock.advance(seconds=3)
    with counted_statements(queue.database) as seen:
        verdicts = queue.report(*map(_done, batch, results))
    assert verdicts == ["completed"] * 5
    assert len(seen) == 1
    for row, result in zip(_rows(queue, batch), results, strict=True):
        assert (row["status"], row["result"], row["progress"]) == (TaskStatus.COMPLETED, result, 100)
        assert row["completed_at"] == clock.instant
        assert row["due_at"] == clock.instant + timedelta(days=30)


@pytest.mark.parametrize("results", [[1, True, 1.0], [{"n": 0}, {"n": False}, {"n": 0.0}], ["1", 1, 1], [None] * 3])
def test_results_that_python_takes_for_equal_stay_what_they_are(queue, results):
    batch = _batch(queue, 3)
    assert queue.report(*map(_done, batch, results)) == ["completed"] * 3
    assert [repr(row["result"]) for row in _rows(queue, batch)] == [repr(result) for result in results]


def test_a_task_that_is_completed_in_a_batch_is_as_if_it_had_been_completed_alone(queue):
    batch = _batch(queue, 3)
    queue.report(_done(batch[0], 7), _done(batch[1], 7))
    queue.do(complete_task, batch[2]["id"], worker_id="w1", lease_token=batch[2]["lease_token"], result=7)
    in_batch, _, alone = _rows(queue, batch)
    own = ("id", "params", "dedupe_hash")
    assert {k: v for k, v in in_batch.items() if k not in own} == {k: v for k, v in alone.items() if k not in own}


@pytest.mark.parametrize("terms", [{}, {"retry_after_seconds": 33.5}, {"retry_after_seconds": 0}, {"retryable": False}])
@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_task_that_fails_in_a_batch_is_as_if_it_had_failed_alone(queue, terms, max_attempts):
    batch = _batch(queue, 3, max_attempts=max_attempts)
    details = {"error_details": "a long story"}
    queue.report(_failed(batch[0], "x", **terms, **details), _failed(batch[1], None, **terms))
    alone = {"retryable": True, "retry_after_seconds": None, **terms}
    token = batch[2]["lease_token"]
    queue.do(fail_task, batch[2]["id"], worker_id="w1", lease_token=token, error="x", **alone, **details)
    first, _, last = _rows(queue, batch)
    own = ("id", "params", "dedupe_hash")
    assert {k: v for k, v in first.items() if k not in own} == {k: v for k, v in last.items() if k not in own}
    attempts = [queue.do(list_attempts, task["id"]) for task in batch]
    assert [(len(each), each[0]["error_message"], each[0]["error_details"]) for each in attempts] == [
        (1, "x", "a long story"),
        (1, None, None),
        (1, "x", "a long story"),
    ]
    for kept in (attempts[0][0], attempts[2][0]):
        assert (kept["outcome"], kept["number"], kept["worker_id"]) == ("failed", 1, "w1")


def test_each_kind_of_report_in_one_request_gets_its_own_verdict(queue, clock):
    checked = {"type": "object", "required": ["n"]}
    kind = queue.register(lease_seconds=60, retry_delay_seconds=10, retry_backoff="fixed")
    strict = queue.register("strict", result_schema=checked)
    for _ in range(9):
        queue.create()
    for _ in range(3):
        queue.create("strict")
    expired, taken = queue.claim_batch(kind, max_tasks=2)
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    assert queue.must_claim(kind, worker_id="w2")["id"] == expired["id"]
    late = expired
    not_taken = taken
    done, retried, dead, cancelled, plain, old = queue.claim_batch(kind, max_tasks=7)[1:]
    good, bad, bad_old = queue.claim_batch(strict)
    queue.do(cancel_task, cancelled["id"])
    # The second claim of `taken` is by the same worker, so that its first token is out of date.
    reports = [
        _done(done, {"n": 1}),
        _failed(retried, "try again"),
        _done(late, "too late"),
        _failed(dead, "never", retryable=False),
        _done(cancelled),
        _done(good, {"n": 2}),
        _done(bad, {"m": 2}),
        _done({"id": 987654321, "lease_token": done["lease_token"]}),
        _done(plain, token=None),
        _failed(old, "old style", token=None),
        _done(bad_old, {"m": 2}, token=None),
        _done(not_taken, "not mine any more"),
        _done(done, {"n": 1}),
        _done(retried),
    ]
    expected = [
        "completed",
        "scheduled",
        "lease_lost",
        "failed",
        "task_cancelled",
        "completed",
        "invalid_result",
        "task_not_found",
        "completed",
        "scheduled",
        "invalid_result",
        "lease_lost",
        "completed",
        "invalid_request",
    ]
    assert queue.report(*reports) == expected
    states = {task["id"]: task["status"] for task in _rows(queue, [done, retried, dead, cancelled, good, bad, plain])}
    assert states == {
        done["id"]: TaskStatus.COMPLETED,
        retried["id"]: TaskStatus.SCHEDULED,
        dead["id"]: TaskStatus.FAILED,
        cancelled["id"]: TaskStatus.CANCELLED,
        good["id"]: TaskStatus.COMPLETED,
        bad["id"]: TaskStatus.CLAIMED,
        plain["id"]: TaskStatus.COMPLETED,
    }
    assert queue.do(list_attempts, late["id"])[0]["late_report"] == {"success": True, "result": "too late"}
    assert queue.do(list_attempts, not_taken["id"])[0]["late_report"]["result"] == "not mine any more"
    assert queue.do(read_task, dead["id"])["failure_reason"] == FailureReason.NOT_RETRYABLE
    # The same again gets the same verdicts, but for those who have no token to prove that they are the same.
    again = queue.report(*reports)
    without_token = (8, 9)
    assert [v for n, v in enumerate(again) if n not in without_token] == [
        v for n, v in enumerate(expected) if n not in without_token
    ]
    assert [again[number] for number in without_token] == ["task_not_claimed", "task_not_claimed"]
    assert len(queue.do(list_attempts, retried["id"])) == 1


def _verdict_alone(queue, report, worker_id):
    """Return the verdict that the report gets from the verbs for one task."""
    try:
        if report.is_success:
            queue.do(
                complete_task,
                report.task_id,
                worker_id=worker_id,
                lease_token=report.lease_token,
                result=report.result,
            )
            return "completed"
        task = queue.do(
            fail_task,
            report.task_id,
            worker_id=worker_id,
            lease_token=report.lease_token,
            error=report.error,
            retryable=report.retryable,
            retry_after_seconds=report.retry_after_seconds,
        )
        return TaskStatus(task["status"]).word
    except QueueError as error:
        return error.code


SITUATIONS = ["held", "run out", "put back", "taken over", "retaken", "dead", "completed", "failed", "cancelled"]


def _bring_about(queue, clock, situation, number):
    """Return so many tasks in this situation, as their first holder w1 knows them."""
    kind = queue.register(lease_seconds=60, max_attempts=1 if situation == "dead" else 3, retry_delay_seconds=5)
    for _ in range(number):
        queue.create()
    tasks = queue.claim_batch(kind)
    if situation in ("run out", "put back", "taken over", "retaken", "dead"):
        clock.advance(seconds=60)
    if situation in ("put back", "taken over", "retaken", "dead"):
        queue.do(do_what_is_due)
    if situation in ("taken over", "retaken"):
        assert len(queue.claim_batch(kind, worker_id="w2" if situation == "taken over" else "w1")) == number
    for task in tasks:
        if situation == "completed":
            queue.report(_done(task, "first"))
        if situation == "failed":
            queue.report(_failed(task, "first"))
        if situation == "cancelled":
            queue.do(cancel_task, task["id"])
    return tasks


@pytest.mark.parametrize("token", [True, None, "1-300-" + "0" * 32, "no token", "999999-1-x", "1-300-😀"])
@pytest.mark.parametrize("worker_id", ["w1", "w9"])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_report_in_a_batch_gets_the_verdict_that_it_gets_alone(queue, clock, situation, worker_id, token):
    tasks = _bring_about(queue, clock, situation, 4)
    make = (_done, _failed, _done, _failed)
    reports = [one(task, "x", token=token) for one, task in zip(make, tasks, strict=True)]
    in_batch = queue.report(*reports[:2], worker_id=worker_id)
    alone = [_verdict_alone(queue, report, worker_id) for report in reports[2:]]
    assert in_batch == alone
    rows = _rows(queue, tasks)
    own = ("id", "params", "dedupe_hash", "available_at", "due_at")
    plain = [{name: value for name, value in row.items() if name not in own} for row in rows]
    assert plain[:2] == plain[2:]
    kept = [[(a["outcome"], a["late_report"]) for a in queue.do(list_attempts, task["id"])] for task in tasks]
    assert kept[:2] == kept[2:]


def test_two_equal_reports_on_one_task_get_the_same_verdict_and_a_different_one_is_refused(queue):
    (task,) = _batch(queue, 1)
    verdicts = queue.report(_failed(task, "x"), _failed(task, "x"), _failed(task, "y"), _done(task))
    assert verdicts == ["scheduled", "scheduled", "invalid_request", "invalid_request"]
    assert [a["error_message"] for a in queue.do(list_attempts, task["id"])] == ["x"]


def test_the_token_of_another_of_ones_own_tasks_proves_nothing(queue, clock):
    first = _batch(queue, 2)
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    again = queue.claim(first[0]["type_id"])
    other = queue.claim(first[0]["type_id"])
    # Both old tokens are the same, both new ones differ.
    mixed = [
        _done({**again, "lease_token": other["lease_token"]}),
        _done({**other, "lease_token": again["lease_token"]}),
    ]
    assert queue.report(*mixed) == ["lease_lost", "lease_lost"]
    assert {row["status"] for row in _rows(queue, first)} == {TaskStatus.CLAIMED}


def test_a_hundred_tasks_of_many_claims_and_types_are_a_few_statements(queue):
    kinds = [queue.register(name, retry_delay_seconds=10) for name in ("a", "b")]
    for number in range(100):
        queue.create("ab"[number % 2])
    tasks = [queue.must_claim(kinds[number % 2]) for number in range(100)]
    assert len({task["lease_token"] for task in tasks}) == 100
    with counted_statements(queue.database) as seen:
        assert queue.report(*map(_done, tasks)) == ["completed"] * 100
    assert len(seen) == 2
    for number in range(100):
        queue.create("ab"[number % 2])
    tasks = queue.claim_batch(*kinds)
    reports = [(_done, _failed, _failed)[n % 3](task, f"x{n}") for n, task in enumerate(tasks)]
    with counted_statements(queue.database) as seen:
        verdicts = queue.report(*reports)
    assert verdicts == [("completed", "scheduled", "scheduled")[n % 3] for n in range(100)]
    # Two updates for what is done; begin, look, attempts, one update for what is tried again, commit.
    assert len(seen) == 7, seen
    assert queue.do(read_task, tasks[4]["id"])["error_message"] == "x4"


def test_a_hundred_late_reports_are_a_few_statements_and_all_are_kept(queue, clock):
    tasks = _batch(queue, 100)
    clock.advance(seconds=60)
    queue.do(do_what_is_due)
    assert len(queue.claim_batch(tasks[0]["type_id"], worker_id="w2")) == 100
    with counted_statements(queue.database) as seen:
        verdicts = queue.report(*[(_done, _failed)[n % 2](task, f"late {n}") for n, task in enumerate(tasks)])
    assert verdicts == ["lease_lost"] * 100
    assert len(seen) == 6, seen
    kept = queue.do(list_attempts, tasks[7]["id"])[0]["late_report"]
    assert kept == {"success": False, "error": "late 7", "error_details": None}
    queue.report(_done(tasks[7], "later still"))
    assert queue.do(list_attempts, tasks[7]["id"])[0]["late_report"] == kept


def test_retries_end_at_the_deadline_of_each_task(queue, clock):
    kind = queue.register(retry_delay_seconds=10, retry_backoff="fixed")
    queue.create(deadline_at=clock.instant + timedelta(seconds=5))
    queue.create(deadline_at=clock.instant + timedelta(seconds=50))
    queue.create()
    tasks = queue.claim_batch(kind)
    reports = [_failed(task, retry_after_seconds=after) for task, after in zip(tasks, (None, 0, None), strict=True)]
    assert queue.report(*reports) == ["failed", "pending", "scheduled"]
    rows = _rows(queue, tasks)
    assert [row["failure_reason"] for row in rows] == [FailureReason.DEADLINE_PASSED, None, None]
    assert rows[1]["due_at"] == clock.instant + timedelta(seconds=50)
    assert rows[2]["due_at"] == clock.instant + timedelta(seconds=10)


@pytest.mark.parametrize("token", [True, None])
@pytest.mark.parametrize("made_after_the_claim", [True, False])
def test_those_that_wait_for_tasks_of_a_batch_go_on_when_it_ends(queue, clock, token, made_after_the_claim):
    kind = queue.register(max_attempts=1)
    made = [queue.create()["id"] for _ in range(4)]
    tasks = queue.claim_batch(kind) if made_after_the_claim else None
    waiting = [queue.create(depends_on=[task_id])["id"] for task_id in made]
    both = queue.create(depends_on=made[:2])["id"]
    tasks = tasks or queue.claim_batch(kind)
    assert [task["id"] for task in tasks] == made
    reports = [_done(task, token=token) for task in tasks[:2]] + [_failed(task, token=token) for task in tasks[2:]]
    assert queue.report(*reports) == ["completed"] * 2 + ["failed"] * 2
    if made_after_the_claim and token:
        # The tokens did not say that anybody waits: housekeeping sees to these.
        assert queue.do(do_what_is_due) > 0
    states = [queue.do(read_task, task_id)["status"] for task_id in (*waiting, both)]
    assert states == [TaskStatus.PENDING] * 2 + [TaskStatus.FAILED] * 2 + [TaskStatus.PENDING]
    later = clock.instant + timedelta(days=30)
    assert {row["due_at"] for row in _rows(queue, tasks)} == {later}


@pytest.mark.parametrize("limits", [{"key_max_concurrency": 2}, {"key_rate_limit": "2/60"}])
def test_a_batch_claims_no_more_of_one_key_than_its_limit_and_the_next_come_when_it_ends(queue, clock, limits):
    kind = queue.register(retry_delay_seconds=1000, **limits)
    for number in range(9):
        queue.create(concurrency_key="abc"[number % 3])
    batch = queue.claim_batch(kind)
    assert sorted(task["extras"]["concurrency_key"] for task in batch) == ["a", "a", "b", "b", "c", "c"]
    assert queue.claim_batch(kind) == []
    queue.report(*map(_done, batch[:3]), *map(_failed, batch[3:]))
    if "key_rate_limit" in limits:
        assert queue.claim_batch(kind) == []
        clock.advance(seconds=60)
        queue.do(admit_due)
    assert sorted(task["extras"]["concurrency_key"] for task in queue.claim_batch(kind)) == ["a", "b", "c"]


def test_batches_give_each_key_its_turn(queue):
    kind = queue.register(key_order="round_robin")
    for key in "aaaabbc":
        queue.create(concurrency_key=key)
    turns = []
    while batch := queue.claim_batch(kind, max_tasks=3):
        turns.append(sorted(task["extras"]["concurrency_key"] for task in batch))
    assert turns == [["a", "b", "c"], ["a", "b"], ["a"], ["a"]]


@pytest.mark.parametrize("part", ["UPDATE tasks", "INSERT INTO attempts", "COMMIT"])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("token", [True, None])
@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_reports_whose_answer_was_lost_are_applied_once(queue, clock, part, at, token):
    tasks = _batch(queue, 6, max_attempts=2)
    queue.report(*(_failed(task, retry_after_seconds=0) for task in tasks[4:]))
    clock.advance(seconds=1)
    again = queue.claim_batch(tasks[0]["type_id"])
    lost = lose_the_answer(queue.database, part, at)
    reports = [
        *(_done(task, task["id"], token=token) for task in tasks[:2]),
        *(_failed(task, token=token) for task in tasks[2:4]),
        *(_failed(task, token=token) for task in again),
    ]
    verdicts = queue.report(*reports)
    assert lost or at > 1
    assert verdicts == ["completed"] * 2 + ["scheduled"] * 2 + ["failed"] * 2
    assert [len(queue.do(list_attempts, task["id"])) for task in tasks] == [0, 0, 1, 1, 2, 2]
    assert [row["result"] for row in _rows(queue, tasks[:2])] == [task["id"] for task in tasks[:2]]


def test_a_task_that_is_taken_over_between_the_update_and_the_look_is_judged_as_it_then_is(queue, open_database, clock):
    tasks = _batch(queue, 2)
    other = Queue(open_database())
    clock.advance(seconds=60)
    done = []

    def take_over(_connection, _cursor, statement, *_rest):
        if "UPDATE tasks" in statement and not done:
            done.append(1)
            other.do(do_what_is_due)
            other.must_claim(tasks[0]["type_id"], worker_id="w2")

    event.listen(queue.database.engine, "before_cursor_execute", take_over)
    assert queue.report(*map(_done, tasks)) == ["lease_lost", "completed"]
