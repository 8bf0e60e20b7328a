"""Wrong values, by kind of field."""

from typing import Any

from app.policies import POLICIES

MAX_ID = 2**63 - 1
YEAR = 366 * 86400

NO_TEXT: list[Any] = [5, 1.5, True, [], {}, ["a"]]
CONTROL: list[Any] = ["a\x00b", "a\x1d", "\x1ca", "a\x00", "a\nb", "\x1b[31m", "a\x7fb", "\x00"]


def text(high: int, low: int = 0) -> list[Any]:
    return [*NO_TEXT, *CONTROL, "x" * (high + 1), "😀" * (high + 1), *([""] if low else [])]


def lines(high: int) -> list[Any]:
    return [value for value in text(high) if value != "a\nb"]


def shorten(value: Any) -> str:
    return ascii(value)[:40]


def name(high: int = 255) -> list[Any]:
    return [*text(high, low=1), "   ", "\t", "x" + " " * high]


def integer(low: int, high: int, *, from_text: bool = False) -> list[Any]:
    numbers = [low - 1, high + 1, 2**63, 2**64, -(2**63) - 1, 10**400, -(10**400)]
    words = [str(high + 1), "1.0", "1e3", "0x1", "1_0", "\u0663", "x", ""] if from_text else ["1", "x", ""]
    return [*numbers, *words, True, False, 1.5, 1.0, 1e300, [], {}, [1]]


def seconds(high: int) -> list[Any]:
    return [-1, -0.001, high + 1, 1e308, 10**400, "5", "", True, False, [], {}]


NO_FLAG: list[Any] = ["yes", "", 2, -1, 1.0, 0.0, "2", "null", [], {}, 10**400]
NO_INSTANT: list[Any] = [
    *("", "yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z"),
    *("9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    *(
        "2026-01-01T00:00:00+99:99",
        "\uff12\uff10\uff12\uff16-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\x00",
        5,
        1e9,
        True,
        [],
        {},
    ),
]
NO_OBJECT: list[Any] = [5, 1.5, True, "x", "{}", [1], [{}], None]
NO_SCHEMA: list[Any] = [
    *(5, 1.5, True, "x", "", "[]", "{", '{"type": NaN}', [], [1], {}, "{}"),
    *({"type": "nothing"}, {"type": 5}, {"type": "object", "properties": 5}, {"type": "string", "pattern": "("}),
    *({"type": "object", "$ref": "https://example.org/a.json"}, {"type": "object", "$ref": "#/nowhere"}),
    *({"type": "object", "$schema": "https://example.org/unknown"}, {"type": "object", "$ref": "#"}),
]
NO_COMMAND: list[Any] = ["", "QUIET", "quiet ", "stop", "null", 5, 1.5, True, False, [], {}, ["quiet"]]


def policy(policy_name: str) -> list[Any]:
    bounds = POLICIES[policy_name].metadata
    default = POLICIES[policy_name].default
    null = [] if default is None else [None]
    if "names" in bounds:
        wrong_lists: list[Any] = [[], [""], [5], [None], ["a", "a"], ["x" * 256], [str(number) for number in range(51)]]
        return [5, True, "a", {}, *wrong_lists]
    if "low" not in bounds:
        return [*NO_TEXT, "x", "", "1/0", "0/1", "1/1 ", "FIXED", "a\x00", "\u0661/\u0661", *null]
    wrong = [bounds["low"] - 1, bounds["high"] + 1, "5", "", True, False, [], {}, 10**400, 1e300, *null]
    return wrong if isinstance(default, float) else [*wrong, 1.5, 2.0]


NO_LINES: list[Any] = [
    *(5, True, "x", {}, [], None, [5], [None], ["x"], [[]], [{}], [{"level": "info"}], [{"message": "x"}] * 101),
    *([{"message": value}] for value in (None, 5, True, [], {}, "x" * 10_001)),
    *([{"message": "x", "level": value}] for value in (None, 5, True, [], {}, "", "INFO", "fatal")),
    [{"message": "x", "surprise": 1}],
]
POLICY_FIELDS = {each: policy(each) for each in POLICIES}
WORKER = {"worker_id": [*name(), None], "lease_token": text(64, low=1)}

SCHEDULE: dict[str, list[Any]] = {
    "params": NO_OBJECT,
    "priority": [*integer(-(2**31) + 1, 2**31 - 1), None],
    "tags": [5, True, "x", {}, [5], [None], [""], ["a,b"], ["a\x00"], ["x" * 101], ["x"] * 21, [["x"]], None],
    "metadata": [*NO_OBJECT, {str(number): 1 for number in range(51)}],
    "concurrency_key": name(),
    "cron": [
        *(*NO_TEXT, *CONTROL, "", " ", "*", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", None),
        *("0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 * *", "0 0 32 * *", "0 0 * 13 *", "0 0 * * 8", "*/0 * * * *"),
        *("5-1 * * * *", "* * * * FUN", "1,,2 * * * *", "\u0661 * * * *", "0\u00a00 * * *", "0 0 */31 * MON#5"),
        *("x " * 200, "1" * 256),
    ],
    "timezone": [
        *(*NO_TEXT, *CONTROL, "", " ", "Europe", "europe/berlin", "Mars/Base", "../Europe/Berlin", "/etc/passwd", None),
        *("right/UTC", "localtime", "+02:00", "UTC ", "Europe/Berlin\u00e9", "x" * 65),
    ],
    "starts_at": NO_INSTANT,
    "ends_at": [*NO_INSTANT, "2026-01-01T12:00:00Z", "1999-01-01T00:00:00Z"],
    "jitter_seconds": [*integer(0, 3600), None],
    "overlap": [5, True, [], {}, "", "SKIP", "cancel", None],
    "catch_up": [5, True, [], {}, "", "ALL", "two", None],
    "catch_up_limit": [*integer(1, 1000), None],
    "is_paused": [*NO_FLAG, None],
}
SCHEDULE_OF_TYPE = {"type": [*name(), None], **SCHEDULE}
DEAD_LETTERS = {
    "all": [*NO_FLAG, None],
    "type": [*name(), None],
    "failure_reason": ["", "no such reason", 5, True, [], {}, None],
    "error_contains": [*lines(1000), "", None],
    "failed_from": [*NO_INSTANT, None],
    "failed_before": [*NO_INSTANT, None],
    "worker_id": [*name(), None],
    "tag": [*name(), None],
    "ids": [[], "17", 17, True, {}, [0], [-1], ["1"], [1.0], [None], [True], [2**63], [1] * 1001, None],
}
CLAIM = {
    "worker_id": [*name(), None],
    "task_type_id": integer(1, MAX_ID, from_text=True),
    "type_pattern": text(255, low=1),
    "types": [[], "checksum", {}, 5, True, [5], [None], [""], ["a\x00"], ["x"] * 101, [["checksum"]]],
    "sort_by": ["", "name", "id; DROP TABLE tasks", 5, True, [], {}],
    "sort_order": ["", "up", 5, True, [], {}],
    "lease_seconds": integer(1, 7 * 86400),
}
NO_LIST_OF_REPORTS: list[Any] = [5, True, "x", {}, [{"id": 17, "success": True}] * 101]
