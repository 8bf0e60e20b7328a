"""API keys on the wire."""

from marshmallow import fields, validate

from app.queue.keys import Scope
from app.rest.fields import Instant, Int, Name, Text
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.storage.columns import MAX_ID

_SCOPES = [scope.value for scope in Scope]


class NewKey(RequestSchema):
    """A key to be made."""

    name = Name("What it is for.", "worker on host 7", required=True)
    scopes = fields.List(
        fields.String(validate=validate.OneOf(_SCOPES)),
        required=True,
        validate=validate.Length(1, 10),
        metadata={
            "description": "What it may do: `admin` everything; `producer` register types, create and cancel tasks; "
            "`worker` claim tasks and report on them; `read` only read, as every key may.",
            "example": ["worker"],
        },
    )
    expires_at = Instant("When it ceases to work; never by default.", "2099-12-31T00:00:00.000Z", allow_none=True)


class KeyChange(RequestSchema):
    """What is to be changed of a key."""

    name = Name("What it is for.", "worker on host 8")
    expires_at = Instant("When it ceases to work; null for never.", "2099-12-31T00:00:00.000Z", allow_none=True)


class Key(AnswerSchema):
    """A key, without the secret itself."""

    id = Int("The number of the key.", 3, low=1, high=MAX_ID, required=True)
    name = Text("What it is for.", "worker on host 7", required=True)
    prefix = Text("Its first characters, to recognise it by.", "tm_Zk3vQ0a", required=True)
    scopes = fields.List(
        fields.String(validate=validate.OneOf(_SCOPES)),
        required=True,
        metadata={"description": "What it may do.", "example": ["worker"]},
    )
    expires_at = Instant("When it ceases to work.", required=True, allow_none=True)
    revoked_at = Instant("When it was revoked.", required=True, allow_none=True)
    created_at = Instant("When it was made.", required=True)


class CreatedKey(Key):
    """A new key; this answer is the only one that ever holds the secret."""

    key = Text("The secret: keep it safe, it cannot be shown again.", "tm_Zk3vQ0a…", required=True)


class KeyList(AnswerSchema):
    """All keys."""

    keys = fields.List(fields.Nested(Key), required=True, metadata={"description": "The keys, oldest first."})
    count = Int("How many these are.", 1, low=0, high=2**31, required=True)
