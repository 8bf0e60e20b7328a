"""Granian hands requests over by RSGI: nothing of them may get lost or be changed on the way to the application."""

import http.client
import json
from urllib.parse import quote, urlencode

import pytest


@pytest.fixture
def send(unharmed):
    connection = http.client.HTTPConnection("127.0.0.1", unharmed.port, timeout=20)

    def send_one(method, path, body=None, **options):
        headers = {"X-API-Key": unharmed.key, **options.pop("headers", {})}
        connection.request(method, path, body, headers, **options)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    yield send_one
    connection.close()


@pytest.mark.parametrize("name", ["plain", "a/b", "/a//b/", "ü 🚀", "%41 %2F %", "a+b&c=d?e#f", "\u00e9\u0301", ".."])
def test_names_in_paths_and_queries_arrive_as_they_were_sent(send, name):
    body = json.dumps({"name": name, "version": "1", "param_schema": {"type": "object"}})
    assert send("POST", "/api/task-types/register", body)[0] == 201
    status, _, answer = send("GET", f"/api/task-types/{quote(name, safe='')}")
    assert (status, json.loads(answer)["data"]["name"]) == (200, name)
    assert send("POST", "/api/tasks", json.dumps({"type": name, "params": {}, "tags": ["ü 🚀+%41&"]}))[0] == 201
    _, _, answer = send("GET", "/api/tasks?" + urlencode({"tag": "ü 🚀+%41&", "limit": "1"}))
    assert [task["type"] for task in json.loads(answer)["data"]["tasks"]] == [name]


def test_a_body_without_a_length_is_read_and_bounded(send):
    assert send("POST", "/api/tasks", iter([b'{"type": "work",', b'"params": {}}']))[0] == 201
    large = (b'{"type": "work", "params": {"x": "', *([b"y" * 100_000] * 20), b'"}}')
    for _ in range(3):
        status, _, answer = send("POST", "/api/tasks", iter(large))
        assert (status, json.loads(answer)["code"]) == (413, "body_too_large")
    assert send("GET", "/api/health")[0] == 200


def test_head_has_no_body_and_options_names_the_methods(send):
    assert send("HEAD", "/api/health")[::2] == (200, b"")
    status, headers, _ = send("OPTIONS", "/api/tasks")
    assert (status, "POST" in headers["Allow"]) == (204, True)


def test_headers_arrive_and_go_back(send):
    _, headers, _ = send("GET", "/api/health", headers={"X-Request-ID": "mine-1"})
    assert headers["X-Request-ID"] == "mine-1"
    assert headers["Content-Type"] == "application/json"
    # No header passes for another one.
    _, headers, _ = send("GET", "/api/health", headers={"X_Request_ID": "mine-2"})
    assert headers["X-Request-ID"] != "mine-2"


def test_a_large_answer_comes_whole(send):
    status, headers, answer = send("GET", "/api/openapi.json")
    assert (status, len(answer)) == (200, int(headers["Content-Length"]))
    assert json.loads(answer)["openapi"].startswith("3.1")
