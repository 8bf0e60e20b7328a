"""Ranks: where a task stands among its equals, lowest first. Pure.

One column and one index serve every order of claims, because each order can be written down when the task is created:
what grows with time grows for all tasks alike, so it never changes which of two comes first. Waiting `aging` seconds
counts as much as one point of priority: a task of priority p is ranked as if it had become available p times `aging`
seconds earlier than it did.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from app.policies import Policies
from app.storage.columns import EPOCH

# What has no deadline comes after everything that has one.
_NO_DEADLINE = 2**62
_MILLISECOND = timedelta(milliseconds=1)


def claim_rank(policies: Policies, *, priority: int, available_at: datetime, deadline_at: datetime | None) -> int:
    """Return the rank of a task that waits to be claimed."""
    if policies.claim_order == "deadline":
        return _NO_DEADLINE if deadline_at is None else _milliseconds(deadline_at)
    if policies.priority_aging_seconds is not None:
        rank = _milliseconds(available_at) - priority * policies.priority_aging_seconds * 1000
        return _bounded(rank)
    return -priority


def waiting_rank(policies: Policies, task: Mapping[str, Any]) -> int:
    """Return the rank that the row of a task gives it by the policies of now."""
    # After a retry the row no longer says since when the task could have been claimed.
    since = task["available_at"] if task["attempts"] == 0 else task["created_at"]
    return claim_rank(policies, priority=task["priority"], available_at=since, deadline_at=task["deadline_at"])


def move_rank(policies: Policies, rank: int, old_priority: int, new_priority: int) -> int:
    """Return the rank of a waiting task after its priority has changed; the time that it has waited still counts.

    Not made anew from the row: after a retry that no longer knows since when the task has waited.
    """
    old, new = (
        claim_rank(policies, priority=priority, available_at=EPOCH, deadline_at=None)
        for priority in (old_priority, new_priority)
    )
    return _bounded(rank + new - old)


def end_rank(ended_at: datetime) -> int:
    """Return the rank of a finished task: the latest are found at the end of the index of claims."""
    return _milliseconds(ended_at)


def ended_at(rank: int) -> datetime:
    """Return when the finished task of this rank ended."""
    return EPOCH + rank * _MILLISECOND


def _bounded(rank: int) -> int:
    return max(-_NO_DEADLINE, min(_NO_DEADLINE, rank))


def _milliseconds(instant: datetime) -> int:
    return (instant - EPOCH) // _MILLISECOND
