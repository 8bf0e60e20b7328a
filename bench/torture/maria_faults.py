"""What happens to a MariaDB: it is killed, it sleeps, it has no connection left, it is slow, its rows are held."""

import random
import signal
import threading
import time
from contextlib import closing, suppress

import pymysql
from pymysql.constants import ER

from bench.torture.chaos import Cards
from bench.torture.maria import TorturedMariaDB
from bench.torture.servers import signal_all

_HELD = (
    "SELECT id FROM tasks WHERE status IN (3, 4) ORDER BY id DESC LIMIT 300 FOR UPDATE",
    "SELECT id FROM task_types FOR UPDATE",
    "SELECT type_id FROM task_type_limits FOR UPDATE",
    "SELECT id FROM concurrency_keys LIMIT 5 FOR UPDATE",
    "SELECT id FROM schedules FOR UPDATE",
    "SELECT name FROM duties FOR UPDATE",
)
_HEAVY = "SET STATEMENT max_statement_time=2 FOR SELECT COUNT(*) FROM tasks a JOIN tasks b ON a.params < b.params"


class MariaFaults:
    """Faults of the database server."""

    def __init__(self, database: TorturedMariaDB, rng: random.Random) -> None:
        self._database = database
        self._rng = rng
        self._lock = threading.Lock()

    def cards(self) -> Cards:
        return {
            "kill -9 of MariaDB": (1, self._kill),
            "SIGSTOP of MariaDB": (1, self._stop),
            "no connection left": (1, self._exhaust_connections),
            "rows held by a slow transaction": (2, self._hold_rows),
            "a heavy query": (1, self._run_heavy_query),
        }

    def _kill(self) -> None:
        with self._lock:
            self._database.server.kill()
            time.sleep(self._rng.uniform(0.1, 2))
            self._database.server.start()

    def _stop(self) -> None:
        with self._lock:
            assert self._database.server.process is not None
            pids = [self._database.server.process.pid]
            signal_all(pids, signal.SIGSTOP)
            time.sleep(self._rng.uniform(0.5, 4))
            signal_all(pids, signal.SIGCONT)

    def _exhaust_connections(self) -> None:
        """Take every connection that there is; whoever loses one gets no other."""
        taken: list[pymysql.connections.Connection] = []
        give_up_at = time.monotonic() + self._rng.uniform(2, 5)
        while time.monotonic() < give_up_at:
            try:
                taken.append(self._database.server.connect())
            except pymysql.MySQLError:
                time.sleep(0.05)
        for connection in taken:
            with suppress(pymysql.MySQLError):
                connection.close()

    def _hold_rows(self) -> None:
        with closing(self._database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cursor.execute("SET innodb_lock_wait_timeout=2")
            cursor.execute("START TRANSACTION")
            cursor.execute(self._rng.choice(_HELD))
            time.sleep(self._rng.uniform(0.5, 4))
            cursor.execute("ROLLBACK")

    def _run_heavy_query(self) -> None:
        with closing(self._database.connect()) as connection, connection.cursor() as cursor:
            try:
                cursor.execute(_HEAVY)
            except pymysql.MySQLError as error:
                if error.args[0] != ER.STATEMENT_TIMEOUT:
                    raise
