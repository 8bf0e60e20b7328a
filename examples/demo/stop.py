"""The wish to stop: Ctrl-C and signals are noted when they come, and heeded where that is safe."""

import signal
import time

from examples.demo.failure import Stopped

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_wishes: list[int] = []


def listen() -> None:
    """From now on note the signals instead of being ended by them."""
    for number in _SIGNALS:
        signal.signal(number, lambda number, _frame: _wishes.append(number))


def heed() -> None:
    """Raise Stopped if a signal has come."""
    if _wishes:
        raise Stopped


def pause(seconds: float) -> None:
    """Sleep; raise Stopped soon after a signal has come."""
    wake_at = time.monotonic() + seconds
    heed()
    while (rest := wake_at - time.monotonic()) > 0:
        time.sleep(min(rest, 0.1))
        heed()
