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


class ClockAhead:
    """The clock of another process, which follows the test's and is a little ahead of it."""

    def __init__(self, clock: ManualClock, *, seconds: float) -> None:
        self._clock = clock
        self._ahead = timedelta(seconds=seconds)

    def now(self, ask: Callable[[], datetime]) -> datetime:
        """Return the present instant as that process has it."""
        return self._clock.now(ask) + self._ahead
