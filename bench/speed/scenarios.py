"""Scenarios: what is measured, each one way to use the queue or one limit of what is possible."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.speed import driver, programs
from bench.speed.load import Requests, Steps, Tally
from bench.speed.stage import Cost, Stage

# More than anything gets done in a second on this kind of machine: what is waiting must not run out.
_CYCLES, _BATCHED = 3_000, 30_000


@dataclass(frozen=True)
class Scenario:
    """One measurement."""

    name: str
    play: Callable[[Stage, float], Cost]


def _http(name: str, program: Callable[..., Steps], workers: int, *, pending: int = 0, **more: int) -> Scenario:
    def play(stage: Stage, seconds: float) -> Cost:
        stage.fill(int(pending * seconds) + workers)
        return stage.play(partial(_begin, program, stage.requests, more), workers, seconds)

    return Scenario(name, play)


def _begin(program: Callable[..., Steps], requests: Requests, more: dict[str, int], number: int) -> Steps:
    return program(requests, number, **more)


def _empty_poll(stage: Stage, seconds: float) -> Cost:
    stage.fill(0)
    return stage.play(partial(programs.empty_poll, stage.requests), 8, seconds)


def _driver(name: str, work: Callable[[driver.Connection, str], int], processes: int, pending: int) -> Scenario:
    def play(stage: Stage, seconds: float) -> Cost:
        stage.fill(int(pending * seconds) + processes)
        return stage.watch(
            lambda: Tally(seconds, tasks=int(driver.rate(stage.url, work, processes, seconds) * seconds))
        )

    return Scenario(name, play)


VIEWS = ("empty view (wsgi)", "empty view (rsgi)")
CYCLE, BATCH, CREATE, POLL = "claim + complete, 8 workers", "batches of 50", "create", "empty poll"
EXCHANGE, MIXED = "exchange of 1", "mixed, 50 workers"
#: What only a database server has a limit for.
DRIVERS = (
    _driver("driver: claim by update", driver.claim_by_update, 8, _CYCLES),
    _driver("driver: claim by read", driver.claim_by_read, 8, _CYCLES),
    _driver("driver: batches of 50", driver.batch_of(50), 4, _BATCHED),
)
SCENARIOS = (
    *(_http(f"claim + complete, {n} workers", programs.cycle, n, pending=_CYCLES) for n in (1, 4, 8, 16, 50)),
    *(_http(f"batches of {n}", programs.batches, 4, pending=_BATCHED, size=n) for n in (1, 10, 50, 100)),
    _http(EXCHANGE, programs.exchange, 8, pending=_CYCLES, size=1),
    *(_http(f"exchange of {n}", programs.exchange, 4, pending=_BATCHED, size=n) for n in (10, 50)),
    _http(CREATE, programs.create, 8),
    _http("create of 100", programs.create_many, 4, size=100),
    Scenario(POLL, _empty_poll),
    # Each worker creates as many tasks as it claims.
    _http(MIXED, programs.mixed, 50, pending=100),
)


@dataclass(frozen=True)
class Goal:
    """A ratio within one run that is to be reached: a scenario against the best of others."""

    name: str
    against: tuple[str, ...]
    at_least: float


_CYCLE_OF_DRIVER = ("driver: claim by update", "driver: claim by read")
#: What every result is also given as a share of: the best of each.
LIMITS = {"view": VIEWS, "driver": _CYCLE_OF_DRIVER}
GOALS = (
    Goal(CYCLE, _CYCLE_OF_DRIVER, 0.65),
    Goal(BATCH, ("driver: batches of 50",), 0.75),
    Goal(EXCHANGE, (CYCLE,), 1.5),
    Goal(POLL, VIEWS, 0.60),
    Goal(CREATE, VIEWS, 0.55),
)
