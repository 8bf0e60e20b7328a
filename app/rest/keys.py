"""API keys over HTTP."""

from typing import Any

from app.errors import InstantPassed, KeyNotFound, LastAdminKey
from app.queue.keys import Scope, change_key, create_key, list_keys, revoke_key
from app.rest.contract import Answer, contract
from app.rest.representations import show_key
from app.rest.schemas import keys as schemas
from app.web.auth import actor
from app.web.current import database

TAG = "Keys"


@contract(
    "create_api_key",
    tag=TAG,
    scope=Scope.ADMIN,
    body=schemas.NewKey,
    answer=schemas.CreatedKey,
    messages={201: "API key created successfully"},
    errors=(InstantPassed,),
)
def create_api_key(body: dict[str, Any]) -> Answer:
    """Create an API key; this answer is the only one that ever holds it."""
    secret, row = database().write(lambda tx: create_key(tx, **body, actor=actor()))
    return Answer({**show_key(row), "key": secret}, "API key created successfully", 201)


@contract(
    "list_api_keys",
    tag=TAG,
    scope=Scope.ADMIN,
    answer=schemas.KeyList,
    messages={200: "API keys retrieved successfully"},
)
def list_api_keys() -> Answer:
    """List the API keys, revoked ones too."""
    shown = [show_key(row) for row in database().read(list_keys)]
    return Answer({"keys": shown, "count": len(shown)}, "API keys retrieved successfully")


@contract(
    "change_api_key",
    tag=TAG,
    scope=Scope.ADMIN,
    body=schemas.KeyChange,
    answer=schemas.Key,
    messages={200: "API key updated successfully"},
    errors=(KeyNotFound, LastAdminKey),
)
def change_api_key(key_id: int, body: dict[str, Any]) -> Answer:
    """Rename an API key or change when it ceases to work."""
    row = database().write(lambda tx: change_key(tx, key_id, body, actor()))
    database().cache.clear()
    return Answer(show_key(row), "API key updated successfully")


@contract(
    "revoke_api_key",
    tag=TAG,
    scope=Scope.ADMIN,
    answer=schemas.Key,
    messages={200: "API key revoked successfully"},
    errors=(KeyNotFound, LastAdminKey),
)
def revoke_api_key(key_id: int) -> Answer:
    """Revoke an API key for ever.

    Other server processes refuse it within `TASKMANAGER_CACHE_SECONDS`, this one at once.
    """
    row = database().write(lambda tx: revoke_key(tx, key_id, actor()))
    database().cache.clear()
    return Answer(show_key(row), "API key revoked successfully")
