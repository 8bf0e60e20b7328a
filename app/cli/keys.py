"""`taskmanager keys`: create, list, revoke and expire API keys."""

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from app.queue.audit import Actor
from app.queue.keys import Scope, change_key, create_key, list_keys, revoke_key
from app.settings import Settings
from app.setup.failures import SetupError
from app.setup.run import run
from app.storage.database import Database, Row, Transaction

T = TypeVar("T")
_ACTOR = Actor(0, "taskmanager keys")
_LONGEST_NAME = 255
_LAST_YEAR = 9998
_LARGEST_ID = 2**63 - 1


def main(arguments: Sequence[str], program: str) -> int:
    """Run one of the key commands; return the exit code."""
    given = _parser(program).parse_args(arguments)
    action: Callable[[Settings, Any], int] = given.action
    return run(lambda settings: action(settings, given))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="Create, list, revoke and expire API keys.")
    commands = parser.add_subparsers(required=True, metavar="command")

    create = commands.add_parser("create", help="make a key and print it, this once")
    create.add_argument(
        "--name", default="made by taskmanager keys", type=_name, help="what the key is for, as shown in lists"
    )
    create.add_argument(
        "--scope",
        required=True,
        action="append",
        choices=[scope.value for scope in Scope],
        help="what it allows; may be given several times; admin allows everything",
    )
    end = create.add_mutually_exclusive_group()
    end.add_argument("--expires-in-days", type=_days, metavar="N", help="how long it works (default: for ever)")
    end.add_argument("--expires-at", type=_instant, metavar="INSTANT", help="until when, such as 2027-01-31T12:00:00Z")
    create.set_defaults(action=_create)

    listing = commands.add_parser("list", help="show all keys, without their secrets")
    listing.add_argument("--json", action="store_true", help="print one JSON array")
    listing.set_defaults(action=_list)

    revoke = commands.add_parser("revoke", help="end a key for ever")
    revoke.add_argument("id", type=_id, help="the id that `keys list` shows")
    revoke.set_defaults(action=_revoke)

    expire = commands.add_parser("expire", help="set or move the instant at which a key ends")
    expire.add_argument("id", type=_id, help="the id that `keys list` shows")
    expire.add_argument("--at", required=True, type=_instant, metavar="INSTANT", help="such as 2027-01-31T12:00:00Z")
    expire.set_defaults(action=_expire)
    return parser


def _id(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _LARGEST_ID:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise argparse.ArgumentTypeError(f"must be 1 to {_LONGEST_NAME} printable characters")
    return name


def _days(text: str) -> timedelta:
    try:
        days = float(text)
    except ValueError:
        days = 0
    if not 0 < days <= 36600:
        raise argparse.ArgumentTypeError("must be a number above 0 and at most 36600")
    return timedelta(days=days)


def _instant(text: str) -> datetime:
    try:
        # Python 3.10 does not read the Z.
        instant = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
        if instant.tzinfo and 1970 <= instant.astimezone(timezone.utc).year <= _LAST_YEAR:
            return instant.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        pass
    raise argparse.ArgumentTypeError("must be an instant with a time zone, such as 2027-01-31T12:00:00Z")


def _with_database(settings: Settings, work: Callable[[Transaction], T]) -> T:
    database = Database(settings)
    try:
        return database.write(work)
    finally:
        database.dispose()


def _create(settings: Settings, given: Any) -> int:
    def work(tx: Transaction) -> tuple[str, Row]:
        expires_at = given.expires_at or (tx.now + given.expires_in_days if given.expires_in_days else None)
        if expires_at is not None and expires_at <= tx.now:
            raise SetupError("The key would have expired already: name an instant in the future.")
        return create_key(tx, name=given.name, scopes=given.scope, expires_at=expires_at, actor=_ACTOR)

    secret, row = _with_database(settings, work)
    until = f", until {_show(row['expires_at'])}" if row["expires_at"] else ""
    print(f"Key {row['id']} ({row['scopes']}{until}), shown only this once: {secret}")
    return 0


def _list(settings: Settings, given: Any) -> int:
    def work(tx: Transaction) -> list[dict[str, Any]]:
        return [_public(row, tx.now) for row in list_keys(tx)]

    keys = _with_database(settings, work)
    if given.json:
        print(json.dumps(keys, ensure_ascii=False))
        return 0
    for key in keys:
        scopes = ",".join(key["scopes"])
        end = key["revoked_at"] or key["expires_at"] or "-"
        print(f"{key['id']:>4}  {key['prefix']}…  {key['state']:8}  {scopes:22}  {end:20}  {key['name']}")
    if not keys:
        print("There are no keys yet: run `taskmanager setup` for the first admin key.")
    return 0


def _public(row: Row, now: datetime) -> dict[str, Any]:
    is_expired = row["expires_at"] is not None and row["expires_at"] <= now
    return {
        "id": row["id"],
        "name": row["name"],
        "prefix": row["prefix"],
        "scopes": row["scopes"].split(","),
        "state": "revoked" if row["revoked_at"] else "expired" if is_expired else "usable",
        "created_at": _show(row["created_at"]),
        "expires_at": _show(row["expires_at"]),
        "revoked_at": _show(row["revoked_at"]),
    }


def _show(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _revoke(settings: Settings, given: Any) -> int:
    row = _with_database(settings, lambda tx: revoke_key(tx, given.id, _ACTOR))
    print(f"Key {row['id']} ({row['name']}) is revoked. {_delay(settings)}")
    return 0


def _expire(settings: Settings, given: Any) -> int:
    row = _with_database(settings, lambda tx: change_key(tx, given.id, {"expires_at": given.at}, _ACTOR))
    print(f"Key {row['id']} ({row['name']}) ends at {_show(row['expires_at'])}. {_delay(settings)}")
    return 0


def _delay(settings: Settings) -> str:
    return f"Running servers see it within {settings.cache_seconds:g} s (TASKMANAGER_CACHE_SECONDS)."
