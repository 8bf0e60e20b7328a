"""JSON Schemas: checked when they are registered, compiled once, and safe against hostile ones. Pure.

jsonschema-rs with its linear-time regular expressions: a pattern cannot backtrack for ever, because look-around and
back-references, which need that, are refused when the schema is registered.
"""

import json
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema_rs

from app.errors import Detail, InvalidSchema
from app.queue.schema_cost import measure_schema
from app.storage.columns import to_json

MAX_SCHEMA_CHARACTERS = 256 * 1024
MAX_DETAILS = 50
# Checks of one subschema against one value, at about 100 ns each: about a second at the very worst.
_MAX_CHECKS = 10_000_000
# Steps through the states of patterns, at up to 10 ns each.
_MAX_STEPS = 200_000_000
# Every fault repeats parts of the value and of the schema, and the library collects all before it shows one.
_MAX_FAULT_CHARACTERS = 5_000_000
# What all patterns of a schema may take in memory, and one at the most.
_MAX_PATTERN_BYTES, _MAX_BYTES_OF_ONE = 20_000_000, 1_000_000
# A compiled schema takes up to 400 bytes for each character of its text.
_MAX_CACHED_CHARACTERS = 500_000

_DRAFTS: dict[str, Any] = {
    "http://json-schema.org/draft-04/schema": jsonschema_rs.Draft4Validator,
    "http://json-schema.org/draft-06/schema": jsonschema_rs.Draft6Validator,
    "http://json-schema.org/draft-07/schema": jsonschema_rs.Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema_rs.Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": jsonschema_rs.Draft202012Validator,
}
_DEFAULT_DRAFT = "https://json-schema.org/draft/2020-12/schema"


class CompiledSchema:
    """A schema that can be asked what is wrong with a value."""

    def __init__(self, schema: dict[str, Any]) -> None:
        text = to_json(schema)
        if len(text) > MAX_SCHEMA_CHARACTERS:
            raise InvalidSchema(f"A schema may have at most {MAX_SCHEMA_CHARACTERS} characters.")
        self.characters = len(text)
        self._cost = measure_schema(schema)
        draft = str(schema.get("$schema", _DEFAULT_DRAFT)).rstrip("#")
        if draft not in _DRAFTS:
            raise InvalidSchema(f"The `$schema` {draft[:200]!r} is not known; known are: {', '.join(_DRAFTS)}.")
        faults = [_detail(error, "") for error in islice(_metaschema(draft).iter_errors(schema), MAX_DETAILS)]
        try:
            self._validator = _DRAFTS[draft](schema, pattern_options=_pattern_options(schema), offline=True)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            raise InvalidSchema(
                "The schema does not fit its metaschema, or a pattern needs look-around or back-references, "
                "which are not supported.",
                details=faults or [_detail(error, "")],
            ) from None

    def faults(self, value: Any, text: str, name: str) -> list[Detail]:
        """Return at most 50 faults of `value`, whose JSON is `text`, each with its path below `name`."""
        values = 1 + sum(text.count(sign) for sign in ",:[{")
        steps = self._cost.steps * len(text)
        if self._cost.checks * values > _MAX_CHECKS or steps > _MAX_STEPS:
            return [{"field": name, "problem": "is too large for the cost of checking it against its schema"}]
        if self._validator.is_valid(value):
            return []
        # A fault repeats its value with all that is in it: what is deep down is repeated at every level.
        faults = (self._cost.faults + self._cost.faults_of_names * values) * _depth(value)
        if faults * len(text) + values * self.characters > _MAX_FAULT_CHARACTERS or 2 * steps > _MAX_STEPS:
            return [{"field": name, "problem": "does not fit its schema, and is too large to say where"}]
        return [_detail(error, name) for error in islice(self._validator.iter_errors(value), MAX_DETAILS)]


def compile_schema(schema: dict[str, Any], field: str = "param_schema") -> CompiledSchema:
    """Return the compiled schema; the same text is compiled once per process.

    Raises InvalidSchema, whose details name the faults below `field`.
    """
    try:
        return _compile(to_json(schema))
    except InvalidSchema as error:
        faults = error.details or [{"field": "", "problem": error.detail}]
        details = [{**fault, "field": f"{field}.{fault['field']}".rstrip(".")} for fault in faults]
        raise InvalidSchema(error.detail, details=details) from None


#: By their text, the latest used last.
_compiled: dict[str, "CompiledSchema"] = {}


@lru_cache(maxsize=len(_DRAFTS))
def _metaschema(draft: str) -> Any:
    # The library stops at the first fault of a schema; asked as an ordinary question it names all.
    return _DRAFTS[draft]({"$ref": draft}, offline=True)


def _compile(text: str) -> CompiledSchema:
    """Return the compiled schema; those that were used last are kept, as many as have a bounded size."""
    if (compiled := _compiled.pop(text, None)) is not None:
        _compiled[text] = compiled
        return compiled
    compiled = _compiled[text] = CompiledSchema(json.loads(text))
    # Of a copy, since other threads do the same.
    kept = list(_compiled.items())
    size = sum(schema.characters for _, schema in kept)
    for oldest, schema in kept:
        if size <= _MAX_CACHED_CHARACTERS:
            break
        _compiled.pop(oldest, None)
        size -= schema.characters
    return compiled


def _pattern_options(schema: Any) -> Any:
    size = min(_MAX_PATTERN_BYTES // max(_count_patterns(schema), 1), _MAX_BYTES_OF_ONE)
    return jsonschema_rs.RegexOptions(size_limit=size, dfa_size_limit=4 * size)


def _count_patterns(schema: Any) -> int:
    if isinstance(schema, list):
        return sum(map(_count_patterns, schema))
    if not isinstance(schema, dict):
        return 0
    own = "pattern" in schema
    more = len(schema["patternProperties"]) if isinstance(schema.get("patternProperties"), dict) else 0
    return own + more + sum(map(_count_patterns, schema.values()))


def _depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 1
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def _detail(error: Exception, name: str) -> Detail:
    path = getattr(error, "instance_path", [])
    field = ".".join([*([name] if name else []), *(str(part) for part in path)])
    message = str(getattr(error, "message", error)).split("\n", 1)[0]
    return {"field": field[:500], "problem": message if len(message) <= 500 else message[:497] + "…"}
