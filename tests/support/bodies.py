"""Every endpoint that takes a body or a query: what is right, and what is wrong for each field."""

from typing import Any

from tests.support.wrong_values import (
    CLAIM,
    CONTROL,
    DEAD_LETTERS,
    MAX_ID,
    NO_COMMAND,
    NO_FLAG,
    NO_INSTANT,
    NO_LINES,
    NO_LIST_OF_REPORTS,
    NO_OBJECT,
    NO_SCHEMA,
    POLICY_FIELDS,
    SCHEDULE_OF_TYPE,
    WORKER,
    YEAR,
    integer,
    lines,
    name,
    seconds,
    text,
)

CHECKSUM = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["path"],
}

BODIES: dict[tuple[str, str], tuple[dict[str, Any], dict[str, list[Any]]]] = {
    ("POST", "/api/task-types/register"): (
        {"name": "new", "version": "1", "param_schema": CHECKSUM},
        {
            "name": [*name(), None, "ﬃ" * 100],
            "version": [True, [], {}, "", "x" * 51, 10**60, None, *CONTROL],
            "param_schema": [*NO_SCHEMA, None],
            "result_schema": NO_SCHEMA,
            **POLICY_FIELDS,
        },
    ),
    ("PATCH", "/api/task-types/checksum"): (
        {"version": "2"},
        {
            "version": [True, [], {}, "", "x" * 51, None, *CONTROL],
            "param_schema": [*NO_SCHEMA, None],
            "result_schema": NO_SCHEMA,
            "is_active": [*NO_FLAG, None],
            "is_paused": [*NO_FLAG, None],
            **POLICY_FIELDS,
        },
    ),
    ("POST", "/api/tasks"): (
        {"type": "checksum", "params": {"path": "new"}},
        {
            "type": [*name(), None],
            "params": NO_OBJECT,
            "priority": [*integer(-(2**31) + 1, 2**31 - 1), None],
            "available_at": NO_INSTANT,
            "delay_seconds": seconds(10 * YEAR),
            "deadline_at": NO_INSTANT,
            "dedupe_key": name(),
            "parent_task_id": [1.5, True, [], {}, 2**63, 10**400, "x" * 256, *CONTROL],
            "on_duplicate": [5, True, [], {}, "", "ignore", "RETURN"],
            "depends_on": [5, True, "x", {}, [0], [-1], ["1"], [1.0], [True], [None], [2**63], [1] * 1001],
            "on_dependency_failure": [5, True, [], {}, "", "ignore", None],
            "tags": [5, True, "x", {}, [5], [None], [""], ["a,b"], ["a=b"], ["a\x00"], ["x" * 101], ["t"] * 21],
            "metadata": [
                *NO_OBJECT,
                {"a=b": 1},
                {"": 1},
                {"x" * 101: 1},
                {"a": "x" * 9000},
                dict.fromkeys(map(str, range(51))),
            ],
            "concurrency_key": name(),
        },
    ),
    ("POST", "/api/tasks/batch"): (
        {"tasks": [{"type": "checksum", "params": {"path": "new"}}]},
        {
            "tasks": [5, True, "x", {}, None, [], [{}] * 1001],
            "atomic": [*NO_FLAG, None],
        },
    ),
    ("POST", "/api/workflows"): (
        {"tasks": [{"name": "only", "type": "checksum", "params": {"path": "new"}}]},
        {
            "name": name(),
            "tasks": [5, True, "x", {}, None, [], [5], [{}], [{"name": "a", "type": "checksum", "params": {}, "x": 1}]],
        },
    ),
    ("POST", "/api/tasks/claim"): ({"worker_id": "w", "types": ["checksum"]}, CLAIM),
    ("POST", "/api/tasks/batch/claim"): (
        {"worker_id": "w", "types": ["checksum"], "max_tasks": 5},
        {**CLAIM, "max_tasks": [*integer(1, 100), None]},
    ),
    ("POST", "/api/tasks/batch/complete"): (
        {"worker_id": "w", "results": [{"id": 17, "success": True}]},
        {"worker_id": [*name(), None], "results": [[], *NO_LIST_OF_REPORTS, None]},
    ),
    ("POST", "/api/tasks/batch/exchange"): (
        {"worker_id": "w"},
        {
            "worker_id": [*name(), None],
            "task_type_id": integer(1, MAX_ID, from_text=True),
            "type_pattern": text(255, low=1),
            "types": [[], "checksum", {}, 5, True, [5], [None], [""], ["a\x00"], ["x"] * 101, [["checksum"]]],
            "sort_by": ["", "name", "id; DROP TABLE tasks", 5, True, [], {}],
            "sort_order": ["", "up", 5, True, [], {}],
            "lease_seconds": integer(1, 7 * 86400),
            "worker_version": name(),
            "results": [*NO_LIST_OF_REPORTS, None],
            "claim": [
                *(5, True, "x", [], {}, {"max_tasks": 5}, {"types": ["checksum"], "worker_id": "w"}),
                *({"types": ["checksum"], "max_tasks": wrong} for wrong in integer(1, 100)),
                *(
                    {"types": ["checksum"], field: wrong}
                    for field in ("sort_by", "lease_seconds")
                    for wrong in ("x", [])
                ),
            ],
        },
    ),
    ("PATCH", "/api/tasks/{waiting}"): ({"priority": 7}, {"priority": [*integer(-(2**31) + 1, 2**31 - 1), None]}),
    ("POST", "/api/tasks/{claimed}/logs"): (
        {"worker_id": "w", "lines": [{"message": "x"}]},
        {**WORKER, "lines": NO_LINES},
    ),
    ("POST", "/api/tasks/{claimed}/heartbeat"): (
        {"worker_id": "w"},
        {**WORKER, "lease_seconds": integer(1, 7 * 86400)},
    ),
    ("POST", "/api/tasks/{claimed}/progress"): (
        {"worker_id": "w", "progress": 5},
        {**WORKER, "progress": [*integer(0, 100), None], "message": lines(1000)},
    ),
    ("POST", "/api/tasks/{claimed}/complete"): (
        {"worker_id": "w", "success": True},
        {
            **WORKER,
            "success": [*NO_FLAG, None],
            "retryable": [*NO_FLAG, None],
            "retry_after_seconds": seconds(YEAR),
        },
    ),
    ("POST", "/api/tasks/{claimed}/release"): (
        {"worker_id": "w"},
        {**WORKER, "delay_seconds": [*seconds(YEAR), None]},
    ),
    ("POST", "/api/housekeeping/run"): ({"budget_seconds": 1}, {"budget_seconds": [0, 0.09, 25.1, *seconds(25), None]}),
    ("POST", "/api/schedules"): (
        {"name": "new", "type": "checksum", "params": {"path": "new"}, "cron": "* * * * *"},
        {"name": [*name(), None], **SCHEDULE_OF_TYPE},
    ),
    ("POST", "/api/schedules/preview"): (
        {"cron": "* * * * *"},
        {"name": [*name(), None], **SCHEDULE_OF_TYPE, "count": [*integer(1, 100), None]},
    ),
    ("PATCH", "/api/schedules/{schedule}"): (
        {"priority": 5},
        {**SCHEDULE_OF_TYPE, "interval_seconds": [*integer(1, YEAR), None]},
    ),
    ("POST", "/api/tasks/cancel"): (
        {"all": True},
        {
            "all": [*NO_FLAG, None],
            "type": [*name(), None],
            "statuses": [[], "pending", 5, True, {}, ["failed"], ["nonsense"], [None], [5], ["pending"] * 5, None],
            "tag": [*name(), None],
            "created_from": [*NO_INSTANT, None],
            "created_before": [*NO_INSTANT, None],
            "workflow_id": [*integer(1, MAX_ID), None],
        },
    ),
    ("POST", "/api/tasks/{cancelled}/requeue"): (
        {"extra_attempts": 1},
        {"extra_attempts": [*integer(1, 1000), None]},
    ),
    ("POST", "/api/dead-letters/requeue"): (
        {"all": True},
        {**DEAD_LETTERS, "extra_attempts": [*integer(1, 1000), None]},
    ),
    ("POST", "/api/dead-letters/purge"): ({"all": True}, DEAD_LETTERS),
    ("PATCH", "/api/queue"): (
        {"is_paused": True},
        {"is_paused": [*NO_FLAG, None], "is_draining": [*NO_FLAG, None]},
    ),
    ("POST", "/api/workers/w/command"): ({"command": "quiet"}, {"command": NO_COMMAND}),
    ("POST", "/api/workers/command"): ({"command": None}, {"command": NO_COMMAND}),
    ("POST", "/api/keys"): (
        {"name": "new", "scopes": ["read"]},
        {
            "name": [*name(), None],
            "scopes": [[], "read", {}, 5, True, [5], [None], ["root"], ["read"] * 11, [["read"]], None],
            "expires_at": NO_INSTANT,
        },
    ),
    ("PATCH", "/api/keys/{key}"): ({"name": "changed"}, {"name": [*name(), None], "expires_at": NO_INSTANT}),
}
# Where the body may be left out.
OPTIONAL = {("POST", "/api/housekeeping/run"), ("POST", "/api/tasks/{cancelled}/requeue")}
QUERIES: dict[str, dict[str, list[str]]] = {
    "/api/workers": {
        "type": ["", " ", "x" * 256, "a\x00"],
        "seen_within_seconds": ["0", "-1", "604801", "1.5", "x", "", "9" * 30],
        "limit": ["0", "-1", "1001", "1.0", "ten", "", "9" * 30],
        "cursor": ["x" * 2001, "a\x00"],
    },
    "/api/tasks": {
        "status": ["x" * 201, "pend\x00ing"],
        "type": ["x" * 256, "a\x00", "a\n"],
        "worker_id": ["x" * 256, "a\x00"],
        "tag": ["", " ", ",", "a,", "a,,b", ",".join("abcdefghijk"), "a\x00", "x" * 2601],
        "metadata": ["", "a", "=", "=a", "a\x00=b", "a=b\n", "x" * 510 + "=a"],
        "workflow_id": ["", "0", "-1", "x", "1.5", str(2**63)],
        "created_from": ["yesterday", "2026-01-01", "0001-01-01T00:00:00Z", ""],
        "created_before": ["tomorrow", "9999-12-31T23:59:59Z", ""],
        "cursor": ["x" * 501, "a\x00"],
        "include": ["everything", "params,secrets", "params result", "x" * 51],
        "limit": ["0", "-1", "1001", "1.0", "ten", "", "9" * 30, "1e1", "\u0663", "0x1", str(2**63)],
        "offset": ["-1", "1000000001", "1.5", "x", "", "9" * 5000],
    },
    "/api/workflows": {
        "cursor": ["x" * 501, "a\x00"],
        "limit": ["0", "-1", "1001", "1.0", "ten", ""],
    },
    "/api/audit": {
        "action": ["x" * 65, "a\x00"],
        "subject": ["x" * 301, "a\n"],
        "actor": ["x" * 256, "a\x00"],
        "created_from": ["yesterday", ""],
        "created_before": ["2026-01-01", ""],
        "cursor": ["x" * 501, "a\x00"],
        "limit": ["0", "1001", "ten", ""],
    },
    "/api/schedules": {
        "type": ["x" * 256, "a\x00"],
        "cursor": ["x" * 501, "a\x00"],
        "limit": ["0", "-1", "1001", "1.0", "ten", ""],
    },
    "/api/dead-letters": {
        "type": ["x" * 256, "a\x00", "", " "],
        "failure_reason": ["", "nonsense", "attempts_exhausted,not_retryable"],
        "error_contains": ["", "x" * 1001, "a\x00"],
        "failed_from": ["yesterday", "2026-01-01", ""],
        "failed_before": ["tomorrow", "9999-12-31T23:59:59Z", ""],
        "worker_id": ["", "x" * 256, "a\x00"],
        "tag": ["", "x" * 256, "a\x00"],
        "cursor": ["x" * 501, "a\x00"],
        "limit": ["0", "-1", "501", "1.0", "ten", "", "9" * 30],
    },
    "/api/dead-letters/summary": {"type": ["x" * 256, "a\x00", "", " "]},
    "/api/operations": {
        "status": ["", "nonsense", "running,failed"],
        "cursor": ["x" * 501, "a\x00"],
        "limit": ["0", "-1", "501", "1.0", "ten", "", "9" * 30],
    },
    "/api/tasks/1": {"wait": ["-1", "61", "1.5", "x", "", "0x1", str(2**63)]},
    "/api/tasks/1/logs": {
        "after_id": ["-1", "x", "", "1.5", str(2**63)],
        "limit": ["0", "-1", "501", "ten", "", "1.0"],
    },
    "/api/task-types": {
        "active_only": ["yes", "", "2", "truee"],
        "sort_by": ["", "param_schema", "name; DROP TABLE tasks", "id desc"],
        "sort_order": ["", "up", "asc;"],
    },
    "/api/task-types/checksum/stats": {
        "window_seconds": ["59", "0", "-60", "86401", "1.5", "60s", "", "\u0663", "9" * 5000],
    },
}
