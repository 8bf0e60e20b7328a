"""How much work are the keywords of one subschema, in the worst case, without the schemas that it applies? Pure."""

from typing import Any, NamedTuple

from app.queue.pattern_cost import count_states

# A long `enum` or `required` costs as much as so many subschemas.
_COMPARISONS_PER_APPLICATION = 8
# Exact arithmetic on numbers such as 1e300 (measured: 20 µs).
_APPLICATIONS_PER_MULTIPLE = 200
_LISTS_OF_NAMES = ("dependentRequired", "dependencies")


class Cost(NamedTuple):
    """What a schema may ask for at one value, in the worst case."""

    #: Checks of the value, each of about 100 ns; what takes longer counts as several.
    checks: int = 0
    #: Steps at each character of a text.
    steps: int = 0
    #: Faults, each of which repeats the value.
    faults: int = 0
    #: Faults for each member of the value.
    faults_of_names: int = 0

    def most(self, other: "Cost") -> "Cost":
        """Return the higher cost, in each respect."""
        return Cost(*map(max, zip(self, other, strict=True)))


def own_cost(schema: dict[str, Any]) -> Cost:
    """Return the cost of a subschema without those that it applies."""
    compared = sum(len(_list(schema.get(key))) for key in ("enum", "required"))
    checks = 1 + compared // _COMPARISONS_PER_APPLICATION
    multiple = schema.get("multipleOf")
    if isinstance(multiple, int | float):
        # Long numbers are divided digit by digit.
        checks += _APPLICATIONS_PER_MULTIPLE + len(str(multiple))
    patterns = [schema.get("pattern"), *_keys(schema.get("patternProperties"))]
    steps = sum(count_states(pattern) for pattern in patterns if isinstance(pattern, str))
    names = sum(len(_list(of_one)) for key in _LISTS_OF_NAMES for of_one in _values(schema.get(key)))
    faults = 1 + len(_list(schema.get("required"))) + names
    return Cost(checks, steps, faults, int("propertyNames" in schema))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _keys(mapping: Any) -> list[Any]:
    return list(mapping) if isinstance(mapping, dict) else []


def _values(mapping: Any) -> list[Any]:
    return list(mapping.values()) if isinstance(mapping, dict) else []
