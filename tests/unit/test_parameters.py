"""Which parameters are equal, and which are valid."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidParameters, InvalidResult
from app.queue.parameters import check_parameters, check_result, dedupe_hash

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=4))
PARAMS = st.dictionaries(st.text(), VALUES, max_size=5)


def hash_of(text: str) -> str:
    return dedupe_hash(1, json.loads(text), None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": 1.0}'),
        ('{"a": 1}', '{"a": 1e0}'),
        ('{"a": 100}', '{"a": 1E2}'),
        ('{"a": 0}', '{"a": -0.0}'),
        ('{"a": 0}', '{"a": 0.0e5}'),
        ('{"a": 10000000000000000000000}', '{"a": 1e22}'),
        ('{"a": [1, {"b": 2.0}]}', '{"a": [1.0, {"b": 2}]}'),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
        ('{"a": {"x": 1, "y": 2}}', '{"a": {"y": 2, "x": 1}}'),
        ('{"a": "\\u00e9"}', '{"a": "é"}'),
        ('{"a": "\\ud83d\\ude00"}', '{"a": "😀"}'),
        ("{ }", "{}"),
    ],
)
def test_equal_parameters_have_one_hash(one: str, other: str) -> None:
    assert hash_of(one) == hash_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 0}', '{"a": false}'),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": 0}', '{"a": null}'),
        ('{"a": null}', "{}"),
        ('{"a": []}', '{"a": {}}'),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"a": 0.1}', '{"a": 0.10000000000000002}'),
        ('{"a": 9007199254740993}', '{"a": 9007199254740992}'),
        ('{"a": "é"}', '{"a": "e\\u0301"}'),
        ('{"a": "A"}', '{"a": "a"}'),
        ('{"A": 1}', '{"a": 1}'),
        ('{"a": ""}', '{"a": " "}'),
    ],
)
def test_different_parameters_have_different_hashes(one: str, other: str) -> None:
    assert hash_of(one) != hash_of(other)


def test_the_type_and_the_callers_own_key_belong_to_the_hash() -> None:
    assert dedupe_hash(1, {}, None) != dedupe_hash(2, {}, None)
    assert dedupe_hash(1, {"a": 1}, "key") == dedupe_hash(1, {"a": 2}, "key")
    assert dedupe_hash(1, {}, "key") != dedupe_hash(1, {}, "KEY")
    assert dedupe_hash(1, {}, "key") != dedupe_hash(1, {}, None)
    assert dedupe_hash(1, {}, "") != dedupe_hash(1, {}, None)


@given(PARAMS)
def test_the_hash_survives_the_way_over_the_wire(params: dict[str, Any]) -> None:
    sent = json.dumps(params, sort_keys=True, indent=1)
    assert dedupe_hash(1, params, None) == dedupe_hash(1, json.loads(sent), None)


@given(PARAMS, PARAMS)
def test_the_hash_tells_apart_what_json_tells_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    if dedupe_hash(1, one, None) == dedupe_hash(1, other, None):
        assert one == other


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "path": {"type": "string"}}, "required": ["path"]}


def test_every_fault_of_the_parameters_is_named() -> None:
    with pytest.raises(InvalidParameters) as caught:
        check_parameters(SCHEMA, {"n": "many", "path": 5})
    assert {detail["field"] for detail in caught.value.details} == {"params.n", "params.path"}
    assert caught.value.shown_sentence.startswith("Parameter validation failed: params.")


def test_at_most_fifty_faults_are_named() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    with pytest.raises(InvalidParameters) as caught:
        check_parameters(schema, {str(number): number for number in range(1000)})
    assert len(caught.value.details) == 50


def test_right_parameters_pass() -> None:
    check_parameters(SCHEMA, {"n": 5, "path": "a", "more": None})


def test_a_result_is_checked_only_where_there_is_a_schema() -> None:
    check_result(None, {"anything": [None]})
    check_result({"type": "null"}, None)
    with pytest.raises(InvalidResult) as caught:
        check_result({"type": "integer"}, "five")
    assert caught.value.details[0]["field"] == "result"
