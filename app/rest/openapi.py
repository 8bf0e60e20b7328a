"""The OpenAPI document, built from the same contracts that check requests; run as a module it prints it."""

import json
import re
import sys
from collections import defaultdict
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import Schema

from app.errors import DatabaseUnavailable, Invalid, MissingField, QueueError
from app.policies import POLICIES
from app.queue.keys import Scope
from app.rest import fields
from app.rest.contract import Answer, Contract
from app.rest.problems import problem, status_of
from app.rest.schemas.base import RequestSchema
from app.version import VERSION
from app.web import errors as web_errors

_ABOUT = """An HTTP task queue: register **task types**, create **tasks**, and let **workers** claim, report on and
complete them, in any language and from behind any NAT.

Send an API key in the header `X-API-Key` or as `Authorization: Bearer …`. Every answer is an envelope with `success`,
`message`, `data` and `timestamp`; every error is a problem (RFC 9457) with a stable `code`. Requests with unknown
fields are refused. Where a host lets only GET and POST through, send another method as POST with
`X-HTTP-Method-Override`."""
_TAGS = {
    "Task types": "Named kinds of work, with a JSON Schema for their parameters and policies for their tasks.",
    "Tasks": "What producers call.",
    "Workers": "What workers call.",
    "Keys": "Who may do what.",
    "Server": "How the server is.",
}
_PATH_PARAMETER = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")
_PATH_PARAMETERS = ("task_id", "key_id")
_TIMESTAMP = 1764000000
_REQUEST_ID = "0123456789abcdef"
# On any path, also on one that is not in the document.
_OF_ANY_PATH = (web_errors.EndpointNotFound, web_errors.MethodNotAllowed)
_HOLDER = {
    "task_id": "$response.body#/data/id",
    "worker_id": "$response.body#/data/claimed_by",
    "lease_token": "$response.body#/data/lease_token",
}
_OF_TASK = {"task_id": "$response.body#/data/id"}
_OF_KEY = {"key_id": "$response.body#/data/id"}
_HEADERS = {"Idempotency-Key": {"pattern": "^[!-~]{1,255}$"}}
#: For each operation those that can follow it, with what they take from its answer.
LINKS: dict[str, dict[str, dict[str, Any]]] = {
    "register_task_type": {"create_task": {"type": "$response.body#/data/name"}},
    "create_task": {
        "claim_task": {"task_type_id": "$response.body#/data/type_id"},
        "get_task": _OF_TASK,
        "cancel_task": _OF_TASK,
        "list_task_attempts": _OF_TASK,
    },
    "claim_task": {
        "send_heartbeat": _HOLDER,
        "report_progress": _HOLDER,
        "complete_task": _HOLDER,
        "release_task": _HOLDER,
        "cancel_task": _OF_TASK,
    },
    "create_api_key": {"change_api_key": _OF_KEY, "revoke_api_key": _OF_KEY},
}


def build_document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of all endpoints of `app` that have a contract."""
    plugin = MarshmallowPlugin(schema_name_resolver=lambda schema: _class_of(schema).__name__)
    spec = APISpec(
        title="TaskManager",
        version=VERSION,
        openapi_version="3.1.0",
        plugins=[plugin],
        info={"description": _ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/"}],
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )
    assert plugin.converter is not None
    plugin.converter.add_attribute_function(_describe_field)  # type: ignore[no-untyped-call]
    spec.components.security_scheme("api_key", {"type": "apiKey", "in": "header", "name": "X-API-Key"})
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    spec.components.schema("Problem", _PROBLEM)
    operations: dict[str, dict[str, Any]] = defaultdict(dict)
    examples = {kind.code: {"value": _example_problem(kind)} for kind in _OF_ANY_PATH}
    rules: dict[str, dict[str, Any]] = {}
    for rule in app.url_map.iter_rules():
        terms: Contract | None = getattr(app.view_functions[rule.endpoint], "contract", None)
        if terms is None or not rule.rule.startswith("/api/"):
            continue
        view = app.view_functions[rule.endpoint]
        if terms.body is not None:
            rules[type(terms.body).__name__] = terms.body.rules
        for kind in (*_usual_errors(terms), *terms.errors):
            examples[kind.code] = {"value": _example_problem(kind)}
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = _PATH_PARAMETER.sub(r"{\g<name>}", rule.rule)
            operations[path][method.lower()] = _operation(view, terms, rule.rule)
    for code, example in sorted(examples.items()):
        spec.components.example(code, example)
    for path, by_method in sorted(operations.items()):
        spec.path(path=path, operations=dict(sorted(by_method.items())))
    document: dict[str, Any] = spec.to_dict()
    for name, keywords in rules.items():
        document["components"]["schemas"][name].update(keywords)
    return document


def _operation(view: Any, terms: Contract, rule: str) -> dict[str, Any]:
    summary, _, text = (view.__doc__ or "").strip().partition("\n")
    scope = "No key is needed." if terms.scope is None else f"Needs a key with the scope `{terms.scope.value}`."
    if terms.scope is Scope.READ:
        scope = "Needs a key, with any scope."
    operation: dict[str, Any] = {
        "operationId": terms.operation_id,
        "tags": [terms.tag],
        "summary": summary.rstrip("."),
        "description": "\n\n".join(part for part in (" ".join(text.split()), scope) if part),
        "parameters": _parameters(terms, rule),
        "responses": {**_answers(terms), **_problems(terms)},
        "security": [] if terms.scope is None else [{"api_key": []}, {"bearer": []}],
    }
    if terms.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": terms.body, "example": example_of(terms.body)}},
        }
    return operation


def _parameters(terms: Contract, rule: str) -> list[Any]:
    parameters: list[Any] = []
    for match in _PATH_PARAMETER.finditer(rule):
        is_id = match["kind"] == "id"
        schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255}
        if is_id:
            schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": fields.MAX_ID}
        parameters.append(
            {
                "in": "path",
                "name": match["name"],
                "required": True,
                "schema": schema,
                "description": f"The {match['name'].replace('_', ' ')}.",
                "example": 17 if is_id else "checksum",
            }
        )
    if terms.query is not None:
        parameters.append({"in": "query", "schema": type(terms.query)})
    parameters += [
        {
            "in": "header",
            "name": name,
            "required": False,
            "schema": {"type": "string", **_HEADERS.get(name, {})},
            "description": text,
        }
        for name, text in terms.headers.items()
    ]
    return parameters


def _answers(terms: Contract) -> dict[str, Any]:
    answers = {}
    for status, message in terms.messages.items():
        envelope = Answer(example_of(terms.answer()), message).envelope()
        answers[str(status)] = {
            "description": message,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["success", "message", "data", "timestamp"],
                        "properties": {
                            "success": {"type": "boolean", "const": True},
                            "message": {"type": "string"},
                            "data": terms.answer if terms.minimal is None else {"anyOf": [terms.answer, terms.minimal]},
                            "timestamp": {"type": "integer", "description": "Unix seconds."},
                        },
                    },
                    "example": {**envelope, "timestamp": _TIMESTAMP},
                }
            },
        }
        if terms.operation_id in LINKS:
            answers[str(status)]["links"] = _links(LINKS[terms.operation_id])
    return answers


def _links(links: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        operation_id: {
            "operationId": operation_id,
            "parameters": {name: value for name, value in values.items() if name in _PATH_PARAMETERS},
            **({"requestBody": body} if (body := _without_path_parameters(values)) else {}),
        }
        for operation_id, values in links.items()
    }


def _without_path_parameters(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _PATH_PARAMETERS}


def _problems(terms: Contract) -> dict[str, Any]:
    by_status: dict[int, list[type[QueueError]]] = defaultdict(list)
    for kind in (*_usual_errors(terms), *terms.errors):
        if kind not in by_status[status_of(kind)]:
            by_status[status_of(kind)].append(kind)
    return {
        str(status): {
            "description": "; ".join(kind.sentence for kind in kinds),
            "content": {
                "application/problem+json": {
                    "schema": "Problem",
                    "examples": {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds},
                }
            },
        }
        for status, kinds in sorted(by_status.items())
    }


def _usual_errors(terms: Contract) -> list[type[QueueError]]:
    usual: list[type[QueueError]] = [DatabaseUnavailable, web_errors.InternalError, web_errors.BadRequest]
    if terms.scope is not None:
        usual += [web_errors.KeyRequired, web_errors.KeyRefused]
        if terms.scope is not Scope.READ:
            usual.append(web_errors.ScopeMissing)
    if terms.body is not None:
        usual += [web_errors.InvalidJson, MissingField, Invalid, web_errors.BodyTooLarge]
    if terms.query is not None:
        usual.append(Invalid)
    if "Idempotency-Key" in terms.headers:
        usual.append(web_errors.InvalidHeader)
    return usual


def _example_problem(kind: type[QueueError]) -> dict[str, Any]:
    return {**problem(kind()), "request_id": _REQUEST_ID, "timestamp": _TIMESTAMP}


_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457), with the envelope's members beside.",
    "required": ["success", "type", "status", "code", "title", "detail", "error", "message", "details", "request_id"],
    "properties": {
        "success": {"type": "boolean", "const": False},
        "type": {"type": "string"},
        "status": {"type": "integer", "description": "The HTTP status."},
        "code": {"type": "string", "description": "Stable: what programs look at."},
        "title": {"type": "string", "description": "What kind of error this is."},
        "detail": {"type": "string", "description": "What happened and what to do next."},
        "error": {"type": "string", "description": "One sentence for people."},
        "message": {"type": "string", "description": "The same sentence."},
        "details": {
            "type": "array",
            "description": "Every fault that was found.",
            "items": {
                "type": "object",
                "required": ["field", "problem"],
                "properties": {"field": {"type": "string"}, "problem": {"type": "string"}},
            },
        },
        "request_id": {"type": "string", "description": "By which the operator finds the request in the log."},
        "timestamp": {"type": "integer", "description": "Unix seconds."},
    },
}


def example_of(schema: Schema) -> Any:
    """Return a whole example of a request or an answer, put together from the fields' own."""
    if isinstance(schema, RequestSchema) and schema.example is not None:
        return schema.example
    return {name: _example_of_field(field) for name, field in schema.fields.items()}


def _example_of_field(field: Any) -> Any:
    if "example" in field.metadata:
        return field.metadata["example"]
    inner = getattr(field, "inner", None)
    if inner is not None:
        return [example_of(inner.schema) if hasattr(inner, "schema") else _example_of_field(inner)]
    return None


def _describe_field(self: Any, field: Any, ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Say what our own kinds of fields accept, also what they accept only for older clients."""
    described: dict[str, Any] = {}
    if isinstance(field, fields.Int):
        described = {"type": "integer", "minimum": field.low, "maximum": field.high}
        if field.high > 2**31:
            described["format"] = "int64"
    elif isinstance(field, fields.Seconds):
        described = {"type": "number", "minimum": field.low, "maximum": field.high}
    elif isinstance(field, fields.Flag):
        described = {"type": "boolean"}
    elif isinstance(field, fields.Instant):
        described = {"type": "string", "format": "date-time"}
        if _is_of_request(field):
            described["pattern"] = field.pattern
    elif isinstance(field, fields.JsonObject):
        described = {"type": "object", "additionalProperties": True}
        if field.from_text and _is_of_request(field):
            described["required"] = ["type"]
    elif isinstance(field, fields.Text):
        described = {"type": "string", "pattern": field.pattern}
    elif isinstance(field, fields.Policy):
        described = _describe_policy(field.policy_name)
    if described and _is_of_request(field):
        described = _with_tolerance(field, described)
    if described and field.allow_none:
        described = _or_null(described)
    if "anyOf" in described:
        # What apispec made of the class that the field is derived from.
        ret.pop("type", None)
    return described


def _is_of_request(field: Any) -> bool:
    return isinstance(field.root, RequestSchema)


def _with_tolerance(field: Any, described: dict[str, Any]) -> dict[str, Any]:
    more: dict[str, Any] | None = None
    if isinstance(field, fields.Flag):
        more = {"enum": [0, 1, "0", "1", "true", "false"]}
    elif isinstance(field, fields.Text):
        more = field.tolerated
    elif isinstance(field, fields.JsonObject):
        # The object as text is understood too, but nobody should begin to send that.
        more = None if field.from_text else {"const": []}
    elif isinstance(field, fields.Int) and field.from_text and not isinstance(field, fields.QueryInt):
        more = {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}
    return {"anyOf": [described, more]} if more is not None else described


def _or_null(described: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in described:
        return {"anyOf": [*described["anyOf"], {"type": "null"}]}
    nullable = {**described, "type": [described["type"], "null"]}
    if "enum" in described:
        nullable["enum"] = [*described["enum"], None]
    return nullable


def _describe_policy(name: str) -> dict[str, Any]:
    policy = POLICIES[name]
    bounds = policy.metadata
    if "choices" in bounds:
        return {"type": "string", "enum": list(bounds["choices"])}
    if "pattern" in bounds:
        return {"type": "string", "pattern": f"^{bounds['pattern'].pattern}$"}
    kind = "number" if isinstance(policy.default, float) else "integer"
    return {"type": kind, "minimum": bounds["low"], "maximum": bounds["high"]}


def _class_of(schema: Any) -> type[Schema]:
    return schema if isinstance(schema, type) else type(schema)


def main() -> None:
    """Print the document as it is committed."""
    from app import create_app
    from app.settings import Settings

    json.dump(build_document(create_app(Settings())), sys.stdout, indent=2, ensure_ascii=False, sort_keys=False)
    print()


if __name__ == "__main__":
    main()
