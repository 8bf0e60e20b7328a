"""Are these parameters valid for this task type, and equal to which others? Pure."""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from app.errors import InvalidParameters, InvalidResult
from app.queue.json_schema import compile_schema
from app.storage.columns import to_json


def check_parameters(schema: dict[str, Any], params: Any) -> None:
    """Raise InvalidParameters, with every fault found, if `params` do not fit `schema`."""
    faults = compile_schema(schema).faults(params, to_json(params), "params")
    if faults:
        text = "; ".join(f"{fault['field']}: {fault['problem']}" for fault in faults[:3])
        raise InvalidParameters(sentence=f"Parameter validation failed: {text}", details=faults)


def check_result(schema: dict[str, Any] | None, result: Any) -> None:
    """Raise InvalidResult, with every fault found, if there is a schema and `result` does not fit it."""
    if schema is None:
        return
    faults = compile_schema(schema).faults(result, to_json(result), "result")
    if faults:
        text = "; ".join(f"{fault['field']}: {fault['problem']}" for fault in faults[:3])
        raise InvalidResult(sentence=f"Result validation failed: {text}", details=faults)


def dedupe_hash(
    type_id: int, params: dict[str, Any], dedupe_key: str | None, dedupe_on: Sequence[str] | None = None
) -> str:
    """Return the SHA-256 by which equal tasks of a type are found.

    A caller's own key replaces the parameters; `dedupe_on` names those that are compared, if not all are.
    """
    if dedupe_on is not None:
        params = {name: params[name] for name in dedupe_on if name in params}
    what = ["key", dedupe_key] if dedupe_key is not None else ["params", _plain_numbers(params)]
    text = json.dumps([type_id, *what], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain_numbers(value: Any) -> Any:
    """Write every number in one way: JSON's 1, 1.0 and 1e0 are equal, true and 1 are not."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain_numbers(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    return value
