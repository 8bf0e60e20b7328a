"""openapi.json is up to date, valid, complete and true."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate
from werkzeug.routing import Rule

import app.errors
import app.web.errors
from app import create_app
from app.queue.keys import Scope
from app.rest.contract import Contract
from app.rest.openapi import LINKS, build_document
from app.rest.problems import status_of
from app.settings import Settings
from app.version import VERSION
from tests.support.client import Client
from tests.support.contract_check import check_value, document

Operation = dict[str, Any]
APPLICATION = create_app(Settings())
# The meanings under which the others are sorted; nothing raises them as they are.
MEANINGS = {"error", "not_found", "forbidden", "conflict", "unavailable", "unauthenticated"}
WITHOUT_CONTRACT = {"/api/openapi.json", "/api/docs/", "/api/docs/<path:path>"}


def operations() -> list[tuple[str, Operation]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, by_method in document()["paths"].items()
        for method, operation in by_method.items()
    ]


each_operation = pytest.mark.parametrize("operation", [pytest.param(o, id=name) for name, o in operations()])


def rules() -> list[Rule]:
    return [rule for rule in APPLICATION.url_map.iter_rules() if rule.rule.startswith("/api/")]


def in_document(rule: str) -> str:
    return re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule).rstrip("/")


def contracts() -> dict[str, Contract]:
    found = (getattr(APPLICATION.view_functions[rule.endpoint], "contract", None) for rule in rules())
    return {contract.operation_id: contract for contract in found if contract is not None}


def resolve(value: Operation) -> Operation:
    if "$ref" not in value:
        return value
    node: Any = document()
    for part in value["$ref"].removeprefix("#/").split("/"):
        node = node[part]
    return dict(node)


def every_error() -> Iterator[type[app.errors.QueueError]]:
    waiting: list[type[app.errors.QueueError]] = [app.errors.QueueError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__ in ("app.errors", "app.web.errors"):
            yield kind


def test_the_committed_document_is_up_to_date() -> None:
    assert build_document(create_app(Settings())) == document(), "run: make openapi"


def test_the_document_is_the_same_whatever_the_settings_are() -> None:
    settings = Settings(auth=False, legacy_paths=True, cors_origins=("*",), max_body_bytes=2048)
    assert build_document(create_app(settings)) == document()


def test_the_document_is_valid_openapi() -> None:
    validate(document())
    assert document()["openapi"].startswith("3.1")
    assert document()["info"]["version"] == VERSION


def test_the_document_is_served_as_it_is_committed(client: Client) -> None:
    answer = client.without_key().get("/api/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.get_json() == document()


def test_every_endpoint_has_a_contract() -> None:
    for rule in rules():
        has_contract = hasattr(APPLICATION.view_functions[rule.endpoint], "contract")
        assert has_contract != (rule.rule in WITHOUT_CONTRACT), rule


def test_every_endpoint_is_in_the_document() -> None:
    expected = {
        f"{method} {in_document(rule.rule)}"
        for rule in rules()
        if rule.rule not in WITHOUT_CONTRACT
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {name for name, _operation in operations()} == expected
    ids = [operation["operationId"] for _name, operation in operations()]
    assert sorted(ids) == sorted(contracts())


@each_operation
def test_an_operation_is_named_and_described(operation: Operation) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"])
    assert len(operation["tags"]) == 1
    assert operation["tags"][0] in [tag["name"] for tag in document()["tags"]]
    assert 5 < len(operation["summary"]) < 80
    assert not operation["summary"].endswith(".")
    assert "key" in operation["description"]
    for parameter in operation["parameters"]:
        assert parameter["description"], parameter["name"]


def test_names_of_operations_are_unique_and_every_tag_is_used() -> None:
    ids = [operation["operationId"] for _name, operation in operations()]
    assert len(ids) == len(set(ids))
    assert {tag for _name, operation in operations() for tag in operation["tags"]} == {
        tag["name"] for tag in document()["tags"]
    }
    assert all(tag["description"] for tag in document()["tags"])


def test_every_field_is_described_and_has_an_example() -> None:
    for name, schema in document()["components"]["schemas"].items():
        if name == "Problem":
            continue
        for field, described in schema["properties"].items():
            assert described.get("description"), f"{name}.{field}"
            if "$ref" not in described and "$ref" not in described.get("items", {}):
                assert "example" in described, f"{name}.{field}"


@each_operation
def test_every_request_has_an_example_that_the_document_and_the_server_accept(operation: Operation) -> None:
    body = contracts()[operation["operationId"]].body
    assert ("requestBody" in operation) == (body is not None)
    if body is None:
        return
    content = operation["requestBody"]["content"]["application/json"]
    assert check_value(content["schema"], content["example"]) == []
    body.load(content["example"])


@each_operation
def test_every_answer_has_an_example_that_fits_its_schema(operation: Operation) -> None:
    for status, answer in operation["responses"].items():
        ((media_type, content),) = answer["content"].items()
        assert media_type == ("application/json" if status < "400" else "application/problem+json")
        examples = [content["example"]] if "example" in content else []
        examples += [resolve(example)["value"] for example in content.get("examples", {}).values()]
        assert examples, status
        for example in examples:
            assert check_value(content["schema"], example) == [], (status, example)
            assert example["success"] is (status < "400")
            if status >= "400":
                assert str(example["status"]) == status
                assert answer["description"]


@each_operation
def test_every_answer_of_success_has_its_own_sentence(operation: Operation) -> None:
    messages = contracts()[operation["operationId"]].messages
    for status, message in messages.items():
        answer = operation["responses"][str(status)]
        assert answer["content"]["application/json"]["example"]["message"] == message


@each_operation
def test_the_usual_errors_are_documented(operation: Operation) -> None:
    contract = contracts()[operation["operationId"]]
    answers = operation["responses"]
    expected = {"500", "503"}
    if contract.scope is not None:
        expected.add("401")
        assert operation["security"] == [{"api_key": []}, {"bearer": []}]
    else:
        assert operation["security"] == []
    if contract.scope not in (None, Scope.READ):
        expected.add("403")
        assert f"`{contract.scope.value}`" in operation["description"]
    if contract.body is not None:
        expected |= {"400", "413"}
    if any(parameter["in"] == "path" for parameter in operation["parameters"]):
        expected.add("404")
    assert expected <= set(answers)
    for status in expected & {"401"}:
        codes = answers[status]["content"]["application/problem+json"]["examples"]
        assert {"key_required", "key_refused"} <= set(codes)


def test_every_error_that_can_occur_is_documented_with_an_example() -> None:
    examples = document()["components"]["examples"]
    for kind in every_error():
        assert kind.__doc__, kind
        if kind.code not in MEANINGS:
            assert kind.code in examples, f"{kind.code} is in no answer of the document"
            assert examples[kind.code]["value"]["status"] == status_of(kind)


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in every_error()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_both_ways_to_send_a_key_are_described() -> None:
    schemes = document()["components"]["securitySchemes"]
    assert schemes["api_key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")


def test_requests_take_no_unknown_fields() -> None:
    for contract in contracts().values():
        if contract.body is not None:
            name = type(contract.body).__name__
            assert document()["components"]["schemas"][name]["additionalProperties"] is False, name


def test_links_lead_to_operations_and_to_fields_that_are_there() -> None:
    by_id = {operation["operationId"]: operation for _name, operation in operations()}
    for source, links in LINKS.items():
        answer = next(answer for status, answer in by_id[source]["responses"].items() if status < "300")
        data = answer["content"]["application/json"]["example"]["data"]
        for target, values in links.items():
            parameters = {parameter["name"] for parameter in by_id[target]["parameters"]}
            body = contracts()[target].body
            for name, expression in values.items():
                assert name in parameters or (body is not None and name in body.fields), (source, target, name)
                assert expression.rsplit("/", 1)[1] in data, (source, target, name)
