"""What is tortured: the task types with their limits and short leases, the schedules, and how much work waits.

Clients import this without any package installed, so that a process starts in 50 ms.
"""

from typing import Any

_OFTEN = {"max_attempts": 15, "retry_delay_seconds": 0, "dedupe": "never"}
TYPES: dict[str, dict[str, Any]] = {
    "plain": {"lease_seconds": 4, **_OFTEN},
    "brittle": {
        "lease_seconds": 3,
        "max_attempts": 3,
        "retry_delay_seconds": 1,
        "retry_backoff": "fixed",
        "dedupe": "never",
    },
    "limited": {"lease_seconds": 2, "max_concurrency": 8, **_OFTEN},
    "rated": {"lease_seconds": 3, "rate_limit": "60/3", **_OFTEN},
    "keyed": {"lease_seconds": 2, "key_max_concurrency": 2, **_OFTEN},
    "step": {"lease_seconds": 3, **_OFTEN, "max_attempts": 8},
    "unique": {"lease_seconds": 3, **_OFTEN, "dedupe": "forever"},
    "tick": {"lease_seconds": 3, **_OFTEN},
}
# What an admin sets the limits to, now and then; none goes above the one of the beginning.
LOWERED: dict[str, dict[str, Any]] = {"limited": {"max_concurrency": 5}, "keyed": {"key_max_concurrency": 1}}
KEYS = tuple(f"key-{number}" for number in range(12))
# How many tasks of each type may wait before producers rest.
BACKLOG = {"plain": 6000, "brittle": 200, "limited": 40, "rated": 80, "keyed": 120, "step": 200, "unique": 40}
INTERVALS = (1, 2, 3, 5)
CACHE_SECONDS = 2
REQUEST_SECONDS = 8

RUNNING, DRAINING, STOPPED = range(3)
