"""Chaos: a shuffled deck of faults, drawn one after the other at a steady pace; none is left out."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pymysql

from bench.torture.api import Lost

# How many of each fault are in the deck, and what it does.
Cards = dict[str, tuple[int, Callable[[], None]]]

# Longer than a fault waits for its two answers.
_SECONDS_TO_END = 200


class Chaos:
    """Injects faults, and counts them."""

    def __init__(self, cards: Cards, rng: random.Random) -> None:
        self._cards = cards
        self._rng = rng
        self._deck: list[str] = []
        self._threads: list[threading.Thread] = []
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []

    def pace(self, seconds: float, usual: float) -> float:
        """Return how many seconds lie between two faults, so that in so many seconds none of the deck is left out."""
        return min(usual, seconds / (sum(number for number, _ in self._cards.values()) + 2))

    def draw(self) -> None:
        """Inject the next fault of the deck, beside those that still go on."""
        if not self._deck:
            self._deck = [name for name, (number, _) in self._cards.items() for _ in range(number)]
            self._rng.shuffle(self._deck)
        name = self._deck.pop()
        thread = threading.Thread(target=self._do, args=(name,), name=name, daemon=True)
        self._threads = [*(other for other in self._threads if other.is_alive()), thread]
        thread.start()

    def _do(self, name: str) -> None:
        try:
            self._cards[name][1]()
            self.counts[name] += 1
        except (pymysql.MySQLError, Lost):
            # Another fault came in between, so this one comes again.
            self._deck.append(name)
        except Exception as error:
            self.errors.append(f"{name}: {error!r}")

    def end(self, meanwhile: Callable[[], None]) -> None:
        """Wait for what goes on, which may need what `meanwhile` does."""
        give_up_at = time.monotonic() + _SECONDS_TO_END
        while alive := [thread for thread in self._threads if thread.is_alive()]:
            if time.monotonic() > give_up_at:
                self.errors.extend(f"{thread.name}: does not end" for thread in alive)
                return
            meanwhile()
            time.sleep(0.1)

    @property
    def planned(self) -> list[str]:
        return list(self._cards)

    @property
    def kills(self) -> int:
        return sum(number for name, number in self.counts.items() if "kill -9" in name)
