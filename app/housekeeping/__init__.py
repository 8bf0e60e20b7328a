"""Housekeeping: the passing of time, as work done beside ordinary requests."""

import logging
import time
from collections.abc import Callable

from app.errors import QueueError
from app.queue.due import SLICE, do_what_is_due, remove_old_answers
from app.queue.usage import SLICE as USAGE_SLICE
from app.queue.usage import count_usage
from app.settings import Settings
from app.storage.database import Database, Transaction

log = logging.getLogger("taskmanager.housekeeping")

_ROUND_SECONDS = 1.0
_RARE_SECONDS = 60.0
# While the database is away, its next try costs a process its time.
_PAUSE_SECONDS = 10.0


class Housekeeper:
    """Does what is due for one process: at most one round a second, bounded in rows and in time."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._next_round = 0.0
        self._next_rare_round = 0.0

    def run_if_time(self) -> int:
        """Do one slice if the last round is a second ago; return how many rows changed."""
        moment = time.monotonic()
        if moment < self._next_round:
            return 0
        self._next_round = moment + _ROUND_SECONDS
        try:
            return self._database.write(do_what_is_due, atomic=False)
        except QueueError as error:
            # The caller asked for something else, and should not fail with this.
            log.warning("housekeeping was put off: %s", error)
            return 0

    def run_after_request(self) -> None:
        """Do a round once the answer is on its way; an error is logged, since there is nobody left to tell."""
        budget = self._settings.housekeeping_seconds
        if budget == 0 or time.monotonic() < self._next_round:
            return
        self._next_round = time.monotonic() + _ROUND_SECONDS
        try:
            self.run(budget_seconds=budget)
        except QueueError as error:
            log.warning("housekeeping was put off: %s", error)
            self._next_round = time.monotonic() + _PAUSE_SECONDS
        except Exception:
            log.exception("housekeeping failed")

    def run(self, budget_seconds: float) -> int:
        """Do what is due until nothing is or the time is used up; return how many rows changed."""
        end = time.monotonic() + budget_seconds
        changed = 0
        while done := self._database.write(do_what_is_due, atomic=False):
            changed += done
            if time.monotonic() >= end:
                return changed
        if time.monotonic() >= self._next_rare_round:
            keep = self._settings.idempotency_seconds
            is_all_done = self._repeat(lambda tx: remove_old_answers(tx, keep), SLICE, end)
            if self._repeat(count_usage, USAGE_SLICE, end) and is_all_done:
                self._next_rare_round = time.monotonic() + _RARE_SECONDS
        return changed

    def _repeat(self, work: Callable[[Transaction], int], slice_: int, end: float) -> bool:
        """Do the work at least once, until nothing is left or the time is used up; tell whether nothing is left."""
        while self._database.write(work, atomic=False) >= slice_:
            if time.monotonic() >= end:
                return False
        return True
