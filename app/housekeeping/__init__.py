"""Housekeeping: the passing of time, as work done beside ordinary requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from app.errors import QueueError
from app.settings import Settings
from app.storage.database import Database

if TYPE_CHECKING:
    from app.housekeeping.jobs import Job
    from app.housekeeping.rounds import Outcome, Rounds

log = logging.getLogger("taskmanager.housekeeping")

_ROUND_SECONDS = 1.0
# While the database is away, its next try costs a process its time.
_PAUSE_SECONDS = 10.0


class Housekeeper:
    """Does what is due for one process: at most one round a second, bounded in rows and in time."""

    def __init__(self, database: Database, settings: Settings, jobs: Sequence[Job] | None = None) -> None:
        self._database = database
        self._settings = settings
        self._jobs = jobs
        self._next_round = 0.0

    @cached_property
    def _rounds(self) -> Rounds:
        # Imported when there is time for it: the first answer is not to wait for all that time must do.
        from app.housekeeping.jobs import all_jobs
        from app.housekeeping.rounds import Rounds

        return Rounds(self._database, all_jobs(self._settings) if self._jobs is None else self._jobs)

    def run_if_time(self) -> int:
        """Do a slice of what is due if the last round is a second ago; return how many rows changed."""
        moment = time.monotonic()
        if moment < self._next_round:
            return 0
        self._next_round = moment + _ROUND_SECONDS
        try:
            outcome = self._rounds.run_once()
        except QueueError as error:
            # The caller asked for something else, and should not fail with this.
            log.warning("housekeeping was put off: %s", error)
            return 0
        if outcome.has_more and not outcome.is_skipped and self._settings.housekeeping_seconds > 0:
            # The rest is done when the answer is on its way.
            self._next_round = moment
        return outcome.total

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

    def run(self, budget_seconds: float) -> Outcome:
        """Do what is due until nothing is or the time is used up, unless another process is at it."""
        return self._rounds.run(budget_seconds)
