"""Database: runs work on a connection, and runs it again when the database asks for that."""

import hashlib
import logging
import os
import random
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from secrets import token_hex
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Insert
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import DatabaseUnavailable
from app.settings import Settings
from app.storage.cache import Cache
from app.storage.clock import Clock, DatabaseClock
from app.storage.dialects import Dialect, connect
from app.storage.prepared import Form, Prepared

T = TypeVar("T")
Work = Callable[["Transaction"], T]
Row = dict[str, Any]
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

log = logging.getLogger("taskmanager.database")

MAX_RUNS = 6
_FIRST_PAUSE_SECONDS = 0.005


class Transaction:
    """What one piece of work sees of the database: one connection, one instant, one cache.

    Each statement is committed by itself, unless it runs inside `atomic()`.
    """

    __slots__ = ("_connection", "_depth", "_present", "cache", "dialect", "nonce", "now", "run")

    def __init__(
        self,
        connection: Connection,
        *,
        now: datetime,
        present: Callable[[], datetime],
        nonce: str,
        dialect: Dialect,
        cache: Cache,
        run: int,
    ) -> None:
        self._connection = connection
        self._depth = 0
        self.now = now
        self._present = present
        # 128 random bits in hexadecimal. As `now`, they stay the same when the work is run again, so that it can
        # recognise its own effect.
        self.nonce = nonce
        self.dialect = dialect
        self.cache = cache
        # Counted from 1.
        self.run = run

    @property
    def is_rerun(self) -> bool:
        """Whether the work ran before; it may have been committed then, if only the answer was lost."""
        return self.run > 1

    @property
    def nonces(self) -> list[str]:
        """A nonce for each run up to this one: for what a rerun recognises, and makes anew where it is gone."""
        others = [hashlib.sha256(f"{self.nonce}:{run}".encode()).hexdigest()[:32] for run in range(2, self.run + 1)]
        return [self.nonce, *others]

    def execute(self, statement: Executable, parameters: Parameters | None = None) -> CursorResult[Any]:
        """Run one statement."""
        return self._connection.execute(statement, parameters)

    def one(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> Row | None:
        """Return the first row as a dict, or None."""
        if isinstance(statement, Prepared):
            return next(iter(self.all(statement, parameters)), None)
        result = self._connection.execute(statement, parameters)
        row = result.first()
        return None if row is None else dict(zip(result.keys(), row, strict=True))

    def all(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> list[Row]:
        """Return all rows as dicts."""
        if isinstance(statement, Prepared):
            return self._form(statement).rows(self._connection, parameters)
        result = self._connection.execute(statement, parameters)
        names = tuple(result.keys())
        return [dict(zip(names, row, strict=True)) for row in result]

    def changes(self, statement: Executable | Prepared, parameters: Parameters | None = None) -> int:
        """Run a guarded update and return how many rows it hit: the verdict."""
        if isinstance(statement, Prepared):
            return int(self._form(statement).run(self._connection, parameters)[0].rowcount)
        return self._connection.execute(statement, parameters).rowcount

    def changes_without_waiting(self, statement: Prepared, parameters: Parameters) -> int | None:
        """Do as `changes`, or change nothing and return None where somebody else holds one of the rows.

        It does not wait for such a row where `misses_locked_rows` says so, and elsewhere not for long.
        """
        prefix = self.dialect.without_waiting if self.misses_locked_rows else ""
        try:
            return int(self._form(statement).run(self._connection, parameters, prefix)[0].rowcount)
        except DBAPIError as error:
            if self.dialect.is_waited_out(error):
                return None
            raise

    def lock(self, statement: Executable, parameters: Parameters | None = None) -> Row | None:
        """Return the first row of a locking read, or None where somebody else holds it for too long."""
        try:
            return self.one(statement, parameters)
        except DBAPIError as error:
            if self.dialect.is_waited_out(error):
                return None
            raise

    def _form(self, prepared: Prepared) -> Form:
        form = self.dialect.forms.get(prepared)
        if form is None:
            form = self.dialect.forms[prepared] = Form(prepared, self._connection.dialect)
        return form

    def insert(self, statement: Insert | Prepared, values: Row) -> int:
        """Insert one row and return its id."""
        if isinstance(statement, Prepared):
            return int(self._form(statement).run(self._connection, values)[0].lastrowid)
        key = self._connection.execute(statement, values).inserted_primary_key
        assert key is not None
        return int(key[0])

    def may_succeed_later(self, error: Exception) -> bool:
        """Tell whether the database was in trouble, and the work is not to blame."""
        if isinstance(error, PendingRollbackError):
            # The connection was lost when a transaction was given up, and the work went on without it.
            return True
        return isinstance(error, DBAPIError) and (self.dialect.is_transient(error) or _is_of_surroundings(error))

    def catch_up(self, instant: datetime) -> None:
        """Let this work's instant be the present one, and no earlier than one that others have written down.

        For work that has waited or slept since its instant was taken.
        """
        self.now = max(self.now, self._present(), instant)

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Commit the statements inside together, or none of them; inside another `atomic` it joins that."""
        self._depth += 1
        try:
            if self._depth > 1:
                yield
                return
            self._connection.exec_driver_sql(self.dialect.begin)
            try:
                yield
                self._connection.exec_driver_sql("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        finally:
            self._depth -= 1

    @contextmanager
    def undoable(self) -> Iterator[None]:
        """As `atomic`, but inside another transaction a failure undoes only the statements inside."""
        if self._depth == 0:
            with self.atomic():
                yield
            return
        # Of the same name, an inner savepoint would take the place of an outer one.
        name = f"undoable_{self._depth}"
        self._connection.exec_driver_sql(f"SAVEPOINT {name}")
        self._depth += 1
        try:
            yield
        except BaseException:
            # After a deadlock, or without a connection, there is nothing left to go back to.
            if not self._connection.invalidated:
                with suppress(DBAPIError):
                    self._connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {name}")
            raise
        finally:
            self._depth -= 1
        self._connection.exec_driver_sql(f"RELEASE SAVEPOINT {name}")

    def _roll_back(self) -> None:
        try:
            if not self._connection.invalidated:
                self._connection.exec_driver_sql("ROLLBACK")
        except DBAPIError:
            # In an unknown state the connection must not be used by the next request.
            self._connection.invalidate()

    @property
    def skips_locked_rows(self) -> bool:
        """Whether a locking read can skip rows that others hold."""
        return self.dialect.skips_locked_rows(self._connection)

    @property
    def misses_locked_rows(self) -> bool:
        """Whether a guarded update can miss a locked row instead of waiting for it."""
        return self.dialect.misses_locked_rows(self._connection)


class Database:
    """The database as the rest of the program uses it; connects when it is first used."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.engine, self.dialect = connect(settings)
        self.cache = Cache(settings.cache_seconds)
        self.clock: Clock = clock or DatabaseClock()
        self._pool_size = settings.database_pool_size
        self._timeout_seconds = settings.database_timeout_seconds
        _forget_connections_after_fork(self)

    def read(self, work: Work[T]) -> T:
        """Run `work`, each statement by itself, and return its value.

        Work that failed for a passing reason (deadlock, lock timeout, lost connection) is run again, so it does
        nothing but SQL. Raises DatabaseUnavailable when the database stays out of reach.
        """
        return self._run(work)

    def write(self, work: Work[T], *, atomic: bool = True) -> T:
        """Run `work` in one transaction and return its value once committed; otherwise as `read`.

        With `atomic=False` each statement is committed by itself: for work that is one guarded statement, which
        saves two round trips. A rerun may find its own effect; see `Transaction.is_rerun`.
        """
        if not atomic:
            return self._run(work)

        def atomically(tx: Transaction) -> T:
            with tx.atomic():
                return work(tx)

        return self._run(atomically)

    def _run(self, work: Work[T]) -> T:
        give_up_at = time.monotonic() + 2 * self._timeout_seconds
        now: datetime | None = None
        nonce = token_hex(16)
        for run in range(1, MAX_RUNS + 1):
            is_connected = False
            try:
                with self.engine.connect() as connection:
                    is_connected = True
                    present = partial(self.clock.now, partial(self.dialect.now, connection))
                    now = now or present()
                    tx = Transaction(
                        connection,
                        now=now,
                        present=present,
                        nonce=nonce,
                        dialect=self.dialect,
                        cache=self.cache,
                        run=run,
                    )
                    return work(tx)
            except PoolTimeout as error:
                log.warning("no database connection was free within %s s", self._timeout_seconds)
                raise DatabaseUnavailable(retry_after_seconds=2) from error
            except IntegrityError:
                raise
            except (DBAPIError, PendingRollbackError) as error:
                if isinstance(error, DBAPIError) and not self.dialect.is_transient(error):
                    if _has_no_tables(error):
                        log.error("the database has no tables of TaskManager: run `python setup_database.py`")
                        detail = "The database has not been set up: the operator runs `python setup_database.py`."
                        raise DatabaseUnavailable(detail, retry_after_seconds=10) from error
                    if not is_connected or _is_out_of_reach(error):
                        log.error("the database refuses to work: %s", error.orig)
                        raise DatabaseUnavailable(retry_after_seconds=10) from error
                    raise
                log.warning(
                    "run %d of %d failed for a passing reason: %s", run, MAX_RUNS, getattr(error, "orig", error)
                )
                if run == MAX_RUNS or time.monotonic() > give_up_at:
                    raise DatabaseUnavailable(retry_after_seconds=5) from error
            # Jitter, so that those who met in a deadlock do not meet again.
            time.sleep(_FIRST_PAUSE_SECONDS * 2**run * random.random())
        raise AssertionError("unreachable")

    def describe(self) -> Row:
        """Return what the database is, as it said at the first connection, and how many of these there may be."""
        dialect = self.engine.dialect
        version = getattr(dialect, "server_version_info", None) or ()
        return {
            "kind": "mariadb" if getattr(dialect, "is_mariadb", False) else self.dialect.name,
            "version": ".".join(str(part) for part in version),
            "pool_size": self._pool_size,
        }

    def dispose(self) -> None:
        """Close the connections that are not in use."""
        self.engine.dispose()


def _has_no_tables(error: DBAPIError) -> bool:
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return code == 1146 or "no such table" in str(error.orig)


def _is_of_surroundings(error: DBAPIError) -> bool:
    """Tell errors of the surroundings (access, disk, missing file or schema) from errors of a statement."""
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    if isinstance(code, int):
        return code in (1044, 1045, 1049, 1021, 1290, 1836)
    text = str(error.orig)
    return any(part in text for part in ("unable to open", "disk is full", "disk I/O", "readonly"))


def _is_out_of_reach(error: DBAPIError) -> bool:
    """Tell what the operator must see to: the surroundings, a statement that took too long, a file that is broken."""
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return _is_of_surroundings(error) or code == 3024 or "malformed" in str(error.orig)


def _forget_connections_after_fork(database: Database) -> None:
    """Let no child of a fork write into its parent's connection."""
    reference = weakref.ref(database)

    def forget() -> None:
        if (alive := reference()) is not None:
            alive.engine.dispose(close=False)

    os.register_at_fork(after_in_child=forget)
