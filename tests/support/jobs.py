"""Jobs of housekeeping for tests: always due, and doing what the test says."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import cast, literal, select

from app.housekeeping.jobs import Job
from app.storage.columns import Instant
from app.storage.database import Transaction
from tests.support.clock import START


def make_job(name: str, work: Callable[[Transaction], int], **options: Any) -> Job:
    """Return a job that has been due since the beginning."""
    return Job(name, work, select(cast(literal(START, Instant), Instant)).scalar_subquery(), **options)
