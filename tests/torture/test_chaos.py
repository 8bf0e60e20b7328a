"""What the torture waits for at its end does come."""

import random
import threading

import pytest

from bench.torture.api import Api
from bench.torture.chaos import Chaos
from bench.torture.journal import Journal
from bench.torture.ports import choose_ports


def test_a_fault_that_needs_a_killed_server_ends_since_the_server_is_started_again():
    is_back = threading.Event()

    def pause_a_type():
        if not is_back.wait(20):
            raise RuntimeError("no answer")

    chaos = Chaos({"a task type paused": (1, pause_a_type)}, random.Random(1))
    chaos.draw()
    chaos.end(meanwhile=is_back.set)
    assert chaos.errors == []
    assert chaos.counts["a task type paused"] == 1


def test_a_fault_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr("bench.torture.chaos._SECONDS_TO_END", 0.2)
    is_over = threading.Event()
    chaos = Chaos({"a storm": (1, lambda: is_over.wait(20))}, random.Random(1))
    chaos.draw()
    chaos.end(meanwhile=lambda: None)
    assert chaos.errors == ["a storm: does not end"]
    is_over.set()


def test_whoever_gives_up_says_what_came_last(monkeypatch, tmp_path):
    monkeypatch.setattr("bench.torture.api._PATIENCE_SECONDS", 0.1)
    api = Api(choose_ports(1), "key", Journal(tmp_path / "journal.jsonl"))
    with pytest.raises(RuntimeError, match="at last ConnectionRefusedError"):
        api.must("GET", "/queue")
