"""Words for people: the right plural, the right unit, a date only where it is needed."""

from datetime import datetime, timedelta, timezone

import pytest

from app.queue.wording import at, count_of, in_a_row, in_words, quoted, rate_of, when

NOW = datetime(2026, 1, 1, 12, 0, 5, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("count", "is_exact", "text"),
    [
        (0, True, "0 tasks"),
        (1, True, "1 task"),
        (2, True, "2 tasks"),
        (10_000, True, "10,000 tasks"),
        (10_000, False, "more than 10,000 tasks"),
    ],
)
def test_a_number_has_its_noun_in_the_right_form(count, is_exact, text):
    assert count_of(count, "task", is_exact=is_exact) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a second"),
        (0.4, "less than a second"),
        (0.6, "1 second"),
        (1, "1 second"),
        (59.4, "59 seconds"),
        (59.6, "1 minute"),
        (60, "1 minute"),
        (61, "61 seconds"),
        (90, "90 seconds"),
        (104, "104 seconds"),
        (105, "2 minutes"),
        (180, "3 minutes"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (7200, "2 hours"),
        (86400, "1 day"),
        (129600, "36 hours"),
        (30 * 86400, "30 days"),
        (5000 * 86400, "5,000 days"),
    ],
)
def test_a_duration_is_said_in_the_unit_that_fits(seconds, text):
    assert in_words(seconds) == text


def test_an_instant_has_its_date_only_on_another_day():
    assert at(NOW, NOW) == "12:00:05 UTC"
    assert at(NOW - timedelta(days=1), NOW) == "2025-12-31 12:00:05 UTC"
    assert when(NOW + timedelta(minutes=3), NOW) == "12:03:05 UTC, in 3 minutes"
    assert when(NOW + timedelta(days=3), NOW) == "2026-01-04 12:00:05 UTC, in 3 days"


@pytest.mark.parametrize(
    ("names", "more", "text"),
    [
        (["a"], 0, "a"),
        (["a", "b"], 0, "a and b"),
        (["a", "b", "c"], 0, "a, b and c"),
        (["a"], 1, "a and 1 more"),
        (["a", "b"], 5000, "a, b and 5,000 more"),
    ],
)
def test_names_are_said_in_a_row(names, more, text):
    assert in_a_row(names, more) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, "an unknown error"),
        ("", "an unknown error"),
        (" \n\x00\n", "an unknown error"),
        ("disk full", "“disk full”"),
        ("Traceback:\n  File …", "“Traceback:”"),
        ("\n  a\x00\tb  \nc", "“a b”"),
        ("x" * 201, f"“{'x' * 200}…”"),
    ],
)
def test_of_an_error_the_first_line_is_quoted(error, text):
    assert quoted(error) == text


def test_a_limit_is_said_in_words():
    assert rate_of("100/60") == "100 claims in 60 seconds"
    assert rate_of("1/1") == "1 claim in 1 second"
