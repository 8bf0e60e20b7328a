"""API keys: created, found, listed, given an expiry, revoked."""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import bindparam, insert, or_, select, update

from app.errors import InstantPassed, KeyNotFound, LastAdminKey
from app.queue.audit import PROGRAM, Actor, describe_changes, write_audit
from app.storage.cache import Cache
from app.storage.columns import Instant
from app.storage.database import Row, Transaction
from app.storage.models import api_keys

PREFIX = "tm_"
_SHOWN_CHARACTERS = 10


class Scope(str, Enum):
    """What a key may do; `admin` may do everything."""

    ADMIN = "admin"
    PRODUCER = "producer"
    WORKER = "worker"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as requests are judged by it."""

    id: int
    name: str
    scopes: frozenset[Scope]
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_usable(self, now: datetime) -> bool:
        """Tell whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)

    def may(self, scope: Scope) -> bool:
        """Tell whether the key allows what needs `scope`; every key may read."""
        return scope is Scope.READ or Scope.ADMIN in self.scopes or scope in self.scopes


EVERYBODY = Key(0, "everybody", frozenset(Scope), None, None)

_FIND = select(api_keys).where(api_keys.c.key_hash == bindparam("key_hash"))
_BY_ID = select(api_keys).where(api_keys.c.id == bindparam("key_id"))
_usable = (
    api_keys.c.revoked_at.is_(None),
    or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > bindparam("now", type_=Instant)),
)
_ADMINS = select(api_keys.c.id).where(*_usable, api_keys.c.scopes.like("%admin%")).order_by(api_keys.c.id)


def hash_key(secret: str) -> str:
    """Return what is stored of a key. It has 128 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find_key(tx: Transaction, secret: str) -> Key | None:
    """Return the key, from the cache if it was read a moment ago, or None; it may be expired or revoked."""
    hashed = hash_key(secret)
    return tx.cache.get(("key", hashed), lambda: _load(tx.one(_FIND, {"key_hash": hashed})))


def find_kept_key(cache: Cache, secret: str) -> Key | None:
    """Return the key if it was read a moment ago and has no expiry to compare with the database's clock.

    That is so for most keys in most requests, and saves these a connection.
    """
    key: Key | None = cache.peek(("key", hash_key(secret)))
    return key if key is not None and key.expires_at is None and key.revoked_at is None else None


def _load(row: Row | None) -> Key | None:
    if row is None:
        return None
    scopes = frozenset(Scope(scope) for scope in row["scopes"].split(","))
    return Key(row["id"], row["name"], scopes, row["expires_at"], row["revoked_at"])


def create_key(
    tx: Transaction,
    *,
    name: str,
    scopes: list[str],
    expires_at: datetime | None = None,
    actor: Actor = PROGRAM,
) -> tuple[str, Row]:
    """Create a key and return it, this once, with its row; raises InstantPassed if it would be expired already."""
    if expires_at is not None and expires_at <= tx.now:
        problem = "Must be later than now."
        raise InstantPassed(sentence=f"expires_at: {problem}", details=[{"field": "expires_at", "problem": problem}])
    # From the random bits of this work, so that a rerun after a lost answer makes the same key and not a second one.
    digest = hashlib.sha256(f"{tx.nonce}:{name}".encode()).digest()
    secret = PREFIX + urlsafe_b64encode(digest).decode().rstrip("=")
    if tx.is_rerun and (own := tx.one(_FIND, {"key_hash": hash_key(secret)})) is not None:
        return secret, own
    ordered = [scope.value for scope in Scope if scope.value in scopes]
    values: dict[str, Any] = {
        "name": name,
        "prefix": secret[:_SHOWN_CHARACTERS],
        "key_hash": hash_key(secret),
        "scopes": ",".join(ordered),
        "expires_at": expires_at,
        "revoked_at": None,
        "created_at": tx.now,
    }
    key_id = tx.insert(insert(api_keys), values)
    write_audit(
        tx, actor, "create_api_key", f"keys/{key_id}", {"name": name, "scopes": ordered, "expires_at": expires_at}
    )
    return secret, {"id": key_id, **values}


def list_keys(tx: Transaction) -> list[Row]:
    """Return all keys, oldest first, revoked ones too."""
    return tx.all(select(api_keys).order_by(api_keys.c.id))


def has_admin_key(tx: Transaction) -> bool:
    """Tell whether anybody could administer the server now."""
    return tx.one(_ADMINS, {"now": tx.now}) is not None


def change_key(tx: Transaction, key_id: int, changes: dict[str, Any], actor: Actor = PROGRAM) -> Row:
    """Rename a key or change its expiry, and return it; raises KeyNotFound, or LastAdminKey."""
    row = _read(tx, key_id)
    if changes.get("expires_at") is not None:
        _keep_an_admin(tx, row)
    if details := describe_changes(row, changes):
        tx.execute(update(api_keys).where(api_keys.c.id == key_id).values(**changes))
        write_audit(tx, actor, "change_api_key", f"keys/{key_id}", details)
    return {**row, **changes}


def revoke_key(tx: Transaction, key_id: int, actor: Actor = PROGRAM) -> Row:
    """Revoke a key for ever and return it; raises KeyNotFound, or LastAdminKey. Twice is as good as once."""
    row = _read(tx, key_id)
    if row["revoked_at"] is not None:
        return row
    _keep_an_admin(tx, row)
    tx.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=tx.now))
    write_audit(tx, actor, "revoke_api_key", f"keys/{key_id}", {"name": row["name"]})
    return {**row, "revoked_at": tx.now}


def _read(tx: Transaction, key_id: int) -> Row:
    row = tx.one(_BY_ID.with_for_update(), {"key_id": key_id})
    if row is None:
        raise KeyNotFound
    return row


def _keep_an_admin(tx: Transaction, row: Row) -> None:
    if "admin" not in row["scopes"].split(","):
        return
    # Two admins who revoke each other at once both lock both rows: one is run again, and finds itself the last.
    admins = tx.all(_ADMINS.with_for_update(), {"now": tx.now})
    if not any(admin["id"] != row["id"] for admin in admins):
        raise LastAdminKey
