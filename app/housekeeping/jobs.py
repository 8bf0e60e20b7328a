"""The jobs of housekeeping: all that time must do, in one list."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, func, select

from app.queue.audit import remove_old_audit
from app.queue.due import do_what_is_due
from app.queue.fire import fire_due_schedules
from app.queue.idempotency import remove_old_answers
from app.queue.line import admit_due
from app.queue.operate import run_operations
from app.queue.operations import FIRST_KEPT, FIRST_RUNNING, remove_old_operations
from app.queue.operations import KEPT as KEPT_OPERATIONS
from app.queue.sightings import KEPT as KEPT_WORKERS
from app.queue.sightings import remove_unseen_workers
from app.queue.usage import FIRST_UNCOUNTED, LAG, count_usage
from app.settings import Settings
from app.storage.database import Transaction
from app.storage.models import audit_entries, concurrency_keys, idempotency_keys, schedules, tasks, workers


@dataclass(frozen=True, slots=True)
class Job:
    """Something that time must do, one slice after the other."""

    name: str
    #: Does at most one slice and returns how many rows it changed, 0 when nothing is left.
    work: Callable[[Transaction], int]
    #: The scalar subquery of the instant since which there is something to do, or NULL. It is asked every second, so
    #: an index must answer it.
    alarm: Any
    #: How long after that instant it is to be done.
    delay: timedelta = timedelta(0)
    #: Nobody waits for it: it is done once a minute, and not on the way to a claim.
    is_rare: bool = False

    def is_due(self, alarm: datetime | None, now: datetime) -> bool:
        """Tell whether the job has something to do, by what its alarm said."""
        return alarm is not None and alarm + self.delay <= now


def earliest(column: Column[Any]) -> Any:
    """Return the alarm that an indexed column of instants gives."""
    return select(func.min(column)).scalar_subquery()


def all_jobs(settings: Settings) -> tuple[Job, ...]:
    """Return the jobs; before a claim gives up, a slice of each that is not rare is done, in this order."""
    return (
        Job("do_what_is_due", do_what_is_due, earliest(tasks.c.due_at)),
        Job("fire_due_schedules", fire_due_schedules, earliest(schedules.c.due_at)),
        Job("admit_due", admit_due, earliest(concurrency_keys.c.due_at)),
        Job("run_operations", run_operations, FIRST_RUNNING),
        Job("count_usage", count_usage, FIRST_UNCOUNTED, LAG, is_rare=True),
        Job("remove_old_operations", remove_old_operations, FIRST_KEPT, KEPT_OPERATIONS, is_rare=True),
        _removal(remove_old_answers, idempotency_keys.c.created_at, settings.idempotency_seconds),
        Job(
            "remove_unseen_workers", remove_unseen_workers, earliest(workers.c.last_seen_at), KEPT_WORKERS, is_rare=True
        ),
        _removal(remove_old_audit, audit_entries.c.created_at, settings.audit_seconds),
    )


def _removal(remove: Callable[[Transaction, int], int], column: Column[Any], keep_seconds: int) -> Job:
    """Return the job that removes rows so many seconds after the instant in `column`."""

    def work(tx: Transaction) -> int:
        return remove(tx, keep_seconds)

    return Job(remove.__name__, work, earliest(column), timedelta(seconds=keep_seconds), is_rare=True)
