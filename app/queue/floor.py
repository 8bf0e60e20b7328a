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
# Being busy passes, and comparing costs a statement: so many slow looks in a row before the first comparison, so many
# comparisons in a row, and so many times as fast must looks from the floor have been in all of them together.
SLOW_LOOKS = 50
COMPARISONS = 5
_GAIN = 2
# For so many times as long as the look took, the next ones begin at the floor.
_KEPT_FOR = 10
_REMEMBERED_SECONDS = 600
_NO_SLOW_LOOKS = (0, 0.0, 0.0)

Look = Callable[[Any], list[Row]]


def find_floor(tx: Transaction, of: Hashable) -> Any:
    """Return the floor of this kind of look, or None if it has none now."""
    return tx.cache.peek(("floor", of))


def keep_floor(tx: Transaction, of: Hashable, floor: Any, seconds: float) -> None:
    """Let looks of this kind begin there for so long."""
    tx.cache.keep(("floor", of), floor, seconds)


def look_from_start(tx: Transaction, of: Hashable, look: Look, floor_of: Callable[[list[Row]], Any]) -> list[Row]:
    """Return what `look(None)` finds, and keep the floor of it if `look(floor)` is much faster."""
    began = monotonic()
    found = look(None)
    seconds = monotonic() - began
    counter = ("slow looks", of)
    looks, from_start, from_floor = tx.cache.peek(counter) or _NO_SLOW_LOOKS
    goes_on = seconds > SLOW_SECONDS
    if not (goes_on or looks):
        return found
    looks += 1
    if goes_on and looks > SLOW_LOOKS:
        floor = floor_of(found)
        from_start += seconds
        from_floor += _seconds_of(look, floor)
        if looks >= SLOW_LOOKS + COMPARISONS:
            goes_on = from_floor * _GAIN < from_start
            if goes_on:
                keep_floor(tx, of, floor, seconds * _KEPT_FOR)
                # When its time is over, one more comparison shows whether it is still of use; the older count less.
                looks, from_start, from_floor = looks - 1, from_start / 2, from_floor / 2
    tx.cache.keep(counter, (looks, from_start, from_floor) if goes_on else _NO_SLOW_LOOKS, _REMEMBERED_SECONDS)
    return found


def _seconds_of(look: Look, floor: Any) -> float:
    began = monotonic()
    look(floor)
    return monotonic() - began
