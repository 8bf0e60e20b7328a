"""The audit log on the wire."""

from marshmallow import fields

from app.rest.fields import Instant, Int, JsonObject, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema, page_fields
from app.storage.columns import MAX_ID


class AuditQuery(RequestSchema):
    """Which entries to list."""

    action = Text("Only this action.", "change_task_type", high=64)
    subject = Text("Only changes of this subject.", "task-types/checksum", high=300)
    actor = Text("Only changes by keys of this name.", "admin of host 7")
    created_from = Instant("Only entries of this instant or later.")
    created_before = Instant("Only entries before this instant.")
    cursor = Text("`next_cursor` of the page before.", "", high=500)
    limit = page_fields()["limit"]


class AuditEntry(AnswerSchema):
    """A change that somebody made."""

    id = Int("The number of the entry.", 17, low=1, high=MAX_ID, required=True)
    created_at = Instant("When it was made.", required=True)
    api_key_id = Int(
        "The API key that was used; 0 for a program beside the server.", 3, low=0, high=MAX_ID, required=True
    )
    actor = Text("The name of the key at that time, or of the program.", "admin of host 7", required=True)
    action = Text(
        "What was done: the `operationId` of the operation in this document.", "change_task_type", required=True
    )
    subject = Text("What was changed: its path below `/api`.", "task-types/checksum", high=300, required=True)
    details = JsonObject(
        'What was said: for a change the `old` and `new` value of each field that changed, or `"changed"` where these '
        "are long.",
        {"is_paused": {"old": False, "new": True}},
        required=True,
    )


class AuditList(AnswerSchema):
    """A page of the audit log, newest first."""

    entries = fields.List(fields.Nested(AuditEntry), required=True, metadata={"description": "The entries."})
    count = Int("How many are on this page.", 1, low=0, high=1000, required=True)
    limit = Int("How many there may be on a page.", 50, low=1, high=1000, required=True)
    next_cursor = Text(
        "`cursor` of the next page; null on the last.", "eyJiZWxvd19pZCI6MTd9", high=500, required=True, allow_none=True
    )
