"""The faults that any queue meets: its processes die or sleep, its network cuts, its admin changes things."""

import random
import signal
import time

from bench.torture.api import Api
from bench.torture.chaos import Cards
from bench.torture.plan import LOWERED, TYPES
from bench.torture.servers import Program, Proxy, signal_all
from bench.torture.stage import Stage

# What a request meets, by chance; in a storm much more often.
_HTTP_WEATHER = {"drop": 0.004, "cut": 0.004, "truncate": 0.004, "delay": 0.006, "reset": 0.004}
_DATABASE_WEATHER = {
    "delay": 0.001,
    "reset in transaction": 0.001,
    "cut at COMMIT": 0.002,
    "kill -9 at COMMIT": 0.001,
    "slow clock": 0.15,
}
_STORM = 8


class CommonFaults:
    """Faults of servers, clients and the network."""

    def __init__(self, stage: Stage, database_proxy: Proxy | None, rng: random.Random) -> None:
        self._stage = stage
        self._database_proxy = database_proxy
        self._rng = rng

    def cards(self, share: float = 1) -> Cards:
        """Return the cards; a `share` of the usual number of each is for a stage with fewer processes."""
        stage = self._stage
        usual: Cards = {
            "kill -9 of a web process": (6, self._kill_web_process),
            "kill -9 of a whole server": (2, lambda: self._kill(stage.servers)),
            "kill -9 of a worker": (6, lambda: self._kill(stage.workers)),
            "kill -9 of a producer": (3, lambda: self._kill(stage.producers)),
            "SIGSTOP of a web process": (2, self._stop_web_process),
            "a storm in the proxies": (2, self._storm),
            "a task type paused": (1, self._pause_type),
            "a limit changed": (2, self._change_limit),
        }
        return {name: (max(1, round(share * number)), fault) for name, (number, fault) in usual.items()}

    def set_weather(self, factor: float) -> None:
        """Let connections fail so many times as often as usual."""
        self._stage.proxy.set_weather({fault: factor * chance for fault, chance in _HTTP_WEATHER.items()})
        if self._database_proxy is not None:
            chances = {fault: factor * chance for fault, chance in _DATABASE_WEATHER.items()}
            self._database_proxy.set_weather(chances)

    def _kill(self, programs: list[Program]) -> None:
        self._rng.choice(programs).kill()

    def _kill_web_process(self) -> None:
        signal_all(self._some_web_process(), signal.SIGKILL)

    def _stop_web_process(self) -> None:
        pids = self._some_web_process()
        signal_all(pids, signal.SIGSTOP)
        time.sleep(self._rng.uniform(1, 8))
        signal_all(pids, signal.SIGCONT)

    def _some_web_process(self) -> list[int]:
        pids = [pid for server in self._stage.servers for pid in server.web_processes()]
        return [self._rng.choice(pids)] if pids else []

    def _storm(self) -> None:
        self.set_weather(_STORM)
        time.sleep(self._rng.uniform(2, 5))
        self.set_weather(1)

    def _pause_type(self) -> None:
        name = self._rng.choice(list(TYPES))
        self._patch(name, {"is_paused": True})
        time.sleep(self._rng.uniform(1, 5))
        self._patch(name, {"is_paused": False})

    def _change_limit(self) -> None:
        name = self._rng.choice(list(LOWERED))
        # Refused while more than that is claimed.
        if self._patch(name, LOWERED[name]):
            time.sleep(self._rng.uniform(3, 10))
            self._patch(name, {policy: TYPES[name][policy] for policy in LOWERED[name]})

    def _patch(self, type_name: str, changes: dict[str, object]) -> bool:
        """Change a task type, whatever it takes; False if that is refused."""
        api = Api(self._stage.proxied_ports, self._stage.keys["admin"], self._stage.journal)
        path = f"/task-types/{type_name}"
        answer = api.must("PATCH", path, changes)
        api.close()
        if answer.status != 200 and answer.code != "limit_below_running":
            api.note_odd("PATCH", path, answer)
        return answer.status == 200
