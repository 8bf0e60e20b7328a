"""How long until the next attempt? Pure."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from app.policies import Policies


def retry_delay_seconds(policies: Policies, failed_attempts: int, chance: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait after the `failed_attempts`-th failure (1 or more), with the policy's jitter.

    `fixed` waits the delay each time, `linear` the delay times the failures, `exponential` doubles it each time;
    the cap comes before the jitter, so that retries at the cap spread out too.
    """
    factor: float
    if policies.retry_backoff == "fixed":
        factor = 1
    elif policies.retry_backoff == "linear":
        factor = failed_attempts
    else:
        factor = 2.0 ** min(failed_attempts - 1, 60)
    delay = min(policies.retry_delay_seconds * factor, policies.retry_delay_max_seconds)
    return delay * (1 + policies.retry_jitter * (2 * chance() - 1))


def retries_end(policies: Policies, first_claimed_at: datetime | None) -> datetime | None:
    """Return the instant at and after which no attempt begins any more, or None if there is none."""
    if policies.retry_for_seconds is None or first_claimed_at is None:
        return None
    return first_claimed_at + timedelta(seconds=policies.retry_for_seconds)


def is_out_of_time(policies: Policies, first_claimed_at: datetime | None, begin_at: datetime) -> bool:
    """Tell whether an attempt that begins at `begin_at` comes too late for the time that all attempts have together."""
    end = retries_end(policies, first_claimed_at)
    return end is not None and begin_at >= end
