"""Clients that send slowly, never end, or hold many connections: all others are served meanwhile."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import settings

from tests.hostile.raw_requests import NEW_TASK
from tests.hostile.target import Target
from tests.support.client import make_key
from tests.support.server import start_server, stop_server

MANY = 150
IS_NIGHTLY = settings.get_current_profile_name() == "nightly"


@contextmanager
def held(target: Target, beginning: bytes, number: int) -> Iterator[list[socket.socket]]:
    """Hold so many connections on which a request has begun and does not go on."""
    with ExitStack() as stack:
        connections = [stack.enter_context(target.connect()) for _ in range(number)]
        for connection in connections:
            connection.sendall(beginning)
        time.sleep(0.3)
        yield connections


@pytest.mark.parametrize("program", ["granian", "waitress-serve"], indirect=True)
@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 500", "", '{"type": "work'],
        ["Content-Length: 900000", "", '{"type": "' + "x" * 200_000],
        ["Transfer-Encoding: chunked", "", "5\r\nabc"],
        ["X-Never: ended"],
        [],
    ],
    ids=["bodies", "large bodies", "chunks", "headers", "first lines"],
)
def test_many_requests_that_never_end_hold_nobody_up(unharmed: Target, lines: list[str]) -> None:
    beginning = unharmed.head("POST", "/api/tasks", *lines).removesuffix(b"\r\n")
    before = unharmed.count_tasks()
    with held(unharmed, beginning if lines else b"PO", MANY):
        for _ in range(5):
            # Twice, for each process of the server.
            unharmed.must_work()
            large = {"type": "work", "params": {"text": "x" * 100_000}}
            assert unharmed.call("POST", "/api/tasks", large)[0] == 201
    assert unharmed.count_tasks() == before + 10


@pytest.mark.parametrize("program", ["granian", "waitress-serve"], indirect=True)
def test_unknown_callers_hold_nobody_up_either(unharmed: Target) -> None:
    beginning = b"GET /api/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nabc"
    with held(unharmed, beginning, MANY):
        unharmed.must_work()
        unharmed.must_work()


@pytest.mark.parametrize("program", ["granian", "gunicorn", "waitress-serve"], indirect=True)
def test_a_body_that_comes_byte_by_byte_is_understood(unharmed: Target) -> None:
    with unharmed.connect() as connection:
        head = unharmed.head("POST", "/api/tasks", f"Content-Length: {len(NEW_TASK)}", "Connection: close")
        for byte in head + b"\r\n" + NEW_TASK:
            connection.sendall(bytes([byte]))
            time.sleep(0.002)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 201 "), answer


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_body_that_does_not_come_in_time_gets_an_answer_and_loses_its_connection(
    prepared_url, open_database, tmp_path
):
    key = make_key(open_database(clock=None), "admin", name="admin")
    server = start_server(
        prepared_url, key, tmp_path / "log", processes=1, application="tests.hostile.impatient:application"
    )
    try:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=20) as connection:
            head = f"POST /api/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: 50\r\n\r\n"
            began = time.monotonic()
            connection.sendall(head.encode())
            answer = b""
            # Byte by byte it would take a minute: what counts is the whole time.
            while time.monotonic() - began < 15:
                try:
                    connection.sendall(b" ")
                except ConnectionError:
                    break
                connection.settimeout(0.2)
                try:
                    part = connection.recv(65536)
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
                if not part:
                    break
                answer += part
            assert 1.5 < time.monotonic() - began < 12
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b"not in time" in answer
    finally:
        stop_server(server)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.skipif(not IS_NIGHTLY, reason="takes long: gunicorn's own patience")
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_gunicorn_ends_a_process_that_a_client_holds_and_goes_on(tmp_path, open_database, database_kind):
    database = open_database(clock=None)
    server = Target("gunicorn", database, make_key(database, "admin"), tmp_path / "log", "--timeout", "2")
    try:
        with held(server, server.head("POST", "/api/tasks", "Content-Length: 500") + b"\r\n{", 2):
            # Both processes are held, until gunicorn replaces them.
            assert server.call("GET", "/api/health", patience=25)[0] == 200
    finally:
        server.stop()
