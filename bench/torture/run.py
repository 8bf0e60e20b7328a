"""One torture, from the first task to the last check."""

import random
import time
from collections import Counter

from sqlalchemy import create_engine, text

from bench.torture.api import Api
from bench.torture.chaos import Cards, Chaos
from bench.torture.faults import CommonFaults
from bench.torture.findings import Findings
from bench.torture.invariants import Checker
from bench.torture.ledger import Ledger
from bench.torture.logs import check_logs
from bench.torture.plan import DRAINING
from bench.torture.proxy import DATABASE_FAULTS, HTTP_FAULTS
from bench.torture.records import Records
from bench.torture.report import show_faults, show_invariants, show_progress
from bench.torture.sampler import Sampler
from bench.torture.servers import Proxy
from bench.torture.stage import Stage

_LINE_EVERY_SECONDS = 5
_SECONDS_TO_DRAIN = 120
_COMPARED = 300
# So many times as long, until every kind of fault has happened at least once.
_EXTENSION = 4
# Schedules go on until little else waits.
_FEW = 20


class Torture:
    """Lets clients work under faults, lets them finish in peace, and checks everything."""

    def __init__(
        self, stage: Stage, cards: Cards, database_proxy: Proxy | None, *, seed: int, share: float = 1
    ) -> None:
        rng = random.Random(seed)
        self._seed = seed
        self._stage = stage
        self._common = CommonFaults(stage, database_proxy, rng)
        self._chaos = Chaos({**self._common.cards(share), **cards}, rng)
        self._proxies = {"HTTP": (stage.proxy, HTTP_FAULTS)}
        if database_proxy is not None:
            self._proxies["database"] = (database_proxy, DATABASE_FAULTS)
        self._engine = create_engine(stage.url.replace("mysql://", "mysql+pymysql://"))
        self._findings = Findings()

    def run(self, *, seconds: float, pace: float) -> bool:
        """Return whether everything held and every kind of fault really happened."""
        self._began = time.monotonic()
        self._sampler = Sampler(str(self._engine.url), self._stage.board, self._findings)
        try:
            self._storm(seconds, pace)
            self._stage.board.phase = DRAINING
            schedules_ended_at = self._drain()
        finally:
            self._sampler.end()
        worked_for = time.monotonic() - self._began
        drained = schedules_ended_at is not None
        self._findings.check("the queue drains", drained, f"{self._sampler.waiting} tasks still wait")
        self._stage.end_clients()
        self._show("checking")
        ledger = Ledger().read(self._stage.folder / "journals")
        checker = Checker(ledger, Records(self._engine), self._findings, schedules_ended_at=schedules_ended_at or 0)
        checker.run()
        self._compare_with_api(ledger)
        check_logs(self._stage, self._findings)
        self._engine.dispose()
        return self._report(checker, worked_for)

    def _storm(self, seconds: float, pace: float) -> None:
        self._common.set_weather(1)
        pace = self._chaos.pace(seconds, pace)
        next_fault, next_line = self._began + pace, self._began
        latest_end = self._began + _EXTENSION * seconds
        while (now := time.monotonic()) < self._began + seconds or (now < latest_end and self._missing()):
            self._stage.watch()
            if now >= next_fault:
                self._chaos.draw()
                next_fault += pace
            if now >= next_line:
                self._show(f"{self._chaos.kills} kills")
                next_line += _LINE_EVERY_SECONDS
            time.sleep(0.1)
        # Faults that end by a request need a server, which another fault may have killed.
        self._chaos.end(self._stage.watch)
        self._common.set_weather(0)

    def _drain(self) -> float | None:
        """Wait until every producer was answered and nothing waits; return when the schedules ended, or None."""
        next_line = time.monotonic()
        give_up_at = next_line + _SECONDS_TO_DRAIN
        ended: tuple[float, float] | None = None
        while time.monotonic() < give_up_at:
            self._stage.watch()
            are_answered = not any(producer.is_running or producer.was_killed for producer in self._stage.producers)
            if ended is None and are_answered and self._sampler.waiting < _FEW:
                ended = self._end_schedules()
            if ended is not None and self._sampler.looked_at > ended[1] and self._sampler.waiting == 0:
                return ended[0]
            if time.monotonic() >= next_line:
                self._show("draining")
                next_line += _LINE_EVERY_SECONDS
            time.sleep(0.1)
        return None

    def _end_schedules(self) -> tuple[float, float]:
        """Let no schedule fire again; what each has fired, and what it would have fired next, stays in its row."""
        with self._engine.begin() as connection:
            connection.execute(text("UPDATE schedules SET due_at = NULL"))
        return time.time(), time.monotonic()

    def _compare_with_api(self, ledger: Ledger) -> None:
        """Ask the API for some tasks: it must tell the results that workers sent."""
        api = Api(self._stage.proxied_ports, self._stage.keys["producer"], self._stage.journal)
        for task_id in random.sample(sorted(ledger.claims), min(_COMPARED, len(ledger.claims))):
            answer = api.must("GET", f"/tasks/{task_id}")
            if answer.status == 200 and answer.data["status"] != "completed":
                continue
            result = answer.data["result"] if answer.status == 200 else None
            claim = ledger.find(task_id, result["token"]) if result else None
            is_right = claim is not None and result["task"] == task_id and claim.end == "complete"
            self._findings.check("the API tells the results that were sent", is_right, f"task {task_id}: {answer.body}")
        api.close()

    def _show(self, what: str) -> None:
        show_progress(self._stage, time.monotonic() - self._began, self._sampler.waiting, what)

    def _faults(self) -> Counter[str]:
        """Return how often each planned fault has happened."""
        counts = Counter({name: self._chaos.counts[name] for name in self._chaos.planned})
        for name, (proxy, faults) in self._proxies.items():
            of_proxy = proxy.counts()
            counts.update({f"{name}: {fault}": of_proxy.get(fault, 0) for fault in faults})
        return counts

    def _missing(self) -> list[str]:
        return [fault for fault, number in self._faults().items() if number == 0]

    def _report(self, checker: Checker, worked_for: float) -> bool:
        faults, never = self._faults(), self._missing()
        show_faults(faults)
        show_invariants(self._findings)
        ended = sum(checker.ended.values())
        states = ", ".join(f"{number:,} {name}" for name, number in sorted(checker.ended.items()))
        kills = sum(number for name, number in faults.items() if "kill -9" in name)
        print(
            f"seed {self._seed}: {ended:,} tasks in {worked_for:.0f} s, {ended / worked_for:.0f} per second ({states})"
        )
        print(
            f"{kills} kills, {60 * kills / worked_for:.1f} per minute; {faults.total():,} faults in all; "
            f"checked in {time.monotonic() - self._began - worked_for:.0f} s"
        )
        for problem in (*(f"never happened: {name}" for name in never), *self._chaos.errors):
            print(f"the torture itself failed: {problem}", flush=True)
        return self._findings.are_good and not never and not self._chaos.errors
