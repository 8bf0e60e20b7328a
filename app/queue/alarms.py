"""Alarms: when time must do something to a waiting task. Pure."""

from datetime import datetime, timedelta

from app.policies import Policies
from app.queue.retry_policy import retries_end


def first_alarm(policies: Policies, since: datetime, deadline_at: datetime | None) -> datetime | None:
    """Return when a task that became pending at `since`, and was never started, must be given up."""
    if policies.expires_after_seconds is None:
        return deadline_at
    return first_of(since + timedelta(seconds=policies.expires_after_seconds), deadline_at)


def pending_alarm(
    policies: Policies,
    now: datetime,
    attempts: int,
    deadline_at: datetime | None,
    first_claimed_at: datetime | None = None,
) -> datetime | None:
    """Return the alarm of a task that becomes pending now, after so many attempts, the first of which began then."""
    if attempts == 0:
        return first_alarm(policies, now, deadline_at)
    end = retries_end(policies, first_claimed_at)
    return deadline_at if end is None else first_of(end, deadline_at)


def first_of(instant: datetime, deadline_at: datetime | None) -> datetime:
    """Return the earlier of an instant and a deadline, if there is one."""
    return instant if deadline_at is None else min(instant, deadline_at)
