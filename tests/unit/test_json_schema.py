"""JSON Schemas: drafts and references, and what would take for ever."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from random import Random
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pytest

from app.errors import InvalidSchema
from app.queue.json_schema import MAX_SCHEMA_CHARACTERS, _compiled, compile_schema
from app.queue.pattern_cost import count_states
from app.queue.schema_cost import MAX_APPLICATIONS, measure_schema
from app.storage.columns import to_json

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"


def faults(schema: dict[str, Any], value: Any) -> list[dict[str, str]]:
    return compile_schema(schema).faults(value, to_json(value), "params")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds


# --- what is honoured -----------------------------------------------------------------------------------------------
def test_the_latest_draft_is_the_default() -> None:
    tuple_of = {"type": "array", "prefixItems": [{"type": "integer"}], "items": False}
    assert not faults(tuple_of, [1])
    assert faults(tuple_of, ["a"])
    assert faults(tuple_of, [1, 2])


def test_the_named_draft_is_honoured() -> None:
    tuple_of = {"type": "array", "items": [{"type": "integer"}], "additionalItems": False}
    assert faults({"$schema": DRAFT_7, **tuple_of}, ["a"])
    assert faults({"$schema": DRAFT_7, **tuple_of}, [1, 2])
    assert not faults({"$schema": DRAFT_7, **tuple_of}, [1])
    with pytest.raises(InvalidSchema):
        compile_schema(tuple_of)
    # Beside a reference draft 7 looks at nothing else; since 2019-09 everything counts.
    beside = {
        "type": "object",
        "properties": {"a": {"$ref": "#/definitions/x", "maximum": 5}},
        "definitions": {"x": {}},
    }
    assert not faults({"$schema": DRAFT_7, **beside}, {"a": 6})
    assert faults({"$schema": DRAFT_2019, **beside}, {"a": 6})
    exclusive = {"type": "object", "properties": {"a": {"maximum": 5, "exclusiveMaximum": True}}}
    assert faults({"$schema": DRAFT_4, **exclusive}, {"a": 5})


@pytest.mark.parametrize(
    "draft", ["https://example.org/mine", "", "draft-07", "https://json-schema.org/draft/next/schema", 7]
)
def test_an_unknown_draft_is_refused_and_the_known_are_listed(draft: Any) -> None:
    with pytest.raises(InvalidSchema) as caught:
        compile_schema({"$schema": draft, "type": "object"})
    assert "2020-12" in caught.value.detail
    assert "draft-07" in caught.value.detail


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"type": ["object", 5]},
        {"type": "object", "properties": []},
        {"type": "object", "required": "a"},
        {"type": "string", "minLength": -1},
        {"type": "string", "pattern": "("},
        {"type": "string", "pattern": "a{2,1}"},
        {"type": "object", "patternProperties": {"[": {}}},
    ],
)
def test_what_does_not_fit_its_metaschema_is_refused_by_place(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidSchema) as caught:
        compile_schema(schema)
    assert caught.value.details[0]["field"].startswith("param_schema.")


@pytest.mark.parametrize("reference", ["#/$defs/node", "#node", "#"])
def test_a_recursive_schema_is_fine(reference: str) -> None:
    node = {
        "type": "object",
        "$anchor": "node",
        "properties": {"child": {"anyOf": [{"type": "null"}, {"$ref": reference}]}},
    }
    if reference == "#/properties/child/anyOf/1":
        node["properties"]["child"]["anyOf"][1] = {"type": "object"}  # type: ignore[index]
        schema: dict[str, Any] = {**node, "properties": {**node["properties"], "other": {"$ref": reference}}}  # type: ignore[dict-item]
    else:
        schema = {**node, "$defs": {"node": {k: v for k, v in node.items() if k != "$anchor"}}}
    assert not faults(schema, {"child": None})
    assert not faults(schema, {"child": {}})
    assert faults(schema, {"child": 5})


def test_references_with_escaped_parts_are_followed() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x~1y~0z%20w"}},
        "$defs": {"x/y~z w": {"type": "null"}},
    }
    assert not faults(schema, {"a": None})
    assert faults(schema, {"a": 1})


# --- what is refused ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "reference",
    [
        "https://example.org/a.json",
        "http://127.0.0.1/",
        "file:///etc/passwd",
        "other.json",
        "other.json#/a",
        "//host/a",
    ],
)
def test_a_reference_that_leaves_the_schema_is_refused(reference: str) -> None:
    for keyword in ("$ref", "$dynamicRef"):
        with pytest.raises(InvalidSchema) as caught:
            compile_schema({"type": "object", "properties": {"a": {keyword: reference}}})
        assert "leaves the schema" in caught.value.detail


@pytest.mark.parametrize("reference", ["#/nowhere", "#nowhere", "#/$defs/a/b", "#/type", "#/$defs"])
def test_a_reference_that_leads_to_no_schema_is_refused(reference: str) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": reference}}, "$defs": {"a": {}}}
    if reference == "#/$defs":
        # A map of schemas passes for a schema without known keywords; it does no harm.
        compile_schema(schema)
        return
    with pytest.raises(InvalidSchema):
        compile_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "$ref": "#"},
        {"type": "object", "allOf": [{"$ref": "#"}]},
        {"type": "object", "not": {"anyOf": [{"$ref": "#"}]}},
        {"type": "object", "$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    ],
)
def test_a_reference_in_a_circle_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidSchema) as caught:
        compile_schema(schema)
    assert "leads back to itself" in caught.value.detail


@pytest.mark.parametrize("pattern", ["(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b", r"(a)\1", r"(?P<x>a)(?P=x)"])
def test_look_around_and_back_references_are_refused_in_clear_words(pattern: str) -> None:
    for schema in ({"type": "string", "pattern": pattern}, {"type": "object", "patternProperties": {pattern: {}}}):
        with pytest.raises(InvalidSchema) as caught:
            compile_schema(schema)
        assert "look-around" in caught.value.detail
        assert "back-references" in caught.value.detail


def test_a_schema_beyond_the_limit_is_refused() -> None:
    with pytest.raises(InvalidSchema):
        compile_schema({"type": "object", "description": "x" * MAX_SCHEMA_CHARACTERS})


# --- bombs ----------------------------------------------------------------------------------------------------------
def chain(length: int, *, keyword: str = "allOf", width: int = 2) -> dict[str, Any]:
    """Each definition refers several times to the next."""
    definitions: dict[str, Any] = {
        f"d{number}": {keyword: [{"$ref": f"#/$defs/d{number + 1}"}] * width} for number in range(length)
    }
    definitions[f"d{length}"] = {"type": "string"}
    return {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": definitions}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
@pytest.mark.parametrize("length", [20, 30, 500, 2000])
def test_an_exponential_chain_of_references_is_refused_at_once(keyword: str, length: int) -> None:
    with within(2), pytest.raises(InvalidSchema):
        compile_schema(chain(length, keyword=keyword))


def test_a_short_chain_of_references_is_fine() -> None:
    assert measure_schema(chain(8)).checks <= MAX_APPLICATIONS
    assert not faults(chain(8), {"a": "text"})
    assert faults(chain(8), {"a": 5})


def test_a_schema_that_applies_itself_twice_to_each_child_is_refused() -> None:
    twice = {"allOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}
    for keyword in ("additionalProperties", "items", "contains"):
        schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {keyword: twice}}}
        with within(2), pytest.raises(InvalidSchema):
            compile_schema(schema)


def test_a_schema_that_doubles_itself_through_two_patterns_is_refused() -> None:
    both = {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/n"}}
    with within(2), pytest.raises(InvalidSchema):
        compile_schema({"type": "object", "$ref": "#/$defs/n", "$defs": {"n": {"patternProperties": both}}})


def test_additional_properties_are_not_counted_for_the_named_ones() -> None:
    # Each member is checked by one of the two only, so this is a plain tree.
    node = {"properties": {"a": {"$ref": "#/$defs/n"}}, "additionalProperties": {"$ref": "#/$defs/n"}}
    compile_schema({"type": "object", "$ref": "#/$defs/n", "$defs": {"n": node}})


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "(.*)*x", "^([a-z]+)*[0-9]$", "(a*)*(a*)*(a*)*b"])
def test_a_regex_bomb_finishes(pattern: str) -> None:
    text = "a" * 100_000 + "!"
    with within(2):
        assert faults({"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}, {"a": text})


@pytest.mark.parametrize("pattern", ["a{1000}{1000}", "((a{100}){100}){100}", r"\p{L}{10000}", "(x+x+)+y" * 20000])
def test_a_pattern_that_grows_beyond_measure_is_refused_or_harmless(pattern: str) -> None:
    with within(5):
        try:
            compile_schema({"type": "string", "pattern": pattern})
        except InvalidSchema:
            return
        faults({"type": "string", "pattern": pattern}, "a" * 100_000)


def test_a_value_too_large_for_the_cost_of_its_schema_is_refused_in_words() -> None:
    schema = {"type": "object", "additionalProperties": {"allOf": [{"type": "string"}] * 5000}}
    value = {str(number): 1 for number in range(50_000)}
    with within(5):
        found = faults(schema, value)
    assert len(found) == 1
    assert "too large" in found[0]["problem"]


def test_many_faults_in_a_large_value_take_no_time_and_no_space() -> None:
    schema = {"type": "object", "additionalProperties": {"enum": [f"word {number}" for number in range(2000)]}}
    with within(5):
        found = faults(schema, {str(number): "x" * 20 for number in range(20_000)})
    assert 1 <= len(found) <= 50
    assert len(str(found)) < 50_000


@pytest.mark.parametrize("depth", [60, 500, 5000])
def test_a_deeply_nested_schema_is_refused_or_harmless(depth: int) -> None:
    definitions: dict[str, Any] = {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(depth)}
    schema = {"type": "array", "$ref": "#/$defs/d0", "$defs": {**definitions, f"d{depth}": {}}}
    with within(5):
        try:
            compile_schema(schema)
        except InvalidSchema:
            return
        faults(schema, [[[]]])


def test_a_long_chain_of_single_references_is_refused_or_harmless() -> None:
    for length in (50, 1000, 5000):
        with within(5):
            try:
                compile_schema(chain(length, width=1))
            except InvalidSchema:
                continue
            assert faults(chain(length, width=1), {"a": 5})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"multipleOf": 0.01}, 1e308),
        ({"multipleOf": 1e-300}, 1e300),
        ({"multipleOf": 3}, 10**400),
        ({"maximum": 10**400}, 10**401),
        ({"minLength": 10**30}, "a"),
        ({"enum": [10**400, 1e308]}, 10**400),
        ({"uniqueItems": True}, [[number] for number in range(3000)]),
        ({"const": {"a": [1.0]}}, {"a": [1]}),
        ({"format": "email"}, "x" * 10_000),
        ({"format": "regex"}, "("),
        ({"minProperties": -1}, {}),
    ],
)
def test_extreme_keywords_do_no_harm(schema: dict[str, Any], value: Any) -> None:
    with within(5):
        try:
            faults({"type": ["object", "array", "number", "string"], **schema}, value)
        except InvalidSchema:
            return


def test_the_same_schema_is_compiled_once() -> None:
    assert compile_schema({"type": "object", "title": "x"}) is compile_schema({"type": "object", "title": "x"})


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
@pytest.mark.parametrize("unevaluated", ["unevaluatedProperties", "unevaluatedItems"])
def test_nested_schemas_with_unevaluated_members_are_refused_before_they_take_for_ever(
    keyword: str, unevaluated: str
) -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(22):
        schema = {keyword: [schema], unevaluated: False}
    with pytest.raises(InvalidSchema):
        compile_schema({"type": "object", **schema})


@pytest.mark.parametrize("draft", ["http://json-schema.org/draft-07/schema#", None])
def test_items_that_an_older_draft_does_not_name_count_for_all(draft: str | None) -> None:
    again = {"$ref": "#/definitions/r"}
    schema: dict[str, Any] = {
        "type": "array",
        "definitions": {"r": {"allOf": [{"items": again}, {"prefixItems": [True], "items": again}]}},
        "allOf": [again],
    }
    if draft is None:
        compile_schema({**schema, "definitions": {"r": {"prefixItems": [again], "items": again}}})
        return
    with pytest.raises(InvalidSchema):
        compile_schema({**schema, "$schema": draft})


@pytest.mark.parametrize("index", ["²", "1" * 5000, "-1", "x"])
def test_a_reference_to_no_index_leads_nowhere(index: str) -> None:
    with pytest.raises(InvalidSchema, match="nowhere"):
        compile_schema({"type": "object", "allOf": [{"$ref": f"#/allOf/{index}"}]})


# --- bombs that went off, once ----------------------------------------------------------------------------------------
@contextmanager
def within_memory(megabytes: float) -> Iterator[None]:
    before = getrusage(RUSAGE_SELF).ru_maxrss
    yield
    assert (getrusage(RUSAGE_SELF).ru_maxrss - before) / 1024 < megabytes


def of_x(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}}


def evaluated(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that always fits and always has `schema` evaluated."""
    return {"not": {"allOf": [schema, False]}}


@pytest.mark.parametrize(
    "pattern",
    [
        *("(a|b)*a(a|b){1000}c", "[ab]*a[ab]{1000}c", "[ab]*a([ab]{40}){30}c", r"\w*a\w{900}c"),
        *("(a|b)*a(a|b){0000001000}c", "(a|b)*a(a|b){\u00a01000}c", "[ab]*a[ab]{2,00000000008000}c"),
    ],
)
def test_a_pattern_with_thousands_of_states_meets_no_long_text(pattern: str) -> None:
    chance = Random(1)
    text = "".join(chance.choice("ab") for _ in range(300_000))
    with within(2):
        found = faults(of_x({"pattern": pattern}), {"x": text})
    assert "too large" in found[0]["problem"]


@pytest.mark.parametrize("pattern", ["a{1," + " " * 250_000, "a{" + "1" * 250_000, "{" * 250_000, "a{1,2 }" * 35_000])
def test_the_states_of_a_pattern_are_counted_in_no_time(pattern: str) -> None:
    with within(1):
        count_states(pattern)


def test_ordinary_patterns_meet_texts_as_long_as_a_body() -> None:
    uuid = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
    value = {"x": ["01234567-89ab-cdef-0123-456789abcdef"] * 25_000}
    for pattern in (uuid, "^[a-z0-9-]{1,64}$", r"^\d{4}-\d{2}-\d{2}T", "^(a|b|c)+$"):
        assert not faults(of_x({"items": {"anyOf": [{"pattern": pattern}, {"pattern": uuid}]}}), value)


def test_patterns_take_no_more_memory_than_a_schema_may() -> None:
    for number, pattern in enumerate(("x{9000}", "[^a]{200}")):
        schema = of_x({"allOf": [{"pattern": f"{pattern}{number}-{which}"} for which in range(700)]})
        with within(2), within_memory(60), suppress(InvalidSchema):
            compile_schema(schema)
    many = {f"^[a-z]{{1,32}}_{number}$": {"type": "string"} for number in range(700)}
    assert not faults({"type": "object", "patternProperties": many}, {"abc_5": "x"})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"propertyNames": {"pattern": "^(a|b|ab)*c$"}}, {f"{'ab' * 20}{number}": 1 for number in range(3000)}),
        ({"required": [f"z{number}" for number in range(20_000)]}, {"y": "y" * 15_000}),
        ({"dependentRequired": {"a": [f"z{number}" for number in range(20_000)]}}, {"a": 1, "y": "y" * 15_000}),
        (
            {"$schema": DRAFT_7, "dependencies": {"a": [f"z{number}" for number in range(20_000)]}},
            {"a": 1, "y": "y" * 15_000},
        ),
    ],
    ids=["names", "required", "dependent", "dependencies"],
)
def test_faults_that_each_repeat_the_whole_value_are_not_collected(schema: dict[str, Any], value: Any) -> None:
    compiled = {"type": "object", **schema}
    with within(2), within_memory(60):
        found = faults(compiled, value)
    assert "too large to say where" in found[0]["problem"]
    assert len(faults({"type": "object", "propertyNames": {"maxLength": 3}}, {"long name": 1, "a": 2})) == 1


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"allOf": [evaluated({"multipleOf": 1e-300 * n}) for n in range(1, 6)]}}, [1e300] * 60_000),
        ({"items": {"allOf": [evaluated({"multipleOf": 10**4000 + n}) for n in range(60)]}}, [10**4200 + 7] * 200),
    ],
    ids=["multiples", "long multiples"],
)
def test_expensive_keywords_are_counted_for_what_they_cost(schema: dict[str, Any], value: Any) -> None:
    with within(3), suppress(InvalidSchema):
        faults(of_x(schema), {"x": value})


def test_ordinary_multiples_and_formats_are_no_burden() -> None:
    assert not faults(of_x({"items": {"multipleOf": 0.01}}), {"x": [19.99] * 20_000})
    email = {"$schema": DRAFT_7, **of_x({"items": {"format": "email"}})}
    assert not faults(email, {"x": ["somebody@example.org"] * 30_000})


def test_the_schemas_that_are_kept_have_a_bounded_size() -> None:
    kept = [compile_schema({"type": "object", "title": f"{number} {'x' * 100_000}"}) for number in range(8)]
    assert sum(map(len, _compiled)) <= 500_000
    # The latest are kept.
    assert compile_schema({"type": "object", "title": f"7 {'x' * 100_000}"}) is kept[7]


def test_threads_that_forget_schemas_at_the_same_time_do_not_hurt_each_other() -> None:
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            for done in [
                threads.submit(compile_schema, {"type": "object", "title": f"{number} {'y' * 100_000}"})
                for number in range(400)
            ]:
                done.result()
    finally:
        sys.setswitchinterval(switching)
