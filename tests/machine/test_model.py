"""The short profile of the model test, the same examples each time; `python -m tests.machine` draws others."""

import pytest

from tests.machine.driver import run_machine
from tests.machine.server import Server

# About as long on both; each statement on MariaDB goes over a socket.
EXAMPLES = {"sqlite": 100, "mariadb": 50}


@pytest.fixture
def server(prepared_url):
    server = Server(prepared_url)
    yield server
    server.close()


def test_the_queue_does_what_the_model_does(server, database_kind):
    run_machine(server, seed=20260101, examples=EXAMPLES[database_kind])
