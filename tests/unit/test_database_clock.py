"""The clock that follows the database's: how exact it is when an answer is slow."""

from datetime import datetime, timedelta, timezone

import pytest

from app.storage.clock import RESYNC_SECONDS, DatabaseClock

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


class Host:
    """A process whose monotonic clock began at the database's noon, and the way to that database."""

    def __init__(self, monkeypatch):
        self.seconds = 0.0
        self.asked = 0
        # How long the next questions and their answers take.
        self.ways = []
        monkeypatch.setattr("app.storage.clock.time.monotonic", lambda: self.seconds)

    def ask(self):
        self.asked += 1
        there, back = self.ways.pop(0) if self.ways else (0.001, 0.001)
        self.seconds += there
        told = NOON + timedelta(seconds=self.seconds)
        self.seconds += back
        return told

    def error_of(self, clock):
        return (clock.now(self.ask) - NOON).total_seconds() - self.seconds


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


@pytest.mark.parametrize("way", [(4.0, 0.0), (0.0, 4.0)], ids=["the question", "the answer"])
def test_a_slow_question_or_answer_does_not_put_the_clock_wrong(host, way):
    clock = DatabaseClock()
    host.ways = [way]
    assert -0.01 < host.error_of(clock) <= 0
    host.seconds += RESYNC_SECONDS + 1
    host.ways = [way]
    assert -0.01 < host.error_of(clock) <= 0


@pytest.mark.parametrize("way", [(2.0, 0.0), (1.0, 1.0), (0.0, 2.0)])
def test_the_clock_is_never_ahead_however_slow_the_database_is(host, way):
    clock = DatabaseClock()
    host.ways = [way] * 100
    assert -2.0 <= host.error_of(clock) <= 0


def test_a_database_that_is_always_slow_is_asked_a_few_times_and_no_more(host):
    clock = DatabaseClock()
    host.ways = [(1.0, 1.0)] * 100
    clock.now(host.ask)
    assert host.asked <= 3
    for _ in range(10):
        clock.now(host.ask)
    assert host.asked <= 3


def test_a_question_costs_nothing_between_two_looks(host):
    clock = DatabaseClock()
    for _ in range(10):
        clock.now(host.ask)
    assert host.asked == 1
    host.seconds += RESYNC_SECONDS + 1
    clock.now(host.ask)
    assert host.asked == 2
