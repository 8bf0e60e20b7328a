"""The output for people: lines, and on a terminal a bar below them that says how far things are."""

import shutil
import sys
import threading
import time

_BAR = 24
_SECONDS_BETWEEN_LINES = 1.0


class Screen:
    """Writes to stdout from several threads; on anything but a terminal without control characters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_terminal = sys.stdout.isatty()
        self._bar = ""
        self._said_at = 0.0

    def say(self, text: str = "") -> None:
        """Write a line, above the bar if there is one."""
        with self._lock:
            sys.stdout.write(f"{self._erased()}{text}\n{self._bar}")
            sys.stdout.flush()

    def show_progress(self, done: int, total: int) -> None:
        """Show how many are done: as a bar that stays at the bottom, or as a line now and then."""
        text = f"{done} of {total} done"
        if self._is_terminal:
            filled = _BAR * done // max(total, 1)
            bar = f"{'█' * filled}{'░' * (_BAR - filled)}  {text}"
            # One that is wider than the window could not be erased.
            bar = bar[: shutil.get_terminal_size().columns - 1]
            with self._lock:
                sys.stdout.write(self._erased() + bar)
                sys.stdout.flush()
                self._bar = bar
        elif time.monotonic() - self._said_at > _SECONDS_BETWEEN_LINES or done == total:
            self._said_at = time.monotonic()
            self.say(text)

    def end_progress(self) -> None:
        """Leave the bar as it is and go on below it."""
        with self._lock:
            if self._bar:
                sys.stdout.write("\n")
            self._bar = ""

    def _erased(self) -> str:
        return "\r\x1b[K" if self._bar else ""
