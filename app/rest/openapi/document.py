"""The document itself: paths, parameters, requests, answers."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import Schema
from marshmallow.fields import Nested

from app.queue.keys import Scope
from app.rest.contract import Answer, Contract
from app.rest.openapi.fields import describe_field
from app.rest.openapi.links import LINKS, describe_links
from app.rest.openapi.problems import OF_ANY_PATH, PROBLEM, TIMESTAMP, describe_problems, example_problem, usual_errors
from app.rest.routes import View
from app.rest.schemas.base import RequestSchema
from app.storage.columns import MAX_ID
from app.version import VERSION

_ABOUT = """An HTTP task queue: register **task types**, create **tasks**, and let **workers** claim, report on and
complete them, in any language and from behind any NAT.

Send an API key in the header `X-API-Key` or as `Authorization: Bearer …`. Every answer is an envelope with `success`,
`message`, `data` and `timestamp`; every error is a problem (RFC 9457) with a stable `code`. Requests with unknown
fields are refused. Where a host lets only GET and POST through, send another method as POST with
`X-HTTP-Method-Override`."""
_TAGS = {
    "Task types": "Named kinds of work, with a JSON Schema for their parameters and policies for their tasks.",
    "Tasks": "What producers call.",
    "Schedules": "Rules that create tasks over time.",
    "Workers": "What workers call, and who they are.",
    "Workflows": "Tasks that wait for each other.",
    "Dead letters": "Tasks for which nothing more is tried: look through them, requeue or purge them.",
    "Operations": "Changes of many tasks, which are done slice by slice.",
    "Keys": "Who may do what.",
    "Audit": "Who changed what.",
    "Server": "How the server is, and whether the queue is paused or draining.",
}
_PATH_PARAMETER = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")
_HEADERS = {"Idempotency-Key": {"pattern": "^[!-~]{1,255}$"}}


def build_document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of all endpoints of `app` that have a contract."""
    plugin = MarshmallowPlugin(schema_name_resolver=lambda schema: _class_of(schema).__name__)
    spec = APISpec(
        title="TaskManager",
        version=VERSION,
        openapi_version="3.1.0",
        plugins=[plugin],
        info={"description": _ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": ".."}],
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )
    assert plugin.converter is not None
    plugin.converter.add_attribute_function(describe_field)  # type: ignore[no-untyped-call]
    spec.components.security_scheme("api_key", {"type": "apiKey", "in": "header", "name": "X-API-Key"})
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    spec.components.schema("Problem", PROBLEM)
    operations: dict[str, dict[str, Any]] = defaultdict(dict)
    examples = {kind.code: {"value": example_problem(kind)} for kind in OF_ANY_PATH}
    rules: dict[str, dict[str, Any]] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if not isinstance(view, View) or not rule.rule.startswith("/api/"):
            continue
        terms = view.contract
        if terms.body is not None:
            rules.update(dict(_rules_of(terms.body)))
        for kind in (*usual_errors(terms), *terms.errors):
            examples[kind.code] = {"value": example_problem(kind)}
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = _PATH_PARAMETER.sub(r"{\g<name>}", rule.rule).rstrip("/")
            operations[path][method.lower()] = _operation(view.function, terms, rule.rule)
    for code, example in sorted(examples.items()):
        spec.components.example(code, example)
    for path, by_method in sorted(operations.items()):
        spec.path(path=path, operations=dict(sorted(by_method.items())))
    document: dict[str, Any] = spec.to_dict()
    for name, keywords in rules.items():
        document["components"]["schemas"][name].update(keywords)
    return document


def _rules_of(schema: RequestSchema) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what holds between the fields of a request, and of the requests within it."""
    yield type(schema).__name__, schema.rules
    for field in schema.fields.values():
        inner = getattr(field, "inner", field)
        if isinstance(inner, Nested) and isinstance(inner.schema, RequestSchema):
            yield from _rules_of(inner.schema)


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
        "responses": {**_answers(terms), **describe_problems(terms)},
        "security": [] if terms.scope is None else [{"api_key": []}, {"bearer": []}],
    }
    if terms.body is not None:
        operation["requestBody"] = {
            "required": not terms.is_body_optional,
            "content": {"application/json": {"schema": terms.body, "example": example_of(terms.body)}},
        }
    return operation


def _parameters(terms: Contract, rule: str) -> list[Any]:
    parameters: list[Any] = []
    for match in _PATH_PARAMETER.finditer(rule):
        is_id = match["kind"] == "id"
        schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255}
        if is_id:
            schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}
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
                    "example": {**envelope, "timestamp": TIMESTAMP},
                }
            },
        }
        if terms.operation_id in LINKS:
            answers[str(status)]["links"] = describe_links(LINKS[terms.operation_id])
    return answers


def example_of(schema: Schema) -> Any:
    """Return a whole example of a request or an answer, put together from the fields' own."""
    if isinstance(schema, RequestSchema) and schema.example is not None:
        return schema.example
    return {name: _example_of_field(field) for name, field in schema.fields.items()}


def _example_of_field(field: Any) -> Any:
    if "example" in field.metadata:
        return field.metadata["example"]
    if hasattr(field, "schema"):
        return example_of(field.schema)
    inner = getattr(field, "inner", None)
    if inner is not None:
        return [example_of(inner.schema) if hasattr(inner, "schema") else _example_of_field(inner)]
    return None


def _class_of(schema: Any) -> type[Schema]:
    return schema if isinstance(schema, type) else type(schema)
