"""What is in the tables after a step, in one statement, as lines that are compared with those of the model.

Each row becomes one text within the database: to carry thousands of values over the wire, and make Python objects of
them, would cost more than the request that is tested.
"""

import json
import sqlite3

import pymysql
from sqlalchemy import make_url

from tests.support.clock import START

STATUSES = ("", "blocked", "scheduled", "pending", "claimed", "completed", "failed", "cancelled")
_START_MICROSECONDS = round(START.timestamp()) * 1_000_000
_START_TEXT = START.strftime("%Y-%m-%d %H:%M:%S")
_INSTANTS = ("claimed_at", "first_claimed_at", "due_at", "available_at", "deadline_at", "completed_at", "created_at")
_COLUMNS = {
    "tasks": (
        *("id", "type_id", "status", "params", "result", "failure_reason", "progress", "attempts", "max_attempts"),
        *("claimed_by", "lease_token", "priority", "has_followers", *_INSTANTS, "updated_at"),
    ),
    "attempts": ("task_id", "number", "worker_id", "lease_token", "outcome", "late_report_at IS NOT NULL"),
    "line_places": ("task_id", "is_admitted"),
    "schedules": ("id", "due_at", "created_count", "skipped_count", "last_task_id"),
    "operations": ("kind", "status", "changed"),
    "dependencies": ("task_id", "depends_on_id", "is_met"),
}


class Rows:
    """A connection of its own, which looks at the tables from outside."""

    def __init__(self, database_url):
        url = make_url(database_url)
        if url.get_backend_name() == "sqlite":
            self._connection = sqlite3.connect(url.database, isolation_level=None)
            self._statement = _statement(_sqlite_text, " || ".join)
        else:
            where = {"host": url.host, "port": url.port, "user": url.username, "password": url.password or ""}
            self._connection = pymysql.connect(**where, database=url.database, charset="utf8mb4", autocommit=True)
            self._statement = _statement(_mysql_text, lambda parts: f"CONCAT({', '.join(parts)})")
        self._cursor = self._connection.cursor()

    def read(self):
        """Return all lines."""
        self._cursor.execute(self._statement)
        return [line for (line,) in self._cursor.fetchall()]

    def fired(self):
        """Return the ids of the tasks that schedules have made, by schedule and instant."""
        self._cursor.execute("SELECT id, extras FROM tasks WHERE extras LIKE '%schedule_id%'")
        return {
            (extras["schedule_id"], extras["scheduled_for"]): task_id
            for task_id, extras in ((row[0], json.loads(row[1])) for row in self._cursor.fetchall())
        }

    def close(self):
        self._connection.close()


def _statement(text_of, join):
    selects = []
    for table, columns in _COLUMNS.items():
        parts = [f"'{table}'"]
        for column in columns:
            parts += ["'|'", text_of(column)]
        selects.append(f"SELECT {join(parts)} FROM {table}")
    return " UNION ALL ".join(selects)


def _or_dash(column, expression):
    # JSON's null and no result are the same to everybody.
    expression = f"NULLIF({expression}, 'null')" if column == "result" else expression
    return f"COALESCE({expression}, '-')"


def _sqlite_text(column):
    return _or_dash(column, f"{column} - {_START_MICROSECONDS}" if column.endswith("_at") else f"({column})")


def _mysql_text(column):
    is_instant = column.endswith("_at")
    return _or_dash(column, f"TIMESTAMPDIFF(MICROSECOND, '{_START_TEXT}', {column})" if is_instant else f"({column})")


def _shown(value):
    return "-" if value is None else value


def _instant(seconds):
    return "-" if seconds is None else seconds * 1_000_000


def _json(value):
    return json.dumps(value, separators=(",", ":"))


def lines_of(model):
    """Return the lines that the tables must hold by the model."""
    lines = []
    for task in model.tasks.values():
        values = (
            *(task["id"], model.types[task["type"]]["id"], STATUSES.index(task["status"]), _json(task["params"])),
            "-" if task["result"] is None else _json(task["result"]),
            *(_shown(task["failure_reason"]), task["progress"], task["attempts"], task["max_attempts"]),
            *(_shown(task["claimed_by"]), _shown(task["token"]), task["priority"], int(task["is_followed"])),
            *(_instant(task[name]) for name in _INSTANTS),
            _instant(task["updated_at"]),
        )
        lines.append("tasks|" + "|".join(map(str, values)))
        lines += [f"dependencies|{task['id']}|{other}|{int(not waits)}" for other, waits in task["waits_for"].items()]
    for task_id, ends in model.attempts.items():
        lines += [
            f"attempts|{task_id}|{end['number']}|{end['worker_id']}|{end['token']}|{end['outcome']}|"
            f"{int(end['is_late'])}"
            for end in ends
        ]
    for line in model.lines.values():
        lines += [f"line_places|{task_id}|{int(place['is_admitted'])}" for task_id, place in line["places"].items()]
    for each in model.schedules.values():
        counts = f"{each['created']}|{each['skipped']}|{_shown(each['last_task_id'])}"
        lines.append(f"schedules|{each['id']}|{_instant(each['due_at'])}|{counts}")
    lines += [f"operations|{each['kind']}|{each['status']}|{each['changed']}" for each in model.operations.values()]
    return lines
