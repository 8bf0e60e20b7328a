"""The server's health on the wire."""

from typing import Any

from marshmallow import EXCLUDE, fields

from app.rest.fields import Flag, Instant, Int, LongText, Seconds, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema

_MANY = 2**63 - 1
_BACKLOG: dict[str, Any] = {
    "due_tasks": 0,
    "is_exact": True,
    "late_seconds": 0.0,
    "due_schedules": 0,
    "running_operations": 0,
}
_HOUSEKEEPING: dict[str, Any] = {
    "is_running": False,
    "held_until": None,
    "last_began_at": "2026-11-23T12:00:00.123Z",
    "last_ended_at": "2026-11-23T12:00:00.144Z",
    "last_seconds": 0.021,
    "last_changed": 12,
    "last_error": None,
    "last_error_at": None,
    "backlog": _BACKLOG,
}
_STORAGE: dict[str, Any] = {
    "kind": "mariadb",
    "version": "10.11.6",
    "now": "2026-11-23T12:00:01.123Z",
    "pool_size": 1,
}


class HealthQuery(RequestSchema):
    """How much to tell; health may be asked with any other parameter beside, such as those of load balancers."""

    verbose = Flag("Tell an admin more: how housekeeping is, and the database.", False, load_default=False)

    class Meta:
        unknown = EXCLUDE


class Backlog(AnswerSchema):
    """What is due and not done yet."""

    due_tasks = Int(
        "Tasks that are to be woken, ended or removed, counted up to 10,000.", 0, low=0, high=_MANY, required=True
    )
    is_exact = Flag("Whether all of them were counted.", True, required=True)
    late_seconds = Seconds("For how long the oldest of them has been due.", 0.0, high=1e12, required=True)
    due_schedules = Int("Schedules that are to fire, counted up to 10,000.", 0, low=0, high=_MANY, required=True)
    running_operations = Int("Operations that go on, counted up to 10,000.", 0, low=0, high=_MANY, required=True)


class Housekeeping(AnswerSchema):
    """How the work of time goes. Rounds that find nothing to do are not written down."""

    is_running = Flag("Whether a process is doing it now.", False, required=True)
    held_until = Instant("Until when nobody else may begin.", required=True, allow_none=True)
    last_began_at = Instant("When the latest round with something to do began.", required=True, allow_none=True)
    last_ended_at = Instant("When the latest such round ended.", required=True, allow_none=True)
    last_seconds = Seconds("How long that one took.", 0.021, high=1e12, required=True, allow_none=True)
    last_changed = Int("How many rows it changed.", 12, low=0, high=_MANY, required=True, allow_none=True)
    last_error = LongText(
        "The latest error: the job, what it was, and what is known of it.",
        "count_usage: OperationalError: the log of the server has all of it",
        required=True,
        allow_none=True,
    )
    last_error_at = Instant("When that was.", required=True, allow_none=True)
    backlog = fields.Nested(
        Backlog,
        required=True,
        metadata={"description": "What is due and not done yet.", "example": _BACKLOG},
    )


class Storage(AnswerSchema):
    """The database."""

    kind = Text("What it is.", "mariadb", required=True)
    version = Text("Its version.", "10.11.6", required=True)
    now = Instant("Its present instant, which is the queue's.", required=True)
    pool_size = Int("How many connections this process may hold.", 1, low=1, high=1000, required=True)


class Health(AnswerSchema):
    """How the server is."""

    status = Text("`healthy`.", "healthy", required=True)
    database = Text("`connected`.", "connected", required=True)
    version = Text("The version of the server.", "0.1.0", required=True)
    warnings = fields.List(
        fields.String(), required=True, metadata={"description": "What an operator should look at.", "example": []}
    )
    housekeeping = fields.Nested(
        Housekeeping,
        metadata={"description": "With `verbose`: how the work of time goes.", "example": _HOUSEKEEPING},
    )
    storage = fields.Nested(
        Storage,
        metadata={"description": "With `verbose`: the database.", "example": _STORAGE},
    )
