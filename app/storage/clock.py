"""The one clock of the queue: the database's, followed without a round trip for each look at it."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

RESYNC_SECONDS = 30.0
# A slower answer makes the clock late by up to its time, so the question is put again.
_PROMPT_SECONDS = 0.2
_MAX_QUESTIONS = 3


class Clock(Protocol):
    """Tells the present instant; `ask` asks the database, and is called only when needed."""

    def now(self, ask: Callable[[], datetime]) -> datetime:
        """Return the present instant in UTC."""


class DatabaseClock:
    """The database's clock, carried on by this process's monotonic clock and compared again every 30 s.

    It is never ahead, and late by no more than an answer took: where it were ahead, leases would end before the
    instants that their workers were told.

    The wall clock of the web host is never looked at: it may be hours off. Two threads may ask at the same time,
    which does no harm; a lock could be left locked by a fork.
    """

    def __init__(self) -> None:
        self._asked: tuple[datetime, float] | None = None

    def now(self, ask: Callable[[], datetime]) -> datetime:
        """Return the database's present instant."""
        asked = self._asked
        moment = time.monotonic()
        if asked is None or moment - asked[1] > RESYNC_SECONDS:
            asked = self._asked = _compare(ask)
            moment = time.monotonic()
        return asked[0] + timedelta(seconds=moment - asked[1])


def _compare(ask: Callable[[], datetime]) -> tuple[datetime, float]:
    """Return an instant of the database, and one of this process's monotonic clock that was not before it."""
    best = None
    shortest = float("inf")
    for _ in range(_MAX_QUESTIONS):
        before = time.monotonic()
        told = ask()
        after = time.monotonic()
        if after - before < shortest:
            shortest, best = after - before, (told, after)
        if shortest <= _PROMPT_SECONDS:
            break
    assert best is not None
    return best
