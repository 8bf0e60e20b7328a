"""Who is calling, and may they?"""

from datetime import datetime

from flask import g, request

from app.queue.audit import Actor
from app.queue.keys import EVERYBODY, Key, Scope, find_kept_key, find_key
from app.web.current import database, settings
from app.web.errors import KeyRefused, KeyRequired, ScopeMissing

_MAX_KEY_CHARACTERS = 200


def require(scope: Scope) -> Key:
    """Return the caller's key; raises KeyRequired, KeyRefused or ScopeMissing."""
    key = EVERYBODY
    if settings().auth:
        secret = _given_key()
        kept = find_kept_key(database().cache, secret)
        key = kept or database().read(lambda tx: _usable(find_key(tx, secret), tx.now))
        if not key.may(scope):
            raise ScopeMissing(f"This needs a key with the scope `{scope.value}`.")
    g.key = key
    return key


def current_key() -> Key:
    """Return the key that `require` let in."""
    key: Key = g.key
    return key


def actor() -> Actor:
    """Return the caller as the audit log names it."""
    key = current_key()
    return Actor(key.id, key.name)


def _usable(key: Key | None, now: datetime) -> Key:
    if key is None or not key.is_usable(now):
        raise KeyRefused
    return key


def _given_key() -> str:
    secret = request.headers.get("X-API-Key")
    if not secret:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        secret = token if kind.lower() == "bearer" else None
    secret = (secret or "").strip()
    if not secret:
        raise KeyRequired
    if len(secret) > _MAX_KEY_CHARACTERS:
        raise KeyRefused
    return secret
