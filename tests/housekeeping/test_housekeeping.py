"""Housekeeping: what time must do is done beside ordinary requests, and never in their way."""

import logging
from datetime import timedelta

from app.housekeeping import Housekeeper
from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.due import SLICE, do_what_is_due
from app.queue.idempotency import RepeatableRequest, answer_once
from app.queue.tasks import list_tasks, read_task
from app.queue.usage import read_watermark
from app.web.current import EXTENSION
from tests.support.factories import Queue
from tests.support.jobs import make_job
from tests.support.statements import counted_statements

WEEK = 7 * 86400


def housekeeper_of(app):
    """Return the application's housekeeper, whose second is over."""
    housekeeper = app.extensions[EXTENSION].housekeeping
    housekeeper._next_round = 0.0
    return housekeeper


def test_what_is_due_is_done_after_the_answer_of_any_request(queue, client, app, clock):
    queue.register()
    task = queue.create(delay_seconds=10)
    clock.advance(seconds=10)
    housekeeper_of(app)
    assert client.get(f"/api/tasks/{task['id']}").json["data"]["status"] == "scheduled"
    assert queue.do(read_task, task["id"])["status"] == TaskStatus.PENDING


def test_a_claim_that_finds_nothing_first_does_what_is_due(queue, client, app, clock):
    queue.register()
    queue.create(delay_seconds=10)
    clock.advance(seconds=10)
    housekeeper_of(app)
    answer = client.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]})
    assert answer.status_code == 200


def test_a_round_goes_on_until_nothing_is_due(queue, database, settings, clock):
    queue.register()
    for _ in range(3):
        queue.create(delay_seconds=1)
    clock.advance(seconds=1)
    outcome = Housekeeper(database, settings).run(budget_seconds=5)
    assert (outcome.changed, outcome.has_more, outcome.is_skipped) == ({"do_what_is_due": 3}, False, False)


def test_whatever_is_due_is_counted(queue, clock, monkeypatch):
    kind = queue.register(lease_seconds=10, retention_seconds=10, max_attempts=5)
    first = queue.create()
    queue.create(depends_on=[first["id"]], deadline_at=clock.instant + timedelta(seconds=10))
    queue.do(cancel_task, queue.create()["id"])
    queue.must_claim(kind)
    ended = queue.create()
    queue.create(depends_on=[ended["id"]])
    with monkeypatch.context() as patch:
        # As if the process had died before it saw to the followers.
        patch.setattr("app.queue.follow.SLICE", 0)
        queue.do(cancel_task, ended["id"])
    queue.create(deadline_at=clock.instant + timedelta(seconds=10))
    queue.create(delay_seconds=10)
    clock.advance(seconds=10)
    # One that is blocked, scheduled, pending, claimed and cancelled, and one more with its follower.
    assert queue.do(do_what_is_due) == 5 + 2


def test_a_round_ends_when_its_time_is_used_up(queue, database, settings, clock):
    queue.register()
    for _ in range(SLICE + 1):
        queue.create(delay_seconds=1)
    clock.advance(seconds=1)
    first = Housekeeper(database, settings).run(budget_seconds=0)
    assert (first.total, first.has_more) == (SLICE, True)
    assert Housekeeper(database, settings).run(budget_seconds=0).total == 1


def test_two_processes_that_do_the_same_at_once_do_it_once(queue, open_database, clock):
    kind = queue.register(lease_seconds=10, max_attempts=5)
    for _ in range(20):
        queue.create()
        queue.must_claim(kind)
    clock.advance(seconds=10)
    others = [Queue(open_database()) for _ in range(2)]
    assert sum(other.do(do_what_is_due) for other in others) == 20
    tasks = queue.do(list_tasks, limit=100)
    assert {(task["status"], task["attempts"]) for task in tasks} == {(TaskStatus.PENDING, 1)}


def test_an_idle_queue_writes_nothing_for_an_hour_of_polls(queue, database, settings, clock):
    kind = queue.register()
    queue.create(delay_seconds=2 * 3600)
    queue.create(deadline_at=clock.instant.replace(year=2030))
    queue.create()
    for _ in range(2):
        queue.must_claim(kind, lease_seconds=3 * 3600)
    housekeeper = Housekeeper(database, settings)
    for _ in range(2):
        clock.advance(seconds=61)
        assert not housekeeper.run(budget_seconds=5).has_more
    with counted_statements(database) as seen:
        for _ in range(3600):
            clock.advance(seconds=1)
            housekeeper._next_round = 0.0
            assert housekeeper.run_if_time() == 0
            housekeeper._next_round = 0.0
            housekeeper.run_after_request()
    assert len(seen) == 2 * 3600
    assert {statement.split()[0] for statement in seen} == {"SELECT"}


def test_after_a_week_without_a_request_the_first_ones_catch_up(queue, client, app, clock):
    queue.register("waiting")
    kinds = [queue.register(name, lease_seconds=60, max_attempts=1, retention_seconds=86400 * 30) for name in "ab"]
    short = queue.register("short", retention_seconds=86400)
    delayed = queue.create("waiting", delay_seconds=3600)
    overdue = queue.create("waiting", deadline_at=clock.instant + timedelta(days=2))
    held = [queue.create(name) and queue.must_claim(kind) for name, kind in zip("ab", kinds, strict=True)]
    queue.create("short")
    done = queue.must_claim(short)
    queue.do(complete_task, done["id"], worker_id="w1", lease_token=done["lease_token"], result=None)
    answer_once(queue.database, RepeatableRequest(1, "old", "h"), lambda tx: (201, {}))
    clock.advance(seconds=WEEK)
    for _ in range(4):
        housekeeper_of(app)
        assert client.get("/api/task-types").status_code == 200
    found = {task["id"]: TaskStatus(task["status"]) for task in queue.do(list_tasks, limit=10)}
    assert found == {
        delayed["id"]: TaskStatus.PENDING,
        overdue["id"]: TaskStatus.FAILED,
        **{task["id"]: TaskStatus.FAILED for task in held},
    }
    assert queue.do(read_watermark) == done["id"]
    assert answer_once(queue.database, RepeatableRequest(1, "old", "h"), lambda tx: (201, {"n": 2}))[1] == {"n": 2}


def test_what_nobody_waits_for_is_done_once_a_minute_by_one_of_all(database, open_database, settings, clock):
    done = []

    def rare(tx):
        done.append(tx.now)
        return 0

    jobs = [make_job("rare", rare, is_rare=True)]
    housekeepers = [Housekeeper(each, settings, jobs) for each in (database, open_database())]
    for _ in range(180):
        for housekeeper in housekeepers:
            housekeeper.run(budget_seconds=1)
        clock.advance(seconds=1)
    assert [(second - done[0]).total_seconds() for second in done] == [0, 60, 120]


def test_a_rare_job_with_more_to_do_goes_on_in_the_next_round(database, settings, clock):
    left = [3]

    def rare(tx):
        left[0] -= 1
        return left[0]

    housekeeper = Housekeeper(database, settings, [make_job("rare", rare, is_rare=True)])
    assert [housekeeper.run(budget_seconds=0).has_more for _ in range(3)] == [True, True, False]
    assert not housekeeper.run(budget_seconds=0).changed


def test_polls_alone_leave_what_is_rare_to_the_time_after_the_answer(database, settings, clock):
    done = []
    jobs = [make_job("rare", lambda tx: done.append("rare") or 0, is_rare=True)]
    housekeeper = Housekeeper(database, settings, jobs)
    assert housekeeper.run_if_time() == 0
    assert done == []
    housekeeper.run_after_request()
    assert done == ["rare"]


def test_jobs_take_turns_so_that_a_long_one_starves_none(database, settings):
    turns = []

    def long(tx):
        turns.append("long")
        return 1

    def short(tx):
        turns.append("short")
        return 1 if turns.count("short") < 5 else 0

    housekeeper = Housekeeper(database, settings, [make_job("long", long), make_job("short", short)])
    outcome = housekeeper.run(budget_seconds=0.2)
    assert outcome.has_more
    first = turns[: 2 * 5]
    assert first.count("short") == 5
    assert first.count("long") == 5


def test_even_where_the_time_is_enough_for_one_slice_only_every_job_gets_its_turn(database, settings):
    done = set()
    jobs = [make_job(name, lambda tx, name=name: done.add(name) or 1) for name in "abcd"]
    housekeeper = Housekeeper(database, settings, jobs)
    for _ in range(200):
        housekeeper.run(budget_seconds=0)
    assert done == set("abcd")


def test_an_error_in_housekeeping_does_not_reach_the_caller(client, app, monkeypatch, caplog):
    housekeeper = housekeeper_of(app)

    def broken(budget_seconds):
        raise ZeroDivisionError("broken on purpose")

    monkeypatch.setattr(housekeeper, "run", broken)
    with caplog.at_level(logging.ERROR, logger="taskmanager.housekeeping"):
        assert client.get("/api/health").status_code == 200
    assert "broken on purpose" in caplog.text
