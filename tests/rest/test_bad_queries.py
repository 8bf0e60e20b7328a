"""What bad queries and headers get: a 4xx problem that names every fault."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.rest.paging import make_cursor
from tests.support.bodies import QUERIES
from tests.support.stage import Stage, before_the_database, fault_of
from tests.support.wrong_values import shorten


@before_the_database
@pytest.mark.parametrize("path", QUERIES)
def test_each_wrong_value_of_a_query_is_refused_by_name(stage: Stage, path: str) -> None:
    faults = []
    for field, values in QUERIES[path].items():
        for value in values:
            answer = stage.client.get(path, query_string={field: value})
            fault = fault_of(answer, 400, "invalid_request", field)
            if fault is not None:
                faults.append(f"{field} = {value[:60]!r}: {fault}")
    assert not faults, "\n".join(faults)


@before_the_database
@pytest.mark.parametrize("path", QUERIES)
def test_unknown_and_repeated_query_parameters_are_named(stage: Stage, path: str) -> None:
    known = next(reversed(QUERIES[path]))
    answer = stage.client.get(f"{path}?surprise=1&{'x' * 1000}=2&%F0%9F%98%80=3&%FF=4")
    assert fault_of(answer, 400, "invalid_request", "surprise") is None, answer.get_data(as_text=True)
    assert {"surprise", "x" * 500, "😀"} <= {detail["field"] for detail in answer.get_json()["details"]}
    answer = stage.client.get(f"{path}?{known}=1&{known}=1&other=1&other=2")
    assert fault_of(answer, 400, "invalid_request", known) is None, answer.get_data(as_text=True)
    assert {detail["field"] for detail in answer.get_json()["details"]} == {known, "other"}


def tampered() -> Iterator[str]:
    good = make_cursor(17)
    yield from (good[:-1], good[1:], good + "A", good + "====", good.upper(), good + " ", "x", "%", "😀", "=", "=" * 8)
    for value in (0, -1, 2**63, 10**400, 1.5, True, "17", None, [17], {"a": 1}):
        yield encode({"below_id": value})
    yield from (encode(17), encode([]), encode({}), encode("text"), encode(None), encode({"above_id": 1}))
    yield from (
        encode_bytes(b"\xff\xfe"),
        encode_bytes(b"{"),
        encode_bytes(b"[" * 300),
        encode_bytes(b'{"below_id": NaN}'),
    )


def encode(value: Any) -> str:
    return encode_bytes(json.dumps(value).encode())


def encode_bytes(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@before_the_database
@pytest.mark.parametrize("cursor", list(tampered()), ids=shorten)
def test_a_tampered_cursor_is_refused(stage: Stage, cursor: str) -> None:
    answer = stage.client.get("/api/tasks", query_string={"cursor": cursor})
    if len(cursor) > 500:
        assert fault_of(answer, 400, "invalid_request", "cursor") is None
    else:
        assert fault_of(answer, 400, "invalid_cursor") is None, answer.get_data(as_text=True)


@before_the_database
@pytest.mark.parametrize("cursor", [*tampered(), make_cursor(17)], ids=shorten)
def test_a_tampered_cursor_of_dead_letters_is_refused(stage: Stage, cursor: str) -> None:
    answer = stage.client.get("/api/dead-letters", query_string={"cursor": cursor})
    assert answer.status_code == 400, answer.get_data(as_text=True)


@before_the_database
@pytest.mark.parametrize(
    "key", ["", " ", "two words", "x" * 256, "tab\tbed", "ünïcode", "a\x7f", "x" * 100_000], ids=shorten
)
def test_an_idempotency_key_that_cannot_be_kept_is_refused(stage: Stage, key: str) -> None:
    before = stage.stored()
    body = {"type": "checksum", "params": {"path": "new"}}
    answer = stage.client.post("/api/tasks", json=body, headers={"Idempotency-Key": key})
    assert fault_of(answer, 400, "invalid_header") is None, answer.get_data(as_text=True)
    assert "Idempotency-Key" in answer.get_json()["detail"]
    assert stage.stored() == before


def test_an_idempotency_key_of_255_characters_is_kept(stage: Stage) -> None:
    body = {"type": "checksum", "params": {"path": "new"}}
    headers = {"Idempotency-Key": "!~" * 127 + "x"}
    first = stage.client.post("/api/tasks", json=body, headers=headers)
    again = stage.client.post("/api/tasks", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.get_json()["data"] == again.get_json()["data"]
    other = stage.client.post("/api/tasks", json={**body, "priority": 1}, headers=headers)
    assert fault_of(other, 409, "idempotency_key_reused") is None


@before_the_database
@pytest.mark.parametrize("override", ["DELETE; DROP", "TRACE", "x" * 10_000, "GET", "ü"], ids=shorten)
def test_an_override_of_the_method_that_makes_no_sense_changes_nothing(stage: Stage, override: str) -> None:
    answer = stage.client.post("/api/keys", json={}, headers={"X-HTTP-Method-Override": override})
    assert fault_of(answer, 400, "missing_field") is None


def test_a_tag_is_found_by_all_its_characters_also_by_spaces_of_other_kinds(stage: Stage) -> None:
    for tag in ("\u00a0", "\u2003wide\u2003"):
        created = stage.expect(201, "POST", "/api/tasks", type="checksum", params={"path": tag}, tags=[tag])
        answer = stage.client.get("/api/tasks", query_string={"tag": f" {tag} "})
        assert [task["id"] for task in answer.get_json()["data"]["tasks"]] == [created["id"]]
