"""Floor: where the live entries of an index begin, remembered while the way to them is long.

While somebody keeps an old view of the database open, as a backup does, InnoDB cannot remove what has changed since
from its indexes: the entries of claimed tasks stay, marked as deleted, and every look from the start of the index walks
over all of them. A look from the floor does not.

Something may come to stand below the floor: a task of higher priority, or one that is tried again. So a floor is kept
only when looks from the start have been slow again and again and one from the floor was much faster, and only for so
long that looks from the start take a tenth of the time; and who finds too little above a floor looks from the start.
"""

from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any

from app.storage.database import Row, Transaction

# No look at a small queue takes as long, unless the database is far or busy.
SLOW_SECONDS = 0.002
# Being busy passes, and comparing costs a statement: so many slow looks in a row before the first comparison. Of the
# last comparisons the quickest looks count, since beside an old view every look from the start is slow.
SLOW_LOOKS = 50
COMPARISONS = 5
_GAIN = 2
# For so many times as long as the look from the start takes, the next ones begin at the floor.
_KEPT_FOR = 10
_MOST_SECONDS = 10.0
_REMEMBERED_SECONDS = 600
# How many there were, and what the last comparisons showed: seconds from the start, seconds from the floor.
_NO_SLOW_LOOKS: tuple[int, tuple[tuple[float, float], ...]] = (0, ())

Look = Callable[[Any], list[Row]]


def find_floor(tx: Transaction, of: Hashable) -> Any:
    """Return the floor of this kind of look, or None if it has none now."""
    return tx.cache.recall(("floor", of))


def keep_floor(tx: Transaction, of: Hashable, floor: Any, seconds: float) -> None:
    """Let looks of this kind begin there for so long."""
    tx.cache.keep(("floor", of), floor, seconds)


def look_from_start(tx: Transaction, of: Hashable, look: Look, floor_of: Callable[[list[Row]], Any]) -> list[Row]:
    """Return what `look(None)` finds, and keep the floor of it if `look(floor)` is much faster."""
    began = monotonic()
    found = look(None)
    seconds = monotonic() - began
    counter = ("slow looks", of)
    looks, compared = tx.cache.recall(counter) or _NO_SLOW_LOOKS
    goes_on = seconds > SLOW_SECONDS
    if not (goes_on or looks):
        return found
    looks += 1
    if goes_on and looks > SLOW_LOOKS:
        floor = floor_of(found)
        compared = (*compared, (seconds, _seconds_of(look, floor)))[-COMPARISONS:]
        if len(compared) == COMPARISONS:
            from_start, from_floor = (min(each) for each in zip(*compared, strict=True))
            goes_on = from_floor * _GAIN < from_start
            if goes_on:
                # When its time is over, one more comparison shows whether it is still of use.
                keep_floor(tx, of, floor, min(from_start * _KEPT_FOR, _MOST_SECONDS))
    tx.cache.keep(counter, (looks, compared) if goes_on else _NO_SLOW_LOOKS, _REMEMBERED_SECONDS)
    return found


def _seconds_of(look: Look, floor: Any) -> float:
    began = monotonic()
    look(floor)
    return monotonic() - began
