"""Chaos: a shuffled deck of faults, drawn one after the other at a steady pace; none is left out."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress

import pymysql

from bench.torture.api import Api, Lost
from bench.torture.plan import LOWERED, TYPES
from bench.torture.proxy import DATABASE_FAULTS, HTTP_FAULTS
from bench.torture.servers import Program, signal_all
from bench.torture.stage import Stage

# What each request meets, by chance; some of the time it is worse.
_HTTP_WEATHER = {"drop": 0.004, "cut": 0.004, "truncate": 0.002, "delay": 0.006, "reset": 0.004}
_DATABASE_WEATHER = {"delay": 0.001, "reset in transaction": 0.0004, "cut at COMMIT": 0.002}
_STORM = 8


class Chaos:
    """Injects faults into a stage, and counts them."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self._stage = stage
        self._rng = rng
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._threads: list[threading.Thread] = []
        self._database_lock = threading.Lock()
        self._deck: list[str] = []
        self._cards: dict[str, tuple[int, Callable[[], None]]] = {
            "kill -9 of a web process": (6, self._kill_web_process),
            "kill -9 of a whole server": (2, self._kill_server),
            "kill -9 of a worker": (6, lambda: self._kill(stage.workers)),
            "kill -9 of a producer": (3, lambda: self._kill(stage.producers)),
            "kill -9 of MariaDB": (1, self._kill_database),
            "SIGSTOP of a web process": (2, self._stop_web_process),
            "SIGSTOP of MariaDB": (1, self._stop_database),
            "no connection left": (1, self._exhaust_connections),
            "rows held by a slow transaction": (2, self._hold_rows),
            "a heavy query": (1, self._run_heavy_query),
            "a storm in the proxies": (2, self._storm),
            "a task type paused": (1, self._pause_type),
            "a limit changed": (2, self._change_limit),
        }
        self.planned = [*self._cards, *(f"HTTP: {fault}" for fault in HTTP_FAULTS)]
        self.planned += [f"database: {fault}" for fault in DATABASE_FAULTS]

    def begin(self) -> None:
        self._set_weather(1)

    def draw(self) -> None:
        """Inject the next fault of the deck."""
        if not self._deck:
            self._deck = [name for name, (number, _) in self._cards.items() for _ in range(number)]
            self._rng.shuffle(self._deck)
        name = self._deck.pop()
        thread = threading.Thread(target=self._do, args=(name,), name=name)
        self._threads = [*(other for other in self._threads if other.is_alive()), thread]
        thread.start()

    def _do(self, name: str) -> None:
        try:
            self._cards[name][1]()
            self.counts[name] += 1
        except (pymysql.MySQLError, Lost):
            # Another fault came in between.
            pass
        except Exception as error:
            self.errors.append(f"{name}: {error!r}")

    def end(self) -> None:
        """Wait for what goes on, and let the weather be fine."""
        for thread in self._threads:
            thread.join(60)
        self._stage.http_proxy.set_weather({})
        self._stage.database_proxy.set_weather({})
        for fault, number in self._stage.http_proxy.counts().items():
            self.counts[f"HTTP: {fault}"] = number
        for fault, number in self._stage.database_proxy.counts().items():
            self.counts[f"database: {fault}"] = number

    @property
    def kills(self) -> int:
        return sum(number for name, number in self.counts.items() if name.startswith("kill -9"))

    # Kills

    def _kill(self, programs: list[Program]) -> None:
        self._rng.choice(programs).kill()

    def _kill_server(self) -> None:
        self._rng.choice(self._stage.servers).kill()

    def _kill_web_process(self) -> None:
        signal_all(self._some_web_process(), signal.SIGKILL)

    def _some_web_process(self) -> list[int]:
        pids = [pid for server in self._stage.servers for pid in server.web_processes()]
        return [self._rng.choice(pids)] if pids else []

    def _kill_database(self) -> None:
        with self._database_lock:
            self._stage.database.kill()
            time.sleep(self._rng.uniform(0.1, 2))
            self._stage.database.start()

    # Sleeps

    def _stop_web_process(self) -> None:
        pids = self._some_web_process()
        signal_all(pids, signal.SIGSTOP)
        time.sleep(self._rng.uniform(1, 8))
        signal_all(pids, signal.SIGCONT)

    def _stop_database(self) -> None:
        with self._database_lock:
            assert self._stage.database.process is not None
            pids = [self._stage.database.process.pid]
            signal_all(pids, signal.SIGSTOP)
            time.sleep(self._rng.uniform(0.5, 4))
            signal_all(pids, signal.SIGCONT)

    # A database in trouble

    def _exhaust_connections(self) -> None:
        taken = []
        give_up_at = time.monotonic() + self._rng.uniform(2, 5)
        try:
            while time.monotonic() < give_up_at:
                try:
                    taken.append(self._stage.database.connect())
                except pymysql.MySQLError:
                    # None is left: whoever loses one gets no other.
                    time.sleep(0.05)
        finally:
            for connection in taken:
                with suppress(pymysql.MySQLError):
                    connection.close()

    def _hold_rows(self) -> None:
        what = self._rng.choice(
            (
                "SELECT id FROM tasks WHERE status IN (3, 4) ORDER BY id DESC LIMIT 300 FOR UPDATE",
                "SELECT id FROM task_types FOR UPDATE",
                "SELECT type_id FROM task_type_limits FOR UPDATE",
                "SELECT id FROM concurrency_keys LIMIT 5 FOR UPDATE",
                "SELECT id FROM schedules FOR UPDATE",
                "SELECT name FROM duties FOR UPDATE",
            )
        )
        with closing(self._stage.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cursor.execute("SET innodb_lock_wait_timeout=2")
            cursor.execute("START TRANSACTION")
            cursor.execute(what)
            time.sleep(self._rng.uniform(0.5, 4))
            cursor.execute("ROLLBACK")

    def _run_heavy_query(self) -> None:
        with closing(self._stage.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SET STATEMENT max_statement_time=2 FOR SELECT COUNT(*) FROM tasks a JOIN tasks b ON a.params < b.params"
            )

    def _set_weather(self, factor: float) -> None:
        self._stage.http_proxy.set_weather({fault: factor * chance for fault, chance in _HTTP_WEATHER.items()})
        self._stage.database_proxy.set_weather({fault: factor * chance for fault, chance in _DATABASE_WEATHER.items()})

    def _storm(self) -> None:
        self._set_weather(_STORM)
        time.sleep(self._rng.uniform(2, 5))
        self._set_weather(1)

    # An admin who changes things

    def _pause_type(self) -> None:
        name = self._rng.choice(list(TYPES))
        self._patch(name, {"is_paused": True})
        time.sleep(self._rng.uniform(1, 5))
        self._patch(name, {"is_paused": False})

    def _change_limit(self) -> None:
        name = self._rng.choice(list(LOWERED))
        if not self._patch(name, LOWERED[name]):
            return
        time.sleep(self._rng.uniform(3, 10))
        self._patch(name, {policy: TYPES[name][policy] for policy in LOWERED[name]})

    def _patch(self, type_name: str, changes: dict[str, object]) -> bool:
        """Change a task type, whatever it takes; False if that is refused."""
        api = Api(self._stage.proxied_ports, self._stage.keys["admin"], self._stage.journal)
        path = f"/task-types/{type_name}"
        answer = api.insist("PATCH", path, changes, go_on=lambda: True)
        api.close()
        assert answer is not None
        if answer.status != 200 and answer.code != "limit_below_running":
            api.note_odd("PATCH", path, answer)
        return answer.status == 200
