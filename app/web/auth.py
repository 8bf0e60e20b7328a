"""Who is calling, and may they?"""

from datetime import datetime

from flask import g, request

from app.queue.audit import Actor
from app.queue.keys import EVERYBODY, Key, Scope, find_kept_key, find_key
from app.web.current import parts
from app.web.errors import KeyRefused, KeyRequired, ScopeMissing

_MAX_KEY_CHARACTERS = 200


def require(scope: Scope) -> Key:
    """Return the caller's key; raises KeyRequired, KeyRefused or ScopeMissing."""
    key = EVERYBODY
    found = parts()
    if found.settings.auth:
        secret = _given_key()
        kept = find_kept_key(found.database.cache, secret)
        key = kept or found.database.read(lambda tx: _usable(find_key(tx, secret), tx.now))
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
    environ = request.environ
    secret = environ.get("HTTP_X_API_KEY")
    if not secret:
        kind, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        secret = token if kind.lower() == "bearer" else None
    secret = (secret or "").strip()
    if not secret:
        raise KeyRequired
    if len(secret) > _MAX_KEY_CHARACTERS:
        raise KeyRefused
    return secret
