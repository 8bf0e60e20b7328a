"""A round of housekeeping: is anything due, who may do it, and the jobs slice by slice in turn."""

import logging
import math
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import select

from app.errors import DatabaseUnavailable, QueueError
from app.housekeeping.hold import Hold
from app.housekeeping.jobs import Job
from app.queue.duties import HOUSEKEEPING, RARE, close_until, held_until, remember_error
from app.storage.database import Database, Transaction

log = logging.getLogger("taskmanager.housekeeping")

_RARE_PERIOD = timedelta(seconds=60)


@dataclass(slots=True)
class Outcome:
    """What a round did."""

    #: Somebody else is doing it now, so this round did nothing.
    is_skipped: bool = False
    #: How many rows each job has changed.
    changed: dict[str, int] = field(default_factory=dict)
    #: The time was used up before everything was done.
    has_more: bool = False
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """How many rows were changed."""
        return sum(self.changed.values())


class Rounds:
    """The rounds of one process."""

    def __init__(self, database: Database, jobs: Sequence[Job]) -> None:
        self._database = database
        self._jobs = jobs
        self._look = select(
            held_until(HOUSEKEEPING).label("held_until"),
            held_until(RARE).label("closed_until"),
            *(job.alarm.label(job.name) for job in jobs),
        )

    def run(self, budget_seconds: float) -> Outcome:
        """Do what is due until nothing is or the time is used up; at least one slice."""
        began = time.monotonic()
        is_held, due = self._database.read(self._find_due)
        # Wherever the time ends, each job is as likely as the others to have had its turn.
        random.shuffle(due)
        return self._do(due, is_held, _Limit(began, end=began + budget_seconds))

    def run_once(self) -> Outcome:
        """Do one slice of each job that somebody may wait for."""
        began = time.monotonic()
        is_held, due = self._database.read(self._find_due)
        urgent = [job for job in due if not job.is_rare]
        outcome = self._do(urgent, is_held, _Limit(began, slices=len(urgent)))
        outcome.has_more = outcome.has_more or len(urgent) < len(due)
        return outcome

    def _find_due(self, tx: Transaction) -> tuple[bool, list[Job]]:
        """Tell whether somebody holds the duty, and which jobs have something to do: one read, and no write."""
        told = tx.one(self._look)
        assert told is not None
        is_held = told["held_until"] is not None and told["held_until"] > tx.now
        is_closed = told["closed_until"] is not None and told["closed_until"] > tx.now
        due = [job for job in self._jobs if job.is_due(told[job.name], tx.now) and not (job.is_rare and is_closed)]
        return is_held, due

    def _do(self, due: list[Job], is_held: bool, limit: "_Limit") -> Outcome:
        if not due:
            return Outcome(seconds=limit.seconds)
        hold = Hold(self._database)
        if is_held or not hold.take():
            return Outcome(is_skipped=True, has_more=True, seconds=limit.seconds)
        outcome = Outcome(changed=dict.fromkeys((job.name for job in due), 0))
        waiting = deque(due)
        while waiting and hold.keep():
            job = waiting.popleft()
            changed = self._do_slice(job)
            outcome.changed[job.name] += changed
            if changed:
                waiting.append(job)
            if limit.is_reached():
                break
        if any(job.is_rare for job in due) and not any(job.is_rare for job in waiting):
            self._database.write(lambda tx: close_until(tx, RARE, tx.now + _RARE_PERIOD), atomic=False)
        outcome.has_more = bool(waiting)
        outcome.seconds = limit.seconds
        hold.release(seconds=outcome.seconds, changed=outcome.total)
        return outcome

    def _do_slice(self, job: Job) -> int:
        """Do one slice; an error of one job is remembered, and does not stop the others.

        When the database is away the round ends here, and its hold by itself.
        """
        try:
            return self._database.write(job.work, atomic=False)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            log.exception("the job %s failed", job.name)
            # The text of an unknown error may hold SQL and values.
            text = error.shown_sentence if isinstance(error, QueueError) else "the log of the server has all of it"
            known = f"{job.name}: {type(error).__name__}: {text}"
            self._database.write(lambda tx: remember_error(tx, HOUSEKEEPING, known), atomic=False)
            return 0


class _Limit:
    """When a round has to end."""

    def __init__(self, began: float, *, end: float = math.inf, slices: float = math.inf) -> None:
        self._began = began
        self._end = end
        self._slices = slices

    @property
    def seconds(self) -> float:
        """How long the round has taken."""
        return time.monotonic() - self._began

    def is_reached(self) -> bool:
        """Count a slice, and tell whether it was the last."""
        self._slices -= 1
        return self._slices <= 0 or time.monotonic() >= self._end
