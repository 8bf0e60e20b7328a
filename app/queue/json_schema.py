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
# Every fault repeats parts of the value and of the schema, and the library collects all before it shows one.
_MAX_FAULT_CHARACTERS = 20_000_000

_DRAFTS: dict[str, Any] = {
    "http://json-schema.org/draft-04/schema": jsonschema_rs.Draft4Validator,
    "http://json-schema.org/draft-06/schema": jsonschema_rs.Draft6Validator,
    "http://json-schema.org/draft-07/schema": jsonschema_rs.Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema_rs.Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": jsonschema_rs.Draft202012Validator,
}
_DEFAULT_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1_000_000, dfa_size_limit=4_000_000)


class CompiledSchema:
    """A schema that can be asked what is wrong with a value."""

    def __init__(self, schema: dict[str, Any]) -> None:
        text = to_json(schema)
        if len(text) > MAX_SCHEMA_CHARACTERS:
            raise InvalidSchema(f"A schema may have at most {MAX_SCHEMA_CHARACTERS} characters.")
        self._characters = len(text)
        self._applications = measure_schema(schema)
        # A pattern reads every character, the other keywords look at a value once.
        self._has_patterns = '"pattern' in text
        draft = str(schema.get("$schema", _DEFAULT_DRAFT)).rstrip("#")
        if draft not in _DRAFTS:
            raise InvalidSchema(f"The `$schema` {draft[:200]!r} is not known; known are: {', '.join(_DRAFTS)}.")
        faults = [_detail(error, "") for error in islice(_metaschema(draft).iter_errors(schema), MAX_DETAILS)]
        try:
            self._validator = _DRAFTS[draft](schema, pattern_options=_PATTERNS, offline=True)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            raise InvalidSchema(
                "The schema does not fit its metaschema, or a pattern needs look-around or back-references, "
                "which are not supported.",
                details=faults or [_detail(error, "")],
            ) from None

    def faults(self, value: Any, text: str, name: str) -> list[Detail]:
        """Return at most 50 faults of `value`, whose JSON is `text`, each with its path below `name`."""
        values = 1 + sum(text.count(sign) for sign in ",:[{")
        if self._applications * (len(text) if self._has_patterns else values) > _MAX_CHECKS:
            return [{"field": name, "problem": "is too large for the cost of checking it against its schema"}]
        if self._validator.is_valid(value):
            return []
        if self._applications * len(text) + values * self._characters > _MAX_FAULT_CHARACTERS:
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


@lru_cache(maxsize=len(_DRAFTS))
def _metaschema(draft: str) -> Any:
    # The library stops at the first fault of a schema; asked as an ordinary question it names all.
    return _DRAFTS[draft]({"$ref": draft}, offline=True)


@lru_cache(maxsize=256)
def _compile(text: str) -> CompiledSchema:
    return CompiledSchema(json.loads(text))


def _detail(error: Exception, name: str) -> Detail:
    path = getattr(error, "instance_path", [])
    field = ".".join([*([name] if name else []), *(str(part) for part in path)])
    message = str(getattr(error, "message", error)).split("\n", 1)[0]
    return {"field": field[:500], "problem": message if len(message) <= 500 else message[:497] + "…"}
