"""Housekeeping: the passing of time, as work done beside ordinary requests."""

import logging
import time

from app.errors import QueueError
from app.queue.due import do_what_is_due, remove_old_answers
from app.queue.usage import count_usage
from app.settings import Settings
from app.storage.database import Database

log = logging.getLogger("taskmanager.housekeeping")

_ROUND_SECONDS = 1.0
_RARE_SECONDS = 60.0


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
        return self._database.write(do_what_is_due, atomic=False)

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
            self._next_rare_round = time.monotonic() + _RARE_SECONDS
            while self._database.write(count_usage, atomic=False) and time.monotonic() < end:
                pass
            keep = self._settings.idempotency_seconds
            self._database.write(lambda tx: remove_old_answers(tx, keep), atomic=False)
        return changed
