"""Ranks: one number for each order of claims."""

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from app.policies import Policies
from app.queue.ranks import claim_rank, end_rank, waiting_rank

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
AGING = Policies(priority_aging_seconds=60)


def rank(policies, *, priority=0, after=0, deadline=None):
    deadline_at = None if deadline is None else NOON + timedelta(seconds=deadline)
    available_at = NOON + timedelta(seconds=after)
    return claim_rank(policies, priority=priority, available_at=available_at, deadline_at=deadline_at)


def test_without_aging_only_the_priority_counts():
    assert rank(Policies(), priority=5, after=10**6) == rank(Policies(), priority=5) < rank(Policies(), priority=4)


def test_with_aging_a_point_of_priority_is_worth_its_seconds():
    assert rank(AGING, priority=1, after=60) == rank(AGING, priority=0)
    assert rank(AGING, priority=1, after=59) < rank(AGING, priority=0)
    assert rank(AGING, priority=1, after=61) > rank(AGING, priority=0)


def test_the_earliest_deadline_comes_first_and_no_deadline_last():
    edf = Policies(claim_order="deadline")
    assert rank(edf, deadline=5) < rank(edf, deadline=6, priority=9) < rank(edf, priority=10**6)


def test_the_end_of_a_task_ranks_above_those_that_ended_before():
    assert end_rank(NOON) == 1767268800000 < end_rank(NOON + timedelta(milliseconds=1))
    assert end_rank(NOON + timedelta(microseconds=999)) == end_rank(NOON)


def test_a_task_has_waited_since_it_was_available_and_after_an_attempt_since_it_was_created():
    created_at, available_at = NOON, NOON + timedelta(hours=1)
    row = {"priority": 0, "created_at": created_at, "available_at": available_at, "deadline_at": None}
    for attempts, since in ((0, available_at), (1, created_at), (2, created_at)):
        expected = claim_rank(AGING, priority=0, available_at=since, deadline_at=None)
        assert waiting_rank(AGING, {**row, "attempts": attempts}) == expected


@given(
    st.integers(-(2**31) + 1, 2**31 - 1),
    st.integers(1, 366 * 86400),
    st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1)),
)
def test_a_rank_always_fits_into_its_column(priority, aging, instant):
    at = instant.replace(tzinfo=timezone.utc)
    for policies in (Policies(priority_aging_seconds=aging), Policies(claim_order="deadline"), Policies()):
        for deadline_at in (None, at):
            assert abs(claim_rank(policies, priority=priority, available_at=at, deadline_at=deadline_at)) < 2**63
