"""What is written as JSON text is what is read again, digit by digit."""

import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from app.storage.columns import Json, to_json, to_json_bytes

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)
READ = Json().result_processor(sqlite.dialect(), None)


def _exact(value):
    """Tell apart what Python takes for equal: 1, 1.0 and true; 0.0 and -0.0."""
    return repr(value)


@given(VALUES)
def test_a_value_comes_back_as_it_was(value):
    assert _exact(READ(to_json(value))) == _exact(value)
    assert _exact(json.loads(to_json_bytes(value))) == _exact(value)


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**300])
def test_integers_of_any_size_keep_their_digits(number):
    assert to_json({"n": [number]}) == f'{{"n":[{number}]}}'


def test_text_is_compact_and_readable():
    assert to_json({"naïve": ["日本", None, True, 1.0], "z": {}, "a": []}) == (
        '{"naïve":["日本",null,true,1.0],"z":{},"a":[]}'
    )


def test_values_nested_as_deep_as_a_body_may_be_are_written():
    value = deep = []
    for _ in range(300):
        deep.append([])
        deep = deep[0]
    assert to_json(value) == "[" * 301 + "]" * 301


@pytest.mark.parametrize("value", [datetime.now(timezone.utc), {1, 2}, b"bytes", object()])
def test_what_is_no_json_is_refused_and_not_guessed(value):
    with pytest.raises(TypeError):
        to_json([value])


def test_null_in_the_column_and_null_in_json_are_none():
    assert READ(None) is None
    assert READ(to_json(None)) is None
