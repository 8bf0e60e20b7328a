"""How long until the next attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policies import RETRY_BACKOFFS, Policies
from app.queue.retry_policy import retry_delay_seconds


def delays(
    backoff: str, *, delay: float = 5, most: float = 3600, jitter: float = 0, chance: float = 0.5
) -> list[float]:
    policies = Policies(
        retry_backoff=backoff, retry_delay_seconds=delay, retry_delay_max_seconds=most, retry_jitter=jitter
    )
    return [retry_delay_seconds(policies, number, chance=lambda: chance) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [("fixed", [5, 5, 5, 5, 5]), ("linear", [5, 10, 15, 20, 25]), ("exponential", [5, 10, 20, 40, 80])],
)
def test_the_delay_grows_as_the_policy_says(backoff: str, expected: list[float]) -> None:
    assert delays(backoff) == expected


def test_the_delay_never_grows_beyond_its_bound() -> None:
    assert delays("exponential", most=30) == [5, 10, 20, 30, 30]
    assert delays("fixed", delay=60, most=30) == [30] * 5


def test_the_jitter_spreads_the_delay_to_both_sides() -> None:
    assert delays("fixed", delay=100, jitter=0.1, chance=0) == [pytest.approx(90)] * 5
    assert delays("fixed", delay=100, jitter=0.1, chance=1) == [pytest.approx(110)] * 5
    assert delays("fixed", delay=100, jitter=1, chance=0) == [0] * 5


def test_no_delay_stays_no_delay() -> None:
    for backoff in RETRY_BACKOFFS:
        assert delays(backoff, delay=0, jitter=1, chance=0.9) == [0] * 5


@given(
    st.sampled_from(RETRY_BACKOFFS),
    st.floats(0, 366 * 86400),
    st.floats(0, 366 * 86400),
    st.floats(0, 1),
    st.integers(1, 1000),
    st.floats(0, 1),
)
def test_any_policy_gives_a_finite_delay_within_its_bounds(
    backoff: str, delay: float, most: float, jitter: float, attempts: int, chance: float
) -> None:
    policies = Policies(
        retry_backoff=backoff, retry_delay_seconds=delay, retry_delay_max_seconds=most, retry_jitter=jitter
    )
    seconds = retry_delay_seconds(policies, attempts, chance=lambda: chance)
    assert 0 <= seconds <= most * (1 + jitter)
