"""How fast is the server where there is one core, three connections, and a database that is far away?"""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.plots import plot_bars
from bench.report import result_file, save, turns
from bench.speed.far import far_away, round_trip_milliseconds
from bench.speed.scenarios import BATCH, CREATE, CYCLE, EXCHANGE, MIXED, POLL, SCENARIOS
from bench.speed.stage import PROCESSES, Cost, Stage, another_server, limited_account, open_stage

_PLAYED = (CYCLE, BATCH, EXCHANGE, "exchange of 10", CREATE, POLL, MIXED)
_FAR_MILLISECONDS = 10


@dataclass(frozen=True)
class Host:
    """A host, and in which shape the server runs there."""

    name: str
    processes: int = PROCESSES
    #: Connections of each process, and so its threads.
    connections: int = 1
    is_far: bool = False
    has_one_core: bool = False
    #: How many connections the database allows the server.
    limit: int | None = None


HOSTS = (
    Host("as is"),
    Host("one core, 1 process", processes=1, has_one_core=True),
    Host("one core, 2 processes", processes=2, has_one_core=True),
    Host("3 connections: 3 processes with 1 each", processes=3, limit=3),
    Host("3 connections: 1 process with 3", processes=1, connections=3, limit=3),
    Host("10 ms away, 4 processes with 1 each", processes=4, is_far=True),
    Host("10 ms away, 4 processes with 4 each", processes=4, connections=4, is_far=True),
    Host("all of it: 1 process with 3", processes=1, connections=3, is_far=True, has_one_core=True, limit=3),
    Host("all of it: 3 processes with 1 each", processes=3, is_far=True, has_one_core=True, limit=3),
)


@contextmanager
def _on_cores(cores: set[int]) -> Iterator[None]:
    """Let what is started in the block run on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def open_host(host: Host) -> Iterator[Stage]:
    """Start all that is needed; one core is the server's and the database's alone, the clients have another."""
    server_core, *others = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        if host.has_one_core:
            with _on_cores({server_core}):
                yield from _open(host, stack, clients=set(others) or {server_core})
        else:
            yield from _open(host, stack, clients={server_core, *others})


def _open(host: Host, stack: ExitStack, clients: set[int]) -> Iterator[Stage]:
    stage = stack.enter_context(open_stage("mariadb"))
    url = stage.url
    if host.limit is not None:
        url = stack.enter_context(limited_account(stage, f"MAX_USER_CONNECTIONS {host.limit}"))
    if host.is_far:
        url = stack.enter_context(far_away(url, _FAR_MILLISECONDS))
    settings = {"processes": host.processes, "database_pool_size": str(host.connections)}
    server: Any = another_server(stage, url, **settings)  # type: ignore[arg-type]
    opened = stack.enter_context(server)
    with _on_cores(clients):
        yield opened


def measure(words: str, repetitions: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Play the scenarios on each host with these words in its name, in turns."""
    found: dict[str, dict[str, list[Cost]]] = defaultdict(lambda: defaultdict(list))
    plays: dict[str, Callable[[Stage, float], Cost]] = {each.name: each.play for each in SCENARIOS}
    order = list(turns([host for host in HOSTS if words in host.name], repetitions))
    for place, host in enumerate(order, 1):
        print(f"{place}/{len(order)}  {host.name}", file=sys.stderr)
        with open_host(host) as stage:
            for name in _PLAYED:
                found[host.name][name].append(plays[name](stage, seconds))
    return {host: {name: _summary(costs) for name, costs in each.items()} for host, each in found.items()}


def _summary(costs: list[Cost]) -> dict[str, Any]:
    tallies = [cost.tally for cost in costs]
    rates = [(tally.tasks or tally.requests) / tally.seconds for tally in tallies]
    return {
        "per_second": round(median(rates)),
        "spread": [round(min(rates)), round(max(rates))],
        "p50_milliseconds": round(median(tally.milliseconds(50) for tally in tallies), 1),
        "p99_milliseconds": round(median(tally.milliseconds(99) for tally in tallies), 1),
        "errors": sum(tally.errors for tally in tallies),
    }


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Print, for each host, the rates and how long the requests of the mixed load took."""
    columns = [name.replace("claim + complete", "cycle").replace(" workers", "") for name in _PLAYED]
    print(
        f"\n  {'tasks or requests per second':40}"
        + "".join(f"{name:>16}" for name in columns)
        + "   p50 ms  p99 ms  errors"
    )
    for host, each in results.items():
        rates = "".join(f"{each[name]['per_second']:16,}" for name in _PLAYED)
        mixed = each[MIXED]
        errors = sum(one["errors"] for one in each.values())
        print(f"  {host:40}{rates} {mixed['p50_milliseconds']:8} {mixed['p99_milliseconds']:7} {errors:7}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.small_hosts", description=__doc__)
    parser.add_argument("--only", default="", metavar="WORDS", help="hosts with these words in their names")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    given = parser.parse_args()
    with open_stage("mariadb") as stage, far_away(stage.url, _FAR_MILLISECONDS) as url:
        near, far = round_trip_milliseconds(stage.url), round_trip_milliseconds(url)
    print(f"a round trip to the database takes {near:.2f} ms, and {far:.2f} ms where it is {_FAR_MILLISECONDS} ms away")
    results = measure(given.only, given.repetitions, given.seconds)
    print_table(results)
    if not given.only:
        rates = {host: each[CYCLE]["per_second"] for host, each in results.items()}
        plot_bars(result_file("small-hosts.svg"), f"{CYCLE}: tasks per second", rates)
    save("small_hosts", {"round_trip_milliseconds": {"near": near, "far": far}, "hosts": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
