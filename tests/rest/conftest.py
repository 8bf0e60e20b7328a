"""What tests of bad input ask for by name."""

import pytest

from tests.support.client import Client
from tests.support.stage import Stage


@pytest.fixture
def stage(client: Client) -> Stage:
    return Stage(client)
