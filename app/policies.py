"""The policies of a task type: one place for their names, bounds, defaults and meaning.

Settings, the `task_types` table, the API's schemas and the documentation are all derived from `Policies`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

_YEAR = 366 * 86400
RETRY_BACKOFFS = ("fixed", "linear", "exponential")
DEDUPES = ("never", "unfinished", "forever")
ON_DUPLICATE = ("return", "reject", "replace")
CLAIM_ORDERS = ("priority", "deadline")
KEY_ORDERS = ("priority", "round_robin")
MAX_NAMES = 50
MAX_NAME = 255
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
    retry_for_seconds: int | None = _policy(
        None, "No attempt begins any more when so much time has passed since the first one began.", low=1, high=_YEAR
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
    dedupe_on: Sequence[str] | None = _policy(
        None, "Compare only these parameters, by name, and not all of them.", names=True
    )
    on_duplicate: str = _policy(
        "return",
        "What creating an equal task does: return the one that is there, be rejected (409), or replace the parameters, "
        "priority and times of one that still waits.",
        choices=ON_DUPLICATE,
        added_in="0002",
    )
    claim_order: str = _policy(
        "priority",
        "Which task is claimed first: the one of the highest priority, or the one with the earliest deadline.",
        choices=CLAIM_ORDERS,
        added_in="0002",
    )
    priority_aging_seconds: int | None = _policy(
        None,
        "Waiting so long counts as much as one point of priority, so that no task waits for ever behind others of "
        "higher priority.",
        low=1,
        high=_YEAR,
    )
    max_concurrency: int | None = _policy(
        None, "How many tasks of the type may be claimed at the same time.", low=1, high=1_000_000
    )
    rate_limit: str | None = _policy(
        None, "`N/M`: at most N claims in any M seconds (N up to 9999, M up to 99999).", pattern=_RATE
    )
    key_max_concurrency: int | None = _policy(
        None, "How many tasks with the same `concurrency_key` may be claimed at the same time.", low=1, high=1_000_000
    )
    key_rate_limit: str | None = _policy(
        None, "`N/M`: at most N claims of tasks with the same `concurrency_key` in any M seconds.", pattern=_RATE
    )
    key_order: str = _policy(
        "priority",
        "Whose turn it is among tasks with different `concurrency_key`s: that of the claim order, or each key in turn.",
        choices=KEY_ORDERS,
        added_in="0002",
    )
    retention_seconds: int = _policy(30 * 86400, "Finished tasks are removed after this time.", low=0, high=10 * _YEAR)


POLICIES = {policy.name: policy for policy in fields(Policies)}


def parse_rate(rate: str) -> tuple[int, int]:
    """Return claims and seconds of a `rate_limit` like `100/60`; raises ValueError when it is not one."""
    match = _RATE.fullmatch(rate)
    if match is None:
        raise ValueError("must look like 100/60: claims, a slash, seconds")
    return int(match[1]), int(match[2])


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError unless these are different, not empty texts of bounded number and length."""
    if not 1 <= len(names) <= MAX_NAMES:
        raise ValueError(f"must be 1 to {MAX_NAMES} names")
    if len(set(names)) < len(names) or not all(1 <= len(name) <= MAX_NAME for name in names):
        raise ValueError(f"must be different names of 1 to {MAX_NAME} characters")


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
    elif "names" in bounds:
        check_names(value)
    elif not bounds["low"] <= value <= bounds["high"]:
        raise ValueError(f"must be from {bounds['low']} to {bounds['high']}")
