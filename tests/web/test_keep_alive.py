"""One connection serves many requests, whatever their bodies."""

import http.client
import json
from urllib.parse import urlsplit


def test_a_body_that_nobody_reads_does_not_break_the_connection(live_server):
    connection = http.client.HTTPConnection(urlsplit(live_server.url).netloc, timeout=20)
    headers = {"X-API-Key": live_server.admin_key}
    for number in range(60):
        body = json.dumps({"unread": "x" * number * 200})
        for method, path, status in (
            ("POST", "/api/tasks/1/cancel", 404),
            ("GET", "/api/nothing", 404),
            ("GET", "/api/health", 200),
        ):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
    connection.close()


def test_a_body_over_the_limit_gets_its_answer(live_server):
    for _ in range(5):
        connection = http.client.HTTPConnection(urlsplit(live_server.url).netloc, timeout=20)
        connection.request("POST", "/api/tasks", b"x" * 1_200_000, {"X-API-Key": live_server.admin_key})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (413, "body_too_large")
        connection.close()
