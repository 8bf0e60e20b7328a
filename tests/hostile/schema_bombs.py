"""Schemas that ask for endless work, and values that would have it done."""

from typing import Any

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def of_x(schema: Any) -> dict[str, Any]:
    """Return a schema of an object whose member `x` has this one."""
    return {"type": "object", "properties": {"x": schema}}


def chain(length: int, keyword: str, reference: str = "$ref") -> dict[str, Any]:
    """Each definition refers twice to the next."""
    definitions: dict[str, Any] = {
        f"d{number}": {keyword: [{reference: f"#/$defs/d{number + 1}"}] * 2} for number in range(length)
    }
    return {**of_x({reference: "#/$defs/d0"}), "$defs": {**definitions, f"d{length}": {"type": "string"}}}


def tower(keyword: str, height: int, width: int) -> dict[str, Any]:
    """One on top of the other, each several times."""
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(height):
        schema = {keyword: [schema] * width}
    return of_x(schema)


def nested(depth: int) -> dict[str, Any]:
    """Objects in objects."""
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"properties": {"a": schema}}
    return of_x(schema)


TWICE = {"allOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}
LONG = "ab" * 200_000
NUMBERS = [1e300] * 60_000
BOMBS: dict[str, tuple[dict[str, Any], Any]] = {
    "a chain of allOf": (chain(30, "allOf"), 5),
    "a chain of oneOf": (chain(30, "oneOf"), 5),
    "a chain of $dynamicRef": (chain(30, "anyOf", "$dynamicRef"), 5),
    "a tower of oneOf": (tower("oneOf", 10, 3), "a"),
    "a tower of anyOf": (tower("anyOf", 13, 2), "a"),
    "itself": ({"type": "object", "$ref": "#"}, 5),
    "itself in its members": ({"type": "object", "additionalProperties": {"$ref": "#"}}, {"x": {"x": {}}}),
    "itself twice in its items": ({**of_x({"$ref": "#/$defs/n"}), "$defs": {"n": {"items": TWICE}}}, [[[[]]]]),
    "uniqueItems": (of_x({"uniqueItems": True}), [{"a": number} for number in range(10_000)]),
    "uniqueItems in lists": (of_x({"items": {"uniqueItems": True}}), [[{"a": n} for n in range(100)]] * 500),
    "an enormous enum": (of_x({"items": {"enum": [f"word {n}" for n in range(15_000)]}}), ["x"] * 100_000),
    "many required": (of_x({"required": [f"z{n}" for n in range(20_000)]}), {"y": "y" * 500_000}),
    "many dependents": (of_x({"dependentRequired": {"a": [f"z{n}" for n in range(20_000)]}}), {"a": "y" * 500_000}),
    "names that are all wrong": (of_x({"propertyNames": {"pattern": "^c$"}}), {f"key {n}": 1 for n in range(50_000)}),
    "many patterns of names": (
        {"type": "object", "patternProperties": {f"^k{n}.*[a-z]+x$": {} for n in range(5000)}},
        {f"k{n}zzx": 1 for n in range(30_000)},
    ),
    "(a+)+$": (of_x({"pattern": "^(a+)+$"}), "a" * 500_000 + "!"),
    "(.*)*x": (of_x({"pattern": "(.*)*(.*)*x"}), LONG),
    "x{1000}{1000}{1000}": (of_x({"pattern": "x{1000}{1000}{1000}"}), LONG),
    "a thousand states": (of_x({"pattern": "(a|b)*a(a|b){1000}c"}), LONG),
    "a huge class": (of_x({"pattern": "[" + "".join(chr(0x4E00 + n) for n in range(20_000)) + "]{100}"}), LONG),
    "look-around": (of_x({"pattern": "(?=(a+))\\1b"}), LONG),
    "thousands of long patterns": (of_x({"allOf": [{"pattern": f"x{{9000}}{n}"} for n in range(4000)]}), LONG),
    "a format": ({"$schema": DRAFT_7, **of_x({"allOf": [{"format": "email"}] * 5000})}, "a@" + "a.b" * 200_000),
    "multipleOf": (of_x({"items": {"allOf": [{"multipleOf": 1e-300 * n} for n in range(1, 9)]}}), NUMBERS),
    "long numbers": (of_x({"items": {"multipleOf": 10**4000 + 1}}), [10**4200 + 7] * 200),
    "numbers beyond all": (of_x({"maximum": 10**4200, "minLength": 10**30}), 10**4200 + 1),
    "unevaluated": (
        of_x({"anyOf": [{"properties": {f"a{n}": True}} for n in range(1500)], "unevaluatedProperties": False}),
        {f"a{n}": 1 for n in range(40_000)},
    ),
    "60 levels": (nested(29), {}),
    "a file": (of_x({"$ref": "file:///etc/passwd"}), 5),
    "another host": (of_x({"$ref": "http://127.0.0.1:1/schema.json"}), 5),
    "another draft": ({"$schema": "http://127.0.0.1:1/draft", "type": "object"}, 5),
    "1 MB": ({"type": "object", "title": "x" * 1_000_000}, 5),
}
