"""A small cache in the process, for what is read with every request and changed by people."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class Cache:
    """Keeps loaded values for `seconds`, and at most `size` of them: the least recently used go first."""

    def __init__(self, seconds: float, size: int = 2048, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._lock = Lock()
        self._values: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    def get(self, key: Hashable, load: Callable[[], T | None]) -> T | None:
        """Return the kept value of `key`, or load and keep it; None is never kept."""
        now = self._clock()
        with self._lock:
            found = self._values.get(key)
            if found is not None and found[0] > now:
                self._values.move_to_end(key)
                value: T = found[1]
                return value
        loaded = load()
        if loaded is not None and self._seconds > 0:
            with self._lock:
                self._values[key] = (now + self._seconds, loaded)
                self._values.move_to_end(key)
                while len(self._values) > self._size:
                    self._values.popitem(last=False)
        return loaded

    def clear(self) -> None:
        """Forget everything, so that a change made here is seen here at once."""
        with self._lock:
            self._values.clear()
