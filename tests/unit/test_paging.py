"""Cursors."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidCursor
from app.rest.fields import MAX_ID
from app.rest.paging import make_cursor, read_cursor


@given(st.integers(1, MAX_ID))
def test_a_cursor_leads_back_to_its_place(below_id: int) -> None:
    cursor = make_cursor(below_id)
    assert read_cursor(cursor) == below_id
    assert cursor.isascii()
    assert not set(cursor) & set("=+/&?# ")
    assert len(cursor) <= 100


@given(st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(InvalidCursor):
        assert 0 < read_cursor(text) <= MAX_ID


@given(st.integers().filter(lambda number: not 0 < number <= MAX_ID))
def test_an_id_that_cannot_be_is_refused(below_id: int) -> None:
    with pytest.raises(InvalidCursor):
        read_cursor(make_cursor(below_id))
