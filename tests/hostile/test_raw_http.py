"""Requests that are none, too long, cut wrong or random, as raw bytes to each server: refused at once, without harm."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hostile.conftest import PROGRAMS
from tests.hostile.raw_requests import mutations, wrong_bodies, wrong_chunks, wrong_heads, wrong_lengths
from tests.hostile.target import PATIENCE, Answer, Target

MUTATIONS = int(os.environ.get("TASKMANAGER_TEST_MUTATIONS", "200"))
# A server may say that it does not know a transfer coding or a version of HTTP; nothing else is its own fault.
NOT_IMPLEMENTED = {501, 505}

pytestmark = pytest.mark.parametrize("program", PROGRAMS, indirect=True)


def attack(target: Target, requests: Iterator[tuple[str, bytes]], *, silence: float) -> dict[str, Answer]:
    """Send all, several at a time, and return the answers; fail for each that was slow or an error of the server."""
    before = target.count_tasks()
    # Each request that never ends holds one of gunicorn's two processes.
    with ThreadPoolExecutor(2 if target.program == "gunicorn" else 24) as pool:
        sent = {name: pool.submit(target.send, request, silence=silence) for name, request in requests}
    answers = {name: future.result() for name, future in sent.items()}
    faults = [
        f"{name}: {answer.statuses} after {answer.seconds:.1f} s, {answer.data[:300]!r}"
        for name, answer in answers.items()
        if answer.seconds > PATIENCE or any(status >= 500 for status in {*answer.statuses} - NOT_IMPLEMENTED)
    ]
    assert not faults, "\n".join(faults)
    created = sum(answer.statuses.count(201) for answer in answers.values())
    unanswered = sum(not answer.is_closed for answer in answers.values())
    # What was answered with 201 is there, and nothing that was refused.
    assert created <= target.count_tasks() - before <= created + unanswered
    return answers


@pytest.mark.parametrize("family", [wrong_lengths, wrong_chunks, wrong_heads, wrong_bodies], ids=lambda f: f.__name__)
def test_what_is_no_proper_request_is_refused_and_does_no_harm(
    unharmed: Target, family: Callable[[Target], Iterator[tuple[str, bytes]]]
) -> None:
    answers = attack(unharmed, family(unharmed), silence=2)
    assert len(answers) > 20 or family is wrong_lengths
    # The attack has come through: most of it got an answer, and that was a refusal.
    refused = [name for name, answer in answers.items() if any(status >= 400 for status in answer.statuses)]
    assert len(refused) > len(answers) / 2


def test_requests_that_are_changed_by_chance_are_refused_and_do_no_harm(unharmed: Target, seed: int) -> None:
    answers = attack(unharmed, mutations(unharmed, seed, MUTATIONS), silence=0.3)
    statuses = {status for answer in answers.values() for status in answer.statuses}
    assert {400, 201} <= statuses


def test_clients_that_leave_in_the_middle_do_no_harm(unharmed: Target) -> None:
    whole = unharmed.head("POST", "/api/tasks", "Content-Length: 900000") + b'\r\n{"type": "work", "params": {"x": "'
    before = unharmed.count_tasks()
    for length in (1, 20, len(whole) // 2, len(whole) - 30, len(whole)):
        for _ in range(10):
            with unharmed.connect() as connection:
                connection.sendall((whole + b"y" * 500_000)[:length] if length < len(whole) else whole + b"y" * 500_000)
    assert unharmed.count_tasks() == before


def test_a_client_that_does_not_read_its_answers_holds_nobody_up(unharmed: Target) -> None:
    request = unharmed.head("GET", "/api/openapi.json") + b"\r\n"
    connections = [unharmed.connect() for _ in range(10)]
    for connection in connections:
        connection.settimeout(0.2)
        try:
            connection.sendall(request * 20)
        except TimeoutError:
            continue
    if unharmed.program != "gunicorn":
        unharmed.must_work()
    for connection in connections:
        connection.close()
