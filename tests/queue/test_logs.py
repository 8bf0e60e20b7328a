"""Log lines: only the worker that has the task writes them, and the newest of each task are kept."""

from datetime import timedelta
from threading import Thread

import pytest
from sqlalchemy import func, insert, select

from app.errors import ClaimedByAnother, LeaseLost, TaskNotClaimed, TaskNotFound
from app.queue.attempts import list_attempts
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.logs import KEPT_LINES, MAX_LINES, LogLine, add_logs, list_logs
from app.queue.remove import DETAILS_SLICE
from app.queue.tasks import read_task
from app.storage.models import attempts, task_logs
from tests.support.factories import Queue
from tests.support.statements import counted_statements


@pytest.fixture
def claimed(queue):
    """A task that w1 has claimed."""
    kind = queue.register(lease_seconds=60)
    queue.create()
    return queue.must_claim(kind)


def _lines(*messages, level="info"):
    return [LogLine(level=level, message=message) for message in messages]


def _write(queue, task, *messages, worker_id="w1", token=True, **more):
    lease_token = task["lease_token"] if token is True else token
    queue.do(add_logs, task["id"], worker_id=worker_id, lease_token=lease_token, lines=_lines(*messages, **more))


def _messages(queue, task, after_id=0, limit=500):
    return [row["message"] for row in queue.do(list_logs, task["id"], after_id=after_id, limit=limit)]


def _number(queue, table):
    return queue.do(lambda tx: tx.execute(select(func.count()).select_from(table)).scalar_one())


def test_lines_are_kept_in_order_with_their_attempt_and_instant(queue, claimed, clock):
    _write(queue, claimed, "one", "two\nlines", "")
    clock.advance(seconds=5)
    _write(queue, claimed, "\x1b[31m🦊\x00", level="error", token=None)
    rows = queue.do(list_logs, claimed["id"], after_id=0, limit=500)
    assert [(row["message"], row["level"], row["attempt"]) for row in rows] == [
        ("one", "info", 1),
        ("two\nlines", "info", 1),
        ("", "info", 1),
        ("\x1b[31m🦊\x00", "error", 1),
    ]
    assert [row["logged_at"] for row in rows] == [clock.instant - timedelta(seconds=5)] * 3 + [clock.instant]
    assert queue.do(read_task, claimed["id"])["due_at"] == claimed["due_at"]


def test_a_log_is_followed_from_line_to_line(queue, claimed):
    _write(queue, claimed, "a", "b", "c")
    first = queue.do(list_logs, claimed["id"], after_id=0, limit=2)
    assert [row["message"] for row in first] == ["a", "b"]
    assert _messages(queue, claimed, after_id=first[-1]["id"]) == ["c"]
    last = queue.do(list_logs, claimed["id"], after_id=0, limit=500)[-1]
    assert _messages(queue, claimed, after_id=last["id"]) == []
    with pytest.raises(TaskNotFound):
        queue.do(list_logs, 987654321, after_id=0, limit=1)


def test_the_newest_thousand_lines_are_kept(queue, claimed):
    other = queue.create()
    other = queue.must_claim(other["type_id"])
    _write(queue, other, "not of this task")
    for number in range(KEPT_LINES // MAX_LINES):
        _write(queue, claimed, *(f"{number}.{line}" for line in range(MAX_LINES)))
    assert _messages(queue, claimed, limit=1) == ["0.0"]
    _write(queue, claimed, *(f"last {line}" for line in range(MAX_LINES)))
    assert _messages(queue, claimed, limit=1) == ["1.0"]
    _write(queue, claimed, "one more")
    kept = _messages(queue, claimed, limit=2000)
    assert (len(kept), kept[0], kept[-1]) == (KEPT_LINES, "1.1", "one more")
    assert _messages(queue, other) == ["not of this task"]


def test_lines_cost_five_statements_however_many_they_are(queue, claimed, database):
    with counted_statements(database) as seen:
        _write(queue, claimed, *("x" for _ in range(MAX_LINES)))
    # Begin, hold the task, write, look for what is too old, commit.
    assert len(seen) == 5, seen


def test_only_the_holder_of_the_claim_may_write(queue, claimed, clock):
    with pytest.raises(ClaimedByAnother):
        _write(queue, claimed, "x", worker_id="w2")
    with pytest.raises(LeaseLost):
        _write(queue, claimed, "x", token=claimed["lease_token"][:-1] + "x")
    with pytest.raises(TaskNotFound):
        _write(queue, {**claimed, "id": 987654321}, "x")
    clock.advance(seconds=60)
    # Slow is not lost: nobody has looked yet.
    _write(queue, claimed, "late")
    queue.do(do_what_is_due)
    with pytest.raises(TaskNotClaimed):
        _write(queue, claimed, "x")
    again = queue.must_claim(claimed["type_id"], worker_id="w2")
    with pytest.raises(LeaseLost):
        _write(queue, claimed, "x")
    _write(queue, again, "second", worker_id="w2")
    rows = queue.do(list_logs, claimed["id"], after_id=0, limit=500)
    assert [(row["message"], row["attempt"]) for row in rows] == [("late", 1), ("second", 2)]


def test_nobody_writes_about_a_task_that_has_ended(queue, claimed):
    other = queue.create()
    with pytest.raises(TaskNotClaimed):
        _write(queue, {**other, "lease_token": None}, "x")
    queue.do(cancel_task, claimed["id"])
    with pytest.raises(TaskNotClaimed):
        _write(queue, claimed, "x")


def test_lines_whose_commit_lost_its_answer_are_written_once(queue, claimed, database):
    runs = []

    def work(tx):
        tx.run = len(runs) + 1
        runs.append(tx)
        tx.nonce = runs[0].nonce
        add_logs(tx, claimed["id"], worker_id="w1", lease_token=None, lines=_lines("a", "b"))

    for _ in range(2):
        database.write(work, atomic=False)
    assert _messages(queue, claimed) == ["a", "b"]


def test_lines_of_several_threads_of_a_worker_are_all_kept_and_bounded(queue, claimed, open_database):
    for _ in range(9):
        _write(queue, claimed, *("old" for _ in range(MAX_LINES)))
    writers = [Queue(open_database()) for _ in range(4)]
    failures = []

    def write(writer, name):
        try:
            for _ in range(3):
                _write(writer, claimed, *(name for _ in range(25)))
        except Exception as error:
            failures.append(error)

    threads = [Thread(target=write, args=(writer, f"new {n}")) for n, writer in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    kept = _messages(queue, claimed, limit=2000)
    assert len(kept) == KEPT_LINES
    assert {name: kept.count(name) for name in set(kept)} == {"old": 700, **{f"new {n}": 75 for n in range(4)}}


def test_a_task_is_removed_with_its_log_and_a_long_log_in_slices(queue, claimed, clock):
    kind = queue.register(retention_seconds=10, lease_seconds=60)
    queue.do(complete_task, claimed["id"], worker_id="w1", lease_token=None, result=None)
    other = queue.create()
    other = queue.must_claim(kind)
    queue.do(complete_task, other["id"], worker_id="w1", lease_token=None, result=None)
    line = {"attempt": 1, "logged_at": clock.instant, "level": "info", "message": "x"}
    for task in (claimed, other):
        rows = [{**line, "task_id": task["id"]} for _ in range(DETAILS_SLICE // 2 + 500)]
        queue.do(lambda tx, rows=rows: tx.execute(insert(task_logs), rows))
    queue.do(
        lambda tx: tx.execute(
            insert(attempts),
            {
                "task_id": other["id"],
                "number": 1,
                "worker_id": "w1",
                "lease_token": "x",
                "claimed_at": tx.now,
                "ended_at": tx.now,
                "outcome": "failed",
            },
        )
    )
    clock.advance(seconds=3600)
    assert queue.do(do_what_is_due) == DETAILS_SLICE
    assert _number(queue, task_logs) == 1000
    assert len(queue.do(list_attempts, other["id"])) == 1
    assert queue.do(do_what_is_due) == 2
    assert (_number(queue, task_logs), _number(queue, attempts)) == (0, 0)
    assert queue.do(do_what_is_due) == 0


def test_the_api_writes_and_follows_a_log(client, claimed):
    path = f"/api/tasks/{claimed['id']}/logs"
    holder = {"worker_id": "w1", "lease_token": claimed["lease_token"]}
    body = {**holder, "lines": [{"message": "one"}, {"level": "warning", "message": "two\nlines"}]}
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json["data"]) == (200, {"id": claimed["id"], "count": 2})
    first = client.get(f"{path}?limit=1").json["data"]
    assert [(line["attempt"], line["level"], line["message"]) for line in first["logs"]] == [(1, "info", "one")]
    rest = client.get(f"{path}?after_id={first['next_after_id']}").json["data"]
    assert [line["message"] for line in rest["logs"]] == ["two\nlines"]
    nothing = client.get(f"{path}?after_id={rest['next_after_id']}").json["data"]
    assert nothing == {"logs": [], "count": 0, "next_after_id": rest["next_after_id"]}
    assert client.get("/api/tasks/987654321/logs").json["code"] == "task_not_found"


def test_the_api_refuses_lines_of_who_has_not_the_task(client, claimed):
    path = f"/api/tasks/{claimed['id']}/logs"
    lines = [{"message": "x"}]
    answers = [
        client.post(path, json={"worker_id": "w2", "lines": lines}),
        client.post(path, json={"worker_id": "w1", "lease_token": "1-60-" + "0" * 32, "lines": lines}),
        client.post("/api/tasks/987654321/logs", json={"worker_id": "w1", "lines": lines}),
    ]
    assert [answer.json["code"] for answer in answers] == ["claimed_by_another_worker", "lease_lost", "task_not_found"]
    wrong = client.post(path, json={"worker_id": "w1", "lines": [{"message": "x"}, {"level": "fatal", "massage": "x"}]})
    named = {detail["field"] for detail in wrong.json["details"]}
    assert named == {"lines.1.level", "lines.1.message", "lines.1.massage"}
