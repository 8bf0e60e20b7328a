"""Turns what can go wrong on the way to a database into one sentence each: what happened, and what to do next."""

from sqlalchemy.exc import DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import QueueError

_URL = "TASKMANAGER_DATABASE_URL"
USE_SQL = (
    "run `python setup_database.py --sql`, paste its output into phpMyAdmin (or have it run by somebody who may), "
    "and then run `python setup_database.py` again"
)
SET_UP = "run `python setup_database.py`"
NO_DDL_CODES = frozenset({1044, 1142, 1227, 1370})
UNKNOWN_DATABASE = 1049

_REFUSED = (
    f"The database refuses the user or the password: correct them in {_URL} "
    "(special characters in a password are written as %40 for @, %2F for / and so on)."
)
_UNREACHABLE = f"The database server cannot be reached: check that it runs, and host and port in {_URL}."
_TOO_MANY = "The database allows no more connections at the moment: try again soon, or stop what holds them."
_READ_ONLY = f"The database server is read-only: name the primary server in {_URL}, or make this one writable."
_FULL = "The database server has no space left: free some, then try again."
_LOST = "The connection to the database was lost: try again; what was finished is kept."
_NOT_SET_UP = f"The database has no tables yet: {SET_UP}."
_SENTENCES = {
    1045: _REFUSED,
    1698: _REFUSED,
    1044: f"The database user may not use this database: correct the name in {_URL}, or allow the user to use it.",
    UNKNOWN_DATABASE: f"The database does not exist: {SET_UP}, or create it in your host's control panel.",
    1130: "The database server does not admit this host: allow it there, or use a user that may connect from here.",
    2002: _UNREACHABLE,
    2003: _UNREACHABLE,
    2005: _UNREACHABLE,
    2006: _LOST,
    2013: _LOST,
    1040: _TOO_MANY,
    1203: _TOO_MANY,
    1226: _TOO_MANY,
    1205: "Somebody else holds a lock in the database for long: stop what is running there, then try again.",
    1290: _READ_ONLY,
    1836: _READ_ONLY,
    1021: _FULL,
    1114: _FULL,
    1142: f"The database user lacks a right that is needed: {USE_SQL}.",
    1146: _NOT_SET_UP,
    3159: f"The database server admits encrypted connections only: add ?ssl_ca=/path/to/ca.pem to {_URL}.",
}
_SQLITE_SENTENCES = {
    "unable to open": "The SQLite file cannot be opened: check that its folder exists and that this user may write it.",
    "readonly": "The SQLite file is read-only: give this user the right to write the file and its folder.",
    "locked": "Somebody else holds the lock on the SQLite file: stop what is running there, then try again.",
    "not a database": f"The file is not a SQLite database: name another file in {_URL}.",
    "malformed": "The SQLite file is damaged: put a backup in its place.",
    "full": "The disk is full: free some space, then try again.",
    "disk I/O": "The disk with the SQLite file fails: check it, and do not keep the file on a network folder.",
    "no such table": _NOT_SET_UP,
}


class SetupError(Exception):
    """What was asked for could not be done; the message says why and what to do next."""


def database_code(error: BaseException | None) -> int | None:
    """Return the server's error number, if there is one."""
    original = getattr(error, "orig", None)
    arguments = getattr(original, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def explain(error: Exception) -> str:
    """Return one sentence for people: what happened and what to do next; never a password or a statement."""
    if isinstance(error, QueueError):
        if isinstance(error.__cause__, DBAPIError | PoolTimeout):
            return explain(error.__cause__)
        return f"{error.shown_sentence}: {error.detail}"
    if isinstance(error, DBAPIError):
        code = database_code(error)
        if code is not None:
            return _SENTENCES.get(code) or f"The database says {_first_line(error.orig)} (error {code})."
        text = str(error.orig)
        found = (sentence for part, sentence in _SQLITE_SENTENCES.items() if part in text)
        return next(found, f"The database says: {_first_line(error.orig)}.")
    if isinstance(error, PoolTimeout):
        return _TOO_MANY
    if isinstance(error, NoSuchModuleError | ModuleNotFoundError):
        return f"A package is missing ({_first_line(error)}): run `pip install --editable .` in TaskManager's folder."
    if isinstance(error, RuntimeError) and "cryptography" in str(error):
        return "This database user's way to log in needs one more package: run `pip install cryptography`."
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{where}: check the path and its permissions."
    return _first_line(error)


def _first_line(error: BaseException | None) -> str:
    arguments = getattr(error, "args", ())
    text = str(arguments[-1]) if arguments else str(error)
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
