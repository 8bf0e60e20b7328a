"""Patterns: `%`, `_` and `\\`, and no time bombs."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.queue.patterns import matcher


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("checksum", "checksum", True),
        ("checksum", "CheckSum", True),
        ("CHECK%", "checksum", True),
        ("check", "checksum", False),
        ("%sum", "checksum", True),
        ("%eck%", "checksum", True),
        ("%", "", True),
        ("%", "anything at all", True),
        ("%%", "a", True),
        ("_", "", False),
        ("_", "a", True),
        ("_", "😀", True),
        ("_", "ab", False),
        ("_%", "a", True),
        ("_%", "", False),
        ("a_c", "abc", True),
        ("a_c", "ac", False),
        ("a%c", "ac", True),
        ("a%c", "abcd", False),
        (r"a\_c", "a_c", True),
        (r"a\_c", "abc", False),
        (r"100\%", "100%", True),
        (r"100\%", "100 percent", False),
        (r"a\\b", r"a\b", True),
        (r"a\b", "ab", True),
        ("a\\", "a\\", True),
        ("", "", True),
        ("", "a", False),
        ("a.c", "abc", False),
        ("[a-z]*", "abc", False),
        ("STRASSE", "straße", True),
        ("%a%a%a%b", "a" * 50, False),
    ],
)
def test_a_pattern_fits_what_it_should(pattern: str, name: str, fits: bool) -> None:
    assert matcher(pattern)(name) is fits


def by_regular_expression(pattern: str, name: str) -> bool:
    parts = {"%": ".*", "_": "."}
    expression = "".join(parts.get(character) or re.escape(character) for character in pattern)
    return re.fullmatch(expression, name, re.DOTALL) is not None


@given(st.text("ab%_", max_size=8), st.text("ab", max_size=10))
def test_a_pattern_fits_as_the_same_regular_expression_does(pattern: str, name: str) -> None:
    assert matcher(pattern)(name) is by_regular_expression(pattern, name)


@given(st.text())
def test_an_escaped_name_fits_itself_and_nothing_else(name: str) -> None:
    pattern = "".join(f"\\{character}" for character in name)
    assert matcher(pattern)(name)
    assert not matcher(pattern)(name + "x")


def test_many_wildcards_take_no_exponential_time() -> None:
    began = time.perf_counter()
    assert not matcher("%a" * 127 + "b")("a" * 255)
    assert time.perf_counter() - began < 1
