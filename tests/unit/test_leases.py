"""Lease tokens: what is read from one, whoever has made it up."""

import pytest

from app.queue.leases import Lease, make_token, read_token


@pytest.mark.parametrize("has_followers", [False, True])
def test_a_token_says_what_it_was_made_of(has_followers):
    token = make_token(12, 300, "0f" * 16, has_followers=has_followers)
    assert read_token(token) == Lease(12, 300, has_followers)


NOTHING = [None, "", "-", "--", "-f", "1", "1-2", "1-2-f", "1-2-x-y"]
NO_NUMBERS = ["a-2-x", "1-b-x", "a-b-x", "-2-x", "1--x", "+1-2-x", "1.5-2-x", "\u0661-2-x", "1-\u0662-x"]


@pytest.mark.parametrize("token", [*NOTHING, *NO_NUMBERS, "1-2-é"])
def test_what_is_not_a_token_says_nothing(token):
    assert read_token(token) is None


def test_a_token_of_many_digits_names_numbers_that_a_database_can_hold():
    lease = read_token(f"{'9' * 100}-{'9' * 100}-x")
    assert lease is not None
    assert lease.type_id < 2**63
    assert lease.seconds < 2**31
