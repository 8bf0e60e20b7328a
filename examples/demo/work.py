"""The demo's task types, its tasks on files of this repository, and a table of their results."""

from dataclasses import dataclass
from typing import Any

from app.settings import ROOT
from examples.demo.api import Api

CHECKSUM, STATISTICS = "checksum", "word-statistics"
MAX_FILES = 20
_SHOWN_FILES = 8
_SHOWN_CHARACTERS = 36
_UNFINISHED = "blocked,scheduled,pending,claimed"
_PATTERNS = ("README.md", "*.md", "docs/**/*.md", "app/*.py", "app/queue/*.py")

# `dedupe` forever: a file that has not changed since is never worked on twice, however often the demo runs.
_TYPES: tuple[dict[str, Any], ...] = (
    {
        "name": CHECKSUM,
        "result_schema": {
            "type": "object",
            "properties": {"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "bytes": {"type": "integer"}},
            "required": ["sha256", "bytes"],
        },
    },
    {
        "name": STATISTICS,
        "result_schema": {
            "type": "object",
            "properties": {
                "lines": {"type": "integer"},
                "words": {"type": "integer"},
                "most_common": {"type": "array", "items": {"type": "array"}},
            },
            "required": ["lines", "words", "most_common"],
        },
    },
)
_PARAMS = {
    "type": "object",
    "properties": {"path": {"type": "string", "minLength": 1}},
    "required": ["path"],
    "additionalProperties": False,
}


def register_types(api: Api) -> None:
    """Register the demo's types; doing it again changes nothing."""
    for kind in _TYPES:
        policies = {"dedupe": "forever", "max_attempts": 3, "lease_seconds": 30, "retry_delay_seconds": 2}
        api.post("/task-types/register", {"version": "1.0", "param_schema": _PARAMS, **policies, **kind})


def find_files() -> list[str]:
    """Return paths of up to MAX_FILES files of the repository, documents first."""
    found = [path for pattern in _PATTERNS for path in sorted(ROOT.glob(pattern)) if path.stat().st_size > 0]
    return [path.relative_to(ROOT).as_posix() for path in dict.fromkeys(found)][:MAX_FILES]


@dataclass(frozen=True, slots=True)
class Order:
    """The demo's tasks: the id of each by file and type, and how many of them are new."""

    ids: dict[tuple[str, str], int]
    new: int


def create_tasks(api: Api, files: list[str]) -> Order:
    """Create the tasks for all files; one whose file has not changed since it was created is found instead."""
    ids, new = {}, 0
    for path in files:
        changed_at = int((ROOT / path).stat().st_mtime)
        for kind in (CHECKSUM, STATISTICS):
            order = {"type": kind, "params": {"path": path}, "dedupe_key": f"{path} of {changed_at}"}
            task = api.post("/tasks", order)
            ids[path, kind] = task["id"]
            new += not task["deduplicated"]
    return Order(ids, new)


def count_done(api: Api, order: Order) -> int:
    """Return how many of the tasks have ended, well or not."""
    waiting = set()
    for kind in (CHECKSUM, STATISTICS):
        waiting |= {task["id"] for task in api.get("/tasks", type=kind, status=_UNFINISHED, limit=1000)["tasks"]}
    return sum(task_id not in waiting for task_id in order.ids.values())


def read_results(api: Api, order: Order) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the tasks as they are now, by file and type."""
    return {key: api.get(f"/tasks/{task_id}") for key, task_id in order.ids.items()}


def result_lines(results: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """Return the table of results, and how a person can check them."""
    rows: list[tuple[str, ...]] = [("file", "lines", "words", "most common words", "sha256")]
    whole = []
    for path in dict.fromkeys(path for path, _ in results):
        checksum, statistics = (results[path, kind]["result"] for kind in (CHECKSUM, STATISTICS))
        if checksum and statistics:
            whole.append(path)
            common = ", ".join(f"{word} {count}" for word, count in statistics["most_common"][:3])
            numbers = (str(statistics["lines"]), str(statistics["words"]))
            rows.append((_shortened(path), *numbers, common, checksum["sha256"][:12] + "…"))
    lines = _table(rows[: _SHOWN_FILES + 1])
    if len(whole) > _SHOWN_FILES:
        lines.append(f"… and {len(whole) - _SHOWN_FILES} more files.")
    for task in results.values():
        if task["status"] != "completed":
            subject = f"Task {task['id']}, {task['type']} of {task['params']['path']}"
            lines.append(f"{subject}: {task['status']}, {task['error_message']}")
    if whole:
        path = whole[0]
        lines += [
            "",
            "Check them yourself:",
            f"  $ sha256sum {path}",
            f"  {results[path, CHECKSUM]['result']['sha256']}  {path}",
            f"  $ wc -l {path}",
            f"  {results[path, STATISTICS]['result']['lines']} {path}",
        ]
    return lines


def _shortened(path: str) -> str:
    return path if len(path) <= _SHOWN_CHARACTERS else "…" + path[1 - _SHOWN_CHARACTERS :]


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if 0 < number < 3 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
