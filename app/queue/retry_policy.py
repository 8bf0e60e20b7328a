"""How long until the next attempt? Pure."""

import random
from collections.abc import Callable

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
