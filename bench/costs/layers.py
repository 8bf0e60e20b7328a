"""Layers: in which part of the program a request spends the processor's time, and what it asks of the database."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import pymysql
from flask import Flask
from sqlalchemy import Connection, Engine, event

from app.rest import contract
from app.rest.routes import View
from app.storage.database import Database, Transaction

#: From the outside to the inside, as they call each other.
LAYERS = ("Flask", "ours", "marshmallow", "SQLAlchemy", "driver")


class Layers:
    """Counts the time between the borders of the layers, each time for the one that it is in."""

    def __init__(self) -> None:
        self.nanoseconds: Counter[str] = Counter()
        self.statements = 0
        self.round_trips = 0
        self._inside = [LAYERS[0]]
        self._since = time.process_time_ns()

    def begin(self) -> None:
        """Forget what was before."""
        self.nanoseconds.clear()
        self.statements = self.round_trips = 0
        self._since = time.process_time_ns()

    def _cross(self) -> None:
        now = time.process_time_ns()
        self.nanoseconds[self._inside[-1]] += now - self._since
        self._since = now

    def end(self) -> None:
        """Count what is left."""
        self._cross()

    def enter(self, layer: str) -> None:
        """Go into the layer."""
        self._cross()
        self._inside.append(layer)

    def leave(self) -> None:
        """Go back to the layer before."""
        self._cross()
        self._inside.pop()

    def within(self, layer: str, function: Callable[..., Any]) -> Any:
        """Return the function, whose time counts for the layer."""

        @wraps(function)
        def timed(*positional: Any, **named: Any) -> Any:
            self.enter(layer)
            try:
                return function(*positional, **named)
            finally:
                self.leave()

        return timed

    def give_to_driver(self, *_: Any) -> None:
        """Count a statement that is given to the driver, and go there."""
        self.statements += 1
        self.enter("driver")

    def come_back(self, *_: Any) -> None:
        """Come back from the driver, with an answer or an error."""
        self.leave()

    def count_round_trip(self) -> None:
        """Count a command that the driver sends, and waits for its answer."""
        self.round_trips += 1


@contextmanager
def watched(app: Flask, database: Database) -> Iterator[Layers]:
    """Count what the application does until the block ends."""
    layers = Layers()
    borders = [
        (View, "__call__", "ours"),
        (contract, "_load", "marshmallow"),
        (Engine, "connect", "SQLAlchemy"),
        (Connection, "close", "SQLAlchemy"),
        *((Transaction, name, "SQLAlchemy") for name in ("execute", "one", "all", "changes", "lock", "insert")),
        (Transaction, "changes_without_waiting", "SQLAlchemy"),
        (Connection, "exec_driver_sql", "SQLAlchemy"),
    ]
    heard = (
        ("before_cursor_execute", layers.give_to_driver),
        ("after_cursor_execute", layers.come_back),
        ("handle_error", layers.come_back),
    )
    command = pymysql.connections.Connection._execute_command

    def counted(*positional: Any) -> Any:
        layers.count_round_trip()
        return command(*positional)

    with ExitStack() as stack:
        for owner, name, layer in borders:
            stack.enter_context(patch.object(owner, name, layers.within(layer, getattr(owner, name))))
        for name, hear in heard:
            event.listen(database.engine, name, hear)
            stack.callback(event.remove, database.engine, name, hear)
        stack.enter_context(patch.object(pymysql.connections.Connection, "_execute_command", counted))
        for hooks in (app.before_request_funcs, app.after_request_funcs):
            ours = [layers.within("ours", hook) for hook in hooks.get(None, [])]
            stack.enter_context(patch.dict(hooks, {None: ours}))
        yield layers
