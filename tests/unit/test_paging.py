"""Cursors."""

import base64
import json
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidCursor
from app.rest.paging import (
    make_cursor,
    make_name_cursor,
    make_rank_cursor,
    read_cursor,
    read_name_cursor,
    read_rank_cursor,
)
from app.storage.columns import MAX_ID


@given(st.integers(1, MAX_ID))
def test_a_cursor_leads_back_to_its_place(below_id: int) -> None:
    cursor = make_cursor(below_id)
    assert read_cursor(cursor) == below_id
    assert cursor.isascii()
    assert not set(cursor) & set("=+/&?# ")
    assert len(cursor) <= 100


@given(st.text(min_size=1))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(InvalidCursor):
        assert 0 < read_cursor(text) <= MAX_ID


@given(st.integers().filter(lambda number: not 0 < number <= MAX_ID))
def test_an_id_that_cannot_be_is_refused(below_id: int) -> None:
    with pytest.raises(InvalidCursor):
        read_cursor(make_cursor(below_id))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255))
def test_a_cursor_leads_back_to_its_name(name: str) -> None:
    cursor = make_name_cursor(name)
    assert read_name_cursor(cursor) == name
    assert cursor.isascii()
    assert not set(cursor) & set("=+/&?# ")
    assert len(cursor) <= 2000


def test_the_longest_name_fits_into_a_cursor() -> None:
    assert len(make_name_cursor("\U0010ffff" * 255)) <= 2000


@given(st.text(min_size=1))
def test_any_text_is_a_cursor_of_a_name_or_refused(text: str) -> None:
    with suppress(InvalidCursor):
        assert 0 < len(read_name_cursor(text)) <= 255


@pytest.mark.parametrize("after", ["", "x" * 256, "a\x00", "\ud800", 5, None, ["a"], {"a": 1}, True])
def test_a_name_that_cannot_be_is_refused(after: object) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps({"after": after}).encode()).decode().rstrip("=")
    with pytest.raises(InvalidCursor):
        read_name_cursor(cursor)


@pytest.mark.parametrize("read", [read_cursor, read_name_cursor, read_rank_cursor])
@pytest.mark.parametrize("cursor", [None, ""])
def test_without_a_cursor_the_page_is_the_first(read: Callable[[str | None], object], cursor: str | None) -> None:
    assert read(cursor) is None


@pytest.mark.parametrize("make", [make_cursor, make_name_cursor, make_rank_cursor])
def test_behind_the_last_page_there_is_no_cursor(make: Callable[[None], str | None]) -> None:
    assert make(None) is None


def test_a_cursor_of_one_list_is_refused_by_the_other() -> None:
    with pytest.raises(InvalidCursor):
        read_cursor(make_name_cursor("a"))
    with pytest.raises(InvalidCursor):
        read_name_cursor(make_cursor(1))
