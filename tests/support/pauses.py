"""Holds a piece of work after a chosen statement of it, while something else happens: a race, forced step by step."""

import threading
import time
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import cycle
from typing import Any

import pymysql
from sqlalchemy import event

from app.errors import QueueError
from app.storage.database import Database

#: So long a statement takes to be seen as waiting. A machine that is slower than that makes the race a milder one,
#: and never a failure.
PATIENCE_SECONDS = {"sqlite": 0.005, "mysql": 0.025}
_TOO_LONG_SECONDS = 30.0
_BEGINS = ("BEGIN", "START TRANSACTION")
_HOLDS_NOTHING = (*_BEGINS, "SAVEPOINT", "RELEASE SAVEPOINT")
_LOCKS = ("FOR UPDATE", "FOR UPDATE SKIP LOCKED", "LOCK IN SHARE MODE")


class Ending(Enum):
    """What becomes of work that was held."""

    GOES_ON = "goes on"
    #: Its process ends: the database undoes what was not committed, and nobody runs it again.
    DIES = "dies"
    #: Its connection is killed before the answer to the statement has come: the product runs the work again.
    IS_CUT_OFF = "is cut off"


class Died(BaseException):
    """The process is no more; no product code may catch this."""


class Act:
    """Work in a thread and on a database of its own; `hold_after=3` holds it when its third statement is done.

    `outcome` is then what the work returned, or the QueueError or the `Died` that it raised.
    """

    def __init__(self, database: Database, work: Callable[[], Any], *, hold_after: int | None = None) -> None:
        self.outcome: Any = None
        #: The statements that were done before it was held, and in the end all.
        self.done_when_held: list[str] = []
        self.statements: list[str] = []
        self._database = database
        self._work = work
        self._hold_after = hold_after
        self._error: BaseException | None = None
        self._ending = Ending.GOES_ON
        self._connection_id: int | None = None
        self._statement_began: float | None = None
        self._has_moved = threading.Event()
        self._may_go_on = threading.Event()
        self.is_held = False
        self.is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, and return when the work is held or over."""
        self._begin()
        assert self._has_moved.wait(_TOO_LONG_SECONDS)

    def start_and_see(self) -> None:
        """Begin, and return when the work is over or seems to wait for what somebody else holds."""
        patience = PATIENCE_SECONDS[self._database.dialect.name]
        self._begin()
        give_up_at = time.monotonic() + _TOO_LONG_SECONDS
        while not self._has_moved.wait(0.001):
            began = self._statement_began
            if began is not None and time.monotonic() - began > patience:
                return
            assert time.monotonic() < give_up_at

    def go_on(self, ending: Ending, looker: Database) -> None:
        """Let held work go on to this ending; `looker` has a connection from which another one can be killed."""
        self._ending = ending
        if ending is Ending.IS_CUT_OFF and self.is_held:
            with looker.engine.connect() as connection:
                connection.exec_driver_sql(f"KILL {self._connection_id}")
        self._may_go_on.set()

    def join(self) -> None:
        """Wait until the work is over; raises what it raised, unless that was an answer."""
        self._thread.join(_TOO_LONG_SECONDS)
        assert not self._thread.is_alive(), "the work is not over"
        if self._error is not None:
            raise self._error

    def _begin(self) -> None:
        event.listen(self._database.engine, "before_cursor_execute", self._before)
        event.listen(self._database.engine, "after_cursor_execute", self._after)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._work()
        except (QueueError, Died) as answer:
            self.outcome = answer
        except BaseException as error:
            self._error = error
        finally:
            event.remove(self._database.engine, "before_cursor_execute", self._before)
            event.remove(self._database.engine, "after_cursor_execute", self._after)
            self.is_over = True
            self._has_moved.set()

    def _before(self, *_arguments: Any) -> None:
        self._statement_began = time.monotonic()

    def _after(self, connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        self._statement_began = None
        self.statements.append(" ".join(statement.split()))
        if len(self.statements) == self._hold_after:
            self._hold(connection)

    def _hold(self, connection: Any) -> None:
        raw = connection.connection.dbapi_connection
        self._connection_id = raw.thread_id() if hasattr(raw, "thread_id") else None
        self.done_when_held = list(self.statements)
        self.is_held = True
        self._has_moved.set()
        assert self._may_go_on.wait(_TOO_LONG_SECONDS)
        if self._ending is Ending.DIES:
            raise Died
        if self._ending is Ending.IS_CUT_OFF:
            raise pymysql.err.OperationalError(2013, "Lost connection to server during query")


def endings_to_play(statements: list[str], kind: str) -> Iterator[tuple[int, Ending]]:
    """Yield after which of these statements to hold work, and to what ending, where that may make a difference.

    Nothing is held yet when a transaction has only begun. On SQLite nobody sees its inside, and who would write waits
    for all of it, so there one place inside stands for all; and nothing lies between it and the process to be cut.

    To undo what has not written or locked anything makes no difference either, but that the product runs its work
    again: that is tried once. Inside a transaction the database undoes all of it whether the process has died or the
    connection is gone, so there the two take turns.
    """
    is_inside = False
    turns = cycle([Ending.DIES, Ending.IS_CUT_OFF])
    for number, statement in enumerate(statements, start=1):
        begins = statement.startswith(_BEGINS)
        was_inside, is_inside = is_inside, begins or (is_inside and statement not in ("COMMIT", "ROLLBACK"))
        if (was_inside and is_inside) if kind == "sqlite" else statement.startswith(_HOLDS_NOTHING):
            continue
        yield number, Ending.GOES_ON
        only_looks = statement.startswith("SELECT") and not statement.endswith(_LOCKS)
        if kind == "sqlite":
            if not only_looks:
                yield number, Ending.DIES
        elif only_looks:
            if number == 1:
                yield number, Ending.IS_CUT_OFF
        elif is_inside:
            yield number, next(turns)
        else:
            yield number, Ending.DIES
            yield number, Ending.IS_CUT_OFF
