"""Words for people: numbers with their nouns, durations, instants, names in a row. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime

from app.policies import parse_rate

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))
# A unit is used from here on: 100 seconds and 36 hours say more than 2 minutes and 2 days.
_FROM = 1.75
_LONGEST_ERROR = 200
_BLANKS = re.compile(r"[\x00-\x20\x7f]+")


def count_of(count: int, noun: str, *, is_exact: bool = True) -> str:
    """Return a number with its noun: `1 task`, `3 tasks`, `more than 10,000 tasks`."""
    text = f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
    return text if is_exact else f"more than {text}"


def verb(count: int, singular: str, plural: str) -> str:
    """Return the form of the verb that goes with so many."""
    return singular if count == 1 else plural


def in_words(seconds: float) -> str:
    """Return a duration as a person would say it: `45 seconds`, `3 minutes`, `2 hours`, `5 days`."""
    for length, unit in _UNITS:
        if seconds >= _FROM * length or round(seconds) == length:
            return count_of(round(seconds / length), unit)
    return "less than a second" if seconds < 0.5 else count_of(round(seconds), "second")


def rate_of(rate: str) -> str:
    """Return a limit such as `100/60` in words: `100 claims in 60 seconds`."""
    claims, seconds = parse_rate(rate)
    return f"{count_of(claims, 'claim')} in {count_of(seconds, 'second')}"


def at(instant: datetime, now: datetime) -> str:
    """Return an instant, without the date where that is today's: `12:00:05 UTC`."""
    if instant.date() == now.date():
        return f"{instant:%H:%M:%S} UTC"
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def when(instant: datetime, now: datetime) -> str:
    """Return an instant that is to come, with the time until then: `12:03:05 UTC, in 3 minutes`."""
    return f"{at(instant, now)}, in {in_words((instant - now).total_seconds())}"


def in_a_row(names: Sequence[str], more: int = 0) -> str:
    """Return names as one says them: `a`, `a and b`, `a, b and c`, `a, b and 5 more`."""
    said = [*names, *([f"{more:,} more"] if more else [])]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def quoted(error: str | None) -> str:
    """Return the first line of an error in quotation marks, or `an unknown error`."""
    lines = (_BLANKS.sub(" ", line).strip() for line in (error or "").splitlines())
    first = next((line for line in lines if line), None)
    if first is None:
        return "an unknown error"
    return f"“{first if len(first) <= _LONGEST_ERROR else first[:_LONGEST_ERROR] + '…'}”"
