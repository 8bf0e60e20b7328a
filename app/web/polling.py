"""When should a worker that found nothing ask again?"""

import math
import random
import time
from collections.abc import Callable, Hashable

_REMEMBERED = 1000
# After a quiet time of so many seconds a worker waits one second.
_QUIET_PER_SECOND = 10


class Polling:
    """Remembers, for this process, when each kind of claim last found something.

    Polls are most of a queue's traffic, and some hosts count queries: the longer a kind of claim has found nothing,
    the longer its workers are asked to wait. The waits are spread, so that workers do not ask in step.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, chance: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._busy_at: dict[Hashable, float] = {}

    def found_something(self, kind: Hashable) -> None:
        """Remember that claims of this kind are worth asking for now."""
        if len(self._busy_at) >= _REMEMBERED:
            self._busy_at = {}
        self._busy_at[kind] = self._clock()

    def retry_after_seconds(self, kind: Hashable, *, shortest: int, longest: int) -> int:
        """Return whole seconds from `shortest` to `longest`, longer the longer it has been quiet."""
        busy_at = self._busy_at.get(kind)
        if busy_at is None:
            # Never asked for before: its tasks may be on their way.
            self.found_something(kind)
            busy_at = self._clock()
        wait = (self._clock() - busy_at) / _QUIET_PER_SECOND
        wait = max(wait, shortest) * (1 + 0.5 * self._chance())
        return min(max(math.floor(wait), shortest), longest)
