"""Request bodies: what JSON says, and nothing else."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.web.bodies import MAX_DEPTH, parse
from app.web.errors import InvalidJson

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=20)


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_every_json_value_is_read_as_it_is(value: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert parse(body) == value


@given(st.binary())
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"9" * 5000)
@example(b"-" + b"9" * 5000)
@example(b"1e" + b"9" * 5000)
@example(b'"\\ud800"')
@example(b'"\\ud83d\\ude00"')
@example("\ufeff{}".encode())
def test_any_bytes_are_a_json_value_or_refused(body: bytes) -> None:
    try:
        value = parse(body)
    except InvalidJson as error:
        assert error.detail
        assert "sys." not in error.detail
        return
    # Whatever was read can be written again, by a strict writer, in UTF-8.
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@given(st.text(alphabet='[]{}",:0123456789eE+-.truefalsn \\ud8cNI'))
def test_any_text_that_looks_like_json_is_read_as_json_or_refused(text: str) -> None:
    try:
        value = parse(text.encode())
    except InvalidJson:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@given(st.integers(1, 200), st.sampled_from([("[", "]"), ('{"a":', "}")]))
def test_64_levels_are_read_and_65_are_not(depth: int, signs: tuple[str, str]) -> None:
    body = (signs[0] * depth + "1" + signs[1] * depth).encode()
    if depth <= MAX_DEPTH:
        assert parse(body)
    else:
        with pytest.raises(InvalidJson, match="64 levels"):
            parse(body)


def test_brackets_in_texts_are_no_levels() -> None:
    assert parse(json.dumps({"a": "[{" * 1000}).encode()) == {"a": "[{" * 1000}
    assert parse(json.dumps([[]] * 1000).encode()) == [[]] * 1000


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "[1, 1e400]"])
def test_what_is_no_json_number_is_refused(word: str) -> None:
    with pytest.raises(InvalidJson):
        parse(word.encode())


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_value(number: float) -> None:
    assert math.copysign(1, parse(repr(number).encode())) == math.copysign(1, number)
    assert parse(repr(number).encode()) == number


@given(st.characters(categories=["Cs"]), st.text(max_size=3))
def test_half_of_a_surrogate_pair_is_refused_wherever_it_stands(half: str, around: str) -> None:
    for value in ([around + half], {around + half: 1}, {"a": [{"b": half + around}]}):
        with pytest.raises(InvalidJson, match="surrogate"):
            parse(json.dumps(value).encode())


def test_the_place_of_a_mistake_is_told() -> None:
    with pytest.raises(InvalidJson) as caught:
        parse(b'{\n  "a": 1,\n  b: 2\n}')
    assert "line 3, column 3" in caught.value.detail
