"""The policies of a task type: one place for their names, bounds, defaults and meaning.

Settings, the `task_types` table, the API's schemas and the documentation are all derived from `Policies`.
"""

import re
from dataclasses import dataclass, field, fields
from typing import Any

_YEAR = 366 * 86400
RETRY_BACKOFFS = ("fixed", "linear", "exponential")
DEDUPES = ("never", "unfinished", "forever")
_RATE = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,4})", re.ASCII)


def _policy(default: Any, meaning: str, **bounds: Any) -> Any:
    return field(default=default, metadata={"meaning": meaning, **bounds})


@dataclass(frozen=True, slots=True)
class Policies:
    """How the tasks of one type are retried, leased, deduplicated, limited and kept."""

    max_attempts: int = _policy(3, "How often a task is tried before it becomes a dead letter.", low=1, high=1000)
    retry_delay_seconds: float = _policy(
        5.0, "Seconds from a failed attempt until the next may begin.", low=0, high=_YEAR
    )
    retry_backoff: str = _policy("exponential", "How the delay grows from attempt to attempt.", choices=RETRY_BACKOFFS)
    retry_delay_max_seconds: float = _policy(
        3600.0, "The delay stops growing here; the jitter comes on top.", low=0, high=_YEAR
    )
    retry_jitter: float = _policy(
        0.1, "Share of the delay by which it is randomly changed, so that retries spread out.", low=0, high=1
    )
    lease_seconds: int = _policy(300, "How long a claim lasts without a heartbeat.", low=1, high=7 * 86400)
    attempt_timeout_seconds: int | None = _policy(
        None, "The longest that one attempt may take, heartbeats or not.", low=1, high=_YEAR
    )
    expires_after_seconds: int | None = _policy(
        None, "A task that nobody started within this time fails.", low=1, high=_YEAR
    )
    dedupe: str = _policy(
        "unfinished",
        "When an equal task is returned instead of a new one: never, while the equal one is unfinished, or forever.",
        choices=DEDUPES,
    )
    dedupe_window_seconds: int | None = _policy(
        None, "Equal tasks count as duplicates only when created within this time.", low=1, high=_YEAR
    )
    max_concurrency: int | None = _policy(
        None, "How many tasks of the type may be claimed at the same time.", low=1, high=1_000_000
    )
    rate_limit: str | None = _policy(
        None, "`N/M`: at most N claims in any M seconds (N up to 9999, M up to 99999).", pattern=_RATE
    )
    retention_seconds: int = _policy(30 * 86400, "Finished tasks are removed after this time.", low=0, high=10 * _YEAR)


POLICIES = {policy.name: policy for policy in fields(Policies)}


def parse_rate(rate: str) -> tuple[int, int]:
    """Return claims and seconds of a `rate_limit` like `100/60`; raises ValueError when it is not one."""
    match = _RATE.fullmatch(rate)
    if match is None:
        raise ValueError("must look like 100/60: claims, a slash, seconds")
    return int(match[1]), int(match[2])


def check_policy(name: str, value: Any) -> None:
    """Raise ValueError, with what is expected, if `value` is not allowed for the policy `name`."""
    policy = POLICIES[name]
    bounds = policy.metadata
    if value is None:
        if policy.default is not None:
            raise ValueError("must not be null")
        return
    if "choices" in bounds:
        if value not in bounds["choices"]:
            raise ValueError(f"must be one of: {', '.join(bounds['choices'])}")
    elif "pattern" in bounds:
        parse_rate(value)
    elif not bounds["low"] <= value <= bounds["high"]:
        raise ValueError(f"must be from {bounds['low']} to {bounds['high']}")
