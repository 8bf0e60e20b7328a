"""The database, set up, and the keys with which the demo calls the API."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.errors import QueueError
from app.queue.keys import Scope, create_key, find_key
from app.settings import ROOT
from app.setup.failures import explain
from app.setup.run import load_settings
from app.storage.database import Database, Transaction
from examples.demo.failure import Failure
from examples.demo.stop import heed

KEYS_FILE = "demo.json"
_SCOPES = {"admin": Scope.ADMIN, "worker": Scope.WORKER}


@dataclass(frozen=True, slots=True)
class Installation:
    """A database that is ready; `admin_key` is None unless it has just got its first one."""

    database_url: str
    admin_key: str | None


def set_up() -> Installation:
    """Run setup_database.py; raises Failure with what it says."""
    done = subprocess.run(
        [sys.executable, "setup_database.py", "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    heed()
    if done.returncode != 0:
        raise Failure(done.stderr.strip() or "setup_database.py fails without a word; run it by itself.")
    outcome = json.loads(done.stdout)
    return Installation(outcome["database_url"], outcome["admin_key"])


def keep_keys(installation: Installation, folder: Path) -> dict[str, str]:
    """Return an `admin` and a `worker` key, those of the last time if they still work.

    They are kept in a file that only its owner may read, one pair for each database.
    """
    file = folder / KEYS_FILE
    kept = _read(file)
    known = kept.get(installation.database_url, {})
    if installation.admin_key is not None:
        known = {"admin": installation.admin_key}
    database = Database(load_settings())
    try:
        keys = {name: database.write(partial(_usable_or_new, name=name, known=known)) for name in _SCOPES}
    except QueueError as error:
        raise Failure(explain(error)) from error
    finally:
        database.dispose()
    if keys != kept.get(installation.database_url):
        _write(file, {**kept, installation.database_url: keys})
    return keys


def _usable_or_new(tx: Transaction, name: str, known: dict[str, str]) -> str:
    if name in known:
        key = find_key(tx, known[name])
        if key is not None and key.is_usable(tx.now) and key.may(_SCOPES[name]):
            return known[name]
    return create_key(tx, name=f"demo {name}", scopes=[_SCOPES[name].value])[0]


def _read(file: Path) -> dict[str, dict[str, str]]:
    """Return the pairs by database; none if the file does not exist or is broken."""
    with suppress(FileNotFoundError, ValueError):
        kept = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(kept, dict) and all(isinstance(keys, dict) for keys in kept.values()):
            return kept
    return {}


def _write(file: Path, kept: dict[str, dict[str, str]]) -> None:
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    # Created with its mode, so that at no moment can anybody else read it.
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        json.dump(kept, output, indent=2)
    new.replace(file)
