"""Fixtures of the tests of housekeeping."""

import pytest

from app.storage.database import Database
from tests.support.factories import Queue


@pytest.fixture
def queue(database: Database) -> Queue:
    """The verbs of the queue on the test's database."""
    return Queue(database)
