"""A small cache in the process, for what is read with every request and changed by people."""

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Cache:
    """Keeps loaded values for `seconds`, and at most `size` of them: one more, and all are forgotten.

    Without a lock, which a fork could leave locked for ever: each step is one operation on a dict.
    """

    def __init__(self, seconds: float, size: int = 2048, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._values: dict[Hashable, tuple[float, Any]] = {}
        self._found: dict[Hashable, tuple[float, Any]] = {}

    def get(self, key: Hashable, load: Callable[[], T | None]) -> T | None:
        """Return the kept value of `key`, or load and keep it; None is never kept."""
        kept: T | None = self.peek(key)
        if kept is not None:
            return kept
        # What was being loaded when everything was forgotten is kept in the old dict, where nobody finds it.
        values, until = self._values, self._clock() + self._seconds
        loaded = load()
        if loaded is not None and self._seconds > 0:
            if len(values) >= self._size:
                self.clear()
                values = self._values
            values[key] = (until, loaded)
        return loaded

    def keep(self, key: Hashable, value: Any, seconds: float) -> None:
        """Keep what this process has found out by itself for a time of its own; `recall` returns it."""
        if len(self._found) >= self._size:
            self._found = {}
        self._found[key] = (self._clock() + seconds, value)

    def recall(self, key: Hashable) -> Any:
        """Return what was given to `keep`, or None; it is not forgotten with what people have changed."""
        return self._unless_over(self._found.get(key))

    def peek(self, key: Hashable) -> Any:
        """Return the loaded value of `key`, or None."""
        return self._unless_over(self._values.get(key))

    def _unless_over(self, kept: tuple[float, Any] | None) -> Any:
        return kept[1] if kept is not None and kept[0] > self._clock() else None

    def clear(self) -> None:
        """Forget everything, so that a change made here is seen here at once."""
        self._values = {}
