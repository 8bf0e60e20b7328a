"""A request that is checked the short way is let in, refused and read just as by marshmallow alone."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

import app.rest.schemas
from app.rest.schemas.base import RequestSchema

_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 50, 1001, 10**20, 1.5),
    *("", " ", "x", "1", "true", "asc", "desc", "unfinished", "priority", "2026-11-23T12:00:00Z", "100/60"),
    *("1-300-0123456789abcdef0123456789abcdef", "a\0b", "y" * 300, "* * * * *"),
    *([], [1], ["x"], {}, {"a": 1}, {"type": "object"}, {"types": ["x"]}),
    *([{"id": 1, "success": True}], [{"type": "x", "params": {}}, 7, {}]),
]


def _all_schemas() -> Iterator[type[RequestSchema]]:
    for module in pkgutil.iter_modules(app.rest.schemas.__path__, "app.rest.schemas."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, RequestSchema) and value is not RequestSchema:
                if value.__module__ == module.name:
                    yield value


def _bodies(schema: RequestSchema) -> Iterator[dict[str, Any]]:
    """Yield right bodies and wrong ones: each field with each value, alone and beside what a right request has."""
    right = dict(schema.example or {})
    for name, field in schema.load_fields.items():
        if field.required and name not in right:
            right[name] = field.metadata.get("example")
    yield from ({}, right, {**right, "unknown": 1})
    for name in schema.load_fields:
        yield {key: value for key, value in right.items() if key != name}
        for value in _VALUES:
            yield from ({name: value}, {**right, name: value})


def _outcome(load: Any, body: dict[str, Any]) -> Any:
    try:
        return _comparable(load(body))
    except ValidationError as error:
        return "refused", error.messages


def _comparable(value: Any) -> Any:
    # Errors within a batch are objects; 1, 1.0 and true are equal in Python alone.
    if isinstance(value, dict):
        return {key: _comparable(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value]
    return (type(value).__name__, value.details, str(value)) if hasattr(value, "details") else (type(value), value)


@pytest.mark.parametrize("kind", list(_all_schemas()), ids=lambda kind: kind.__name__)
def test_both_ways_come_to_the_same(kind: type[RequestSchema]) -> None:
    schema = kind()
    outcomes = []
    for body in _bodies(schema):
        short = _outcome(schema.load, dict(body))
        assert short == _outcome(lambda given: Schema.load(schema, given), dict(body)), body
        outcomes.append(isinstance(short, dict))
    assert any(outcomes), "no body was right, so the short way was not seen"


@pytest.mark.parametrize("kind", list(_all_schemas()), ids=lambda kind: kind.__name__)
def test_no_schema_has_what_the_short_way_leaves_out(kind: type[RequestSchema]) -> None:
    for name, field in kind().load_fields.items():
        assert (field.data_key or name, field.attribute or name) == (name, name)
        assert not field.pre_load and not field.post_load
        assert not callable(field.load_default)
        assert type(field).deserialize is fields.Field.deserialize, f"{name} checks where nobody looks"


def test_a_request_does_not_change_what_the_next_one_gets() -> None:
    for kind in _all_schemas():
        schema = kind()
        first = _outcome(schema.load, {})
        if isinstance(first, dict):
            loaded = schema.load({})
            for value in loaded.values():
                assert not isinstance(value, list | dict), "a default that requests share must not be changeable"
