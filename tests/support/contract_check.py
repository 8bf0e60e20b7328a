"""Holds answers against openapi.json: is the status documented, and does the body fit its schema?"""

import json
import re
from functools import cache
from typing import Any

import jsonschema_rs
from werkzeug.test import TestResponse

from app.settings import ROOT

OPENAPI_FILE = ROOT / "openapi.json"
# Of the transport, not of one operation: any path may answer so, and always as a problem.
_OF_ANY_PATH = {404: "endpoint_not_found", 405: "method_not_allowed", 400: "bad_request"}
_PROBLEM = "#/components/schemas/Problem"


def check_answer(method: str, path: str, response: TestResponse) -> None:
    """Fail unless openapi.json says that `method` on `path` may be answered with this status and body."""
    shown = response.get_data()[:2000].decode(errors="replace")
    where = f"{method} {path} answered {response.status_code}: {shown}"
    described = _describe(method, path)
    if described is None:
        # Not an operation of the API: the documentation's own pages, or an error.
        if response.status_code >= 400 and response.headers.get("Content-Type", "").startswith("application/"):
            _check_problem(response, where)
        return
    if method == "HEAD":
        assert str(response.status_code) in described["responses"], where
        return
    answers = described["responses"]
    if response.status_code >= 400:
        _check_problem(response, where)
        body = response.get_json()
        if body["code"] == _OF_ANY_PATH.get(response.status_code):
            return
        documented = answers.get(str(response.status_code))
        assert documented is not None, f"undocumented status: {where}"
        codes = documented["content"]["application/problem+json"]["examples"]
        assert body["code"] in codes, f"undocumented code {body['code']}, only {sorted(codes)}: {where}"
        return
    documented = answers.get(str(response.status_code))
    assert documented is not None, f"undocumented status: {where}"
    assert response.headers["Content-Type"] == "application/json", where
    _check(json.dumps(documented["content"]["application/json"]["schema"]), response, where)


def check_value(schema: dict[str, Any], value: Any) -> list[str]:
    """Return what is wrong with a value by a schema of the document."""
    return [str(error).split("\n")[0] for error in _validator(json.dumps(schema)).iter_errors(value)]


@cache
def document() -> dict[str, Any]:
    """Return openapi.json as it is committed."""
    loaded: dict[str, Any] = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
    return loaded


def find_operation(method: str, path: str) -> dict[str, Any] | None:
    """Return the operation of openapi.json that serves this path, at its old place at the root too."""
    path = path.partition("?")[0]
    path = path[:-1] if path.endswith("/") and len(path) > 1 else path
    full = path if path.startswith("/api/") else f"/api{path}"
    for pattern, operations in _paths():
        if pattern.fullmatch(full):
            found: dict[str, Any] | None = operations.get("get" if method == "HEAD" else method.lower())
            if found is not None:
                return found
    return None


def _describe(method: str, path: str) -> dict[str, Any] | None:
    return None if method == "OPTIONS" else find_operation(method, path)


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Return the paths of the document, fixed ones and those that say more first, as patterns of real paths."""

    def pattern(path: str) -> re.Pattern[str]:
        parts = re.split(r"(\{\w+\})", path)
        return re.compile("".join(_parameter(part) if part.startswith("{") else re.escape(part) for part in parts))

    def _parameter(part: str) -> str:
        return r"[0-9]+" if part.endswith("_id}") else r".+"

    ordered = sorted(document()["paths"].items(), key=lambda item: (item[0].count("{"), -len(item[0])))
    return [(pattern(path), operations) for path, operations in ordered]


def _check_problem(response: TestResponse, where: str) -> None:
    assert response.headers["Content-Type"] == "application/problem+json", where
    _check(json.dumps({"$ref": _PROBLEM}), response, where)
    body = response.get_json()
    assert body["status"] == response.status_code, where
    assert body["error"] == body["message"], where
    assert body["request_id"] == response.headers["X-Request-ID"], where


def _check(schema: str, response: TestResponse, where: str) -> None:
    faults = [
        f"{error.instance_path}: {error.message}" for error in _validator(schema).iter_errors(response.get_json())
    ]
    assert not faults, f"{faults} in {where}"


@cache
def _validator(schema: str) -> Any:
    whole = {**json.loads(schema), "components": document()["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
