"""Housekeeping: what time must do is done beside ordinary requests, and never in their way."""

import logging

import pytest

from app.housekeeping import Housekeeper
from app.lifecycle import TaskStatus
from app.queue.due import SLICE, do_what_is_due
from app.queue.tasks import list_tasks, read_task
from app.web.current import EXTENSION
from tests.support.factories import Queue


@pytest.fixture
def queue(database):
    """The verbs of the queue on the test's database."""
    return Queue(database)


def test_what_is_due_is_done_after_the_answer_of_any_request(queue, client, app, clock):
    queue.register()
    task = queue.create(delay_seconds=10)
    clock.advance(seconds=10)
    app.extensions[EXTENSION].housekeeping._next_round = 0.0
    assert client.get(f"/api/tasks/{task['id']}").json["data"]["status"] == "scheduled"
    assert queue.do(read_task, task["id"])["status"] == TaskStatus.PENDING


def test_a_claim_that_finds_nothing_first_does_what_is_due(queue, client, app, clock):
    queue.register()
    queue.create(delay_seconds=10)
    clock.advance(seconds=10)
    app.extensions[EXTENSION].housekeeping._next_round = 0.0
    answer = client.post("/api/tasks/claim", json={"worker_id": "w", "types": ["work"]})
    assert answer.status_code == 200


def test_a_round_goes_on_until_nothing_is_due(queue, database, settings, clock):
    queue.register()
    for _ in range(3):
        queue.create(delay_seconds=1)
    clock.advance(seconds=1)
    assert Housekeeper(database, settings).run(budget_seconds=5) == 3


def test_a_round_ends_when_its_time_is_used_up(queue, database, settings, clock):
    queue.register()
    for _ in range(SLICE + 1):
        queue.create(delay_seconds=1)
    clock.advance(seconds=1)
    assert Housekeeper(database, settings).run(budget_seconds=0) == SLICE
    assert Housekeeper(database, settings).run(budget_seconds=0) == 1


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


def test_an_error_in_housekeeping_does_not_reach_the_caller(client, app, database, monkeypatch, caplog):
    housekeeper = app.extensions[EXTENSION].housekeeping
    housekeeper._next_round = 0.0

    def broken(budget_seconds):
        raise ZeroDivisionError("broken on purpose")

    monkeypatch.setattr(housekeeper, "run", broken)
    with caplog.at_level(logging.ERROR, logger="taskmanager.housekeeping"):
        assert client.get("/api/health").status_code == 200
    assert "broken on purpose" in caplog.text
