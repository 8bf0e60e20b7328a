"""Faults in what is pure: delays and ranks. Their tests need no database, so they are the quickest to plant."""

from tests.mutations.mutation import Mutation

_RETRY_POLICY = ("tests/unit/test_retry_policy.py",)
_RANKS = ("tests/unit/test_ranks.py",)

PURE = (
    Mutation(
        "The delay of a retry grows without end",
        "app/queue/retry_policy.py",
        "min(policies.retry_delay_seconds * factor, policies.retry_delay_max_seconds)",
        "policies.retry_delay_seconds * factor",
        _RETRY_POLICY,
    ),
    Mutation(
        "The first retry waits for twice its delay",
        "app/queue/retry_policy.py",
        "min(failed_attempts - 1, 60)",
        "min(failed_attempts, 60)",
        _RETRY_POLICY,
    ),
    Mutation(
        "With aging, a high priority comes last",
        "app/queue/ranks.py",
        "_milliseconds(available_at) - priority *",
        "_milliseconds(available_at) + priority *",
        _RANKS,
    ),
)
