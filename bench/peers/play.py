"""Play: what is measured of a queue, the same for each."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles

from bench.peers.ours import wait_times
from bench.peers.peers import WORKERS, Crew, Peer
from bench.speed import programs
from bench.speed.load import Steps
from bench.speed.processes import cpu_seconds, held_bytes
from bench.speed.stage import Stage

# Workers that are still starting, and the end when some have nothing left to do, are no measure of the rate.
_LEFT_OUT = 0.1
_WAITING_TASKS = 100
_MOST_PER_SECOND = 30_000
_SECONDS_TO_CALM_DOWN = 3


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What came of one run; CPU and memory are those of workers, server and store together."""

    enqueued_per_second: float
    enqueued_in_batches_per_second: float | None = None
    done_per_second: float
    microseconds_per_task: float
    p50_milliseconds: float
    p99_milliseconds: float
    memory_mib: float
    #: How many tasks began more than once.
    twice: int = 0


def play_peer(peer: Peer, number: int) -> Figures:
    """Let a peer enqueue tasks and work them off, and then wait for single ones."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tm-peer-")))
        store = stack.enter_context(peer.store())
        crew = Crew(peer, store, folder)
        crew.set_up()
        number = int(number * peer.share)
        one_by_one = number // 2 if peer.has_batches else number
        enqueued = one_by_one / crew.produce("send", one_by_one)["seconds"]
        in_batches = None
        if peer.has_batches:
            in_batches = (number - one_by_one) / crew.produce("send_many", number - one_by_one)["seconds"]
        # Each producer has sent one task before the clock ran.
        expected = number + 1 + peer.has_batches
        sessions = [*stack.enter_context(crew.workers()), *([store.session] if store.session is not None else [])]
        left_out = int(expected * _LEFT_OUT)
        crew.wait_for(left_out)
        before, first = _cpu(sessions), len(crew.begun())
        crew.wait_for(expected - left_out)
        spent, last = _cpu(sessions) - before, len(crew.begun())
        crew.wait_for(expected)
        moments = sorted(moment for _, moment in crew.begun())[left_out : expected - left_out]
        per_second = (len(moments) - 1) / (moments[-1] - moments[0]) * 1_000_000_000
        memory = sum(map(held_bytes, sessions))
        sent = crew.produce("steadily", _WAITING_TASKS)["sent"]
        crew.wait_for(expected + 1 + _WAITING_TASKS)
        begun = crew.begun()
        latest: dict[int, int] = {}
        for place, moment in begun:
            latest[place] = max(moment, latest.get(place, 0))
        waits = [(latest[int(place)] - moment) / 1_000_000 for place, moment in sent.items()]
        return Figures(
            enqueued_per_second=enqueued,
            enqueued_in_batches_per_second=in_batches,
            done_per_second=per_second,
            microseconds_per_task=spent / (last - first) * 1_000_000,
            p50_milliseconds=_percentile(waits, 50),
            p99_milliseconds=_percentile(waits, 99),
            memory_mib=memory / 2**20,
            twice=len(begun) - (expected + 1 + _WAITING_TASKS),
        )


def play_ours(stage: Stage, work: Callable[..., Steps], size: int | None, seconds: float) -> Figures:
    """Let eight workers of TaskManager work, with what a producer and single tasks cost beside."""
    more = {} if size is None else {"size": size}
    enqueued = stage.play(partial(programs.create, stage.requests), 1, seconds).tally
    in_batches = stage.play(partial(programs.create_many, stage.requests, size=100), 1, seconds).tally
    stage.fill(int(_MOST_PER_SECOND * seconds))
    cost = stage.play(partial(work, stage.requests, **more), WORKERS, seconds)
    cpu = cost.server_cpu + cost.database_cpu + cost.tally.client_cpu
    memory = sum(map(held_bytes, stage.sessions))
    # What those workers had asked for last, and did not wait for, must not take the tasks of the next ones.
    time.sleep(_SECONDS_TO_CALM_DOWN)
    stage.fill(0)
    waits = [wait * 1000 for wait in wait_times(stage, WORKERS, _WAITING_TASKS)]
    return Figures(
        enqueued_per_second=enqueued.tasks / enqueued.seconds,
        enqueued_in_batches_per_second=in_batches.tasks / in_batches.seconds,
        done_per_second=cost.tally.tasks / cost.tally.seconds,
        microseconds_per_task=cpu / cost.tally.tasks * 1_000_000,
        p50_milliseconds=_percentile(waits, 50),
        p99_milliseconds=_percentile(waits, 99),
        memory_mib=memory / 2**20,
    )


def _cpu(sessions: list[int]) -> float:
    return sum(map(cpu_seconds, sessions))


def _percentile(values: list[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]
