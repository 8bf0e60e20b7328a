"""A clock that stands still until a test moves it."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=timezone.utc)


class ManualClock:
    """A `Clock` for the database that never asks it."""

    def __init__(self, instant: datetime = START) -> None:
        self.instant = instant

    def now(self, ask: Callable[[], datetime]) -> datetime:
        """Return the instant to which the test has moved the clock."""
        return self.instant

    def advance(self, *, seconds: float) -> datetime:
        """Move the clock forward and return the new instant."""
        self.instant += timedelta(seconds=seconds)
        return self.instant
