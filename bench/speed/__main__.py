"""Runs the scenarios: `python -m bench.speed`."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

from bench.history import note
from bench.plots import plot_bars
from bench.report import result_file, save, turns
from bench.speed.scenarios import DRIVERS, GOALS, LIMITS, MIXED, SCENARIOS, VIEWS
from bench.speed.stage import Cost, open_empty_view, open_stage

KINDS = ("mariadb", "sqlite")


def measure(kind: str, words: str, repetitions: int, seconds: float, mixed_seconds: float) -> dict[str, dict[str, Any]]:
    """Play the scenarios with these words in their names, and return what came of them."""
    found: dict[str, list[Cost]] = defaultdict(list)
    with ExitStack() as stack:
        stage = stack.enter_context(open_stage(kind))
        plays: dict[str, Callable[[float], Cost]] = {}
        for name, interface in zip(VIEWS, ("wsgi", "rsgi"), strict=True):
            plays[name] = stack.enter_context(open_empty_view(interface))
        for scenario in (*(DRIVERS if kind == "mariadb" else ()), *SCENARIOS):
            plays[scenario.name] = partial(scenario.play, stage)
        chosen = [name for name in plays if words in name]
        # The mixed load takes its time once.
        order = [*turns([name for name in chosen if name != MIXED], repetitions), *({MIXED} & {*chosen})]
        for number, name in enumerate(order, 1):
            cost = plays[name](mixed_seconds if name == MIXED else seconds)
            found[name].append(cost)
            progress = f"{kind} {number:3}/{len(order)}"
            print(f"{progress}  {name:28} {rate(cost):9,.0f} per second", file=sys.stderr)
    results = {name: summary(costs) for name, costs in found.items()}
    for name, result in results.items():
        result["shares"] = {limit: share_of(name, against, results) for limit, against in LIMITS.items()}
    return results


def rate(cost: Cost) -> float:
    """Return tasks per second, or requests where no tasks are done."""
    return (cost.tally.tasks or cost.tally.requests) / cost.tally.seconds


def summary(costs: list[Cost]) -> dict[str, Any]:
    """Return the medians of several runs."""
    rates = [rate(cost) for cost in costs]
    done = [cost.tally.tasks or cost.tally.requests for cost in costs]

    def each(seconds: Callable[[Cost], float]) -> int:
        return round(
            median(seconds(cost) / max(number, 1) * 1_000_000 for cost, number in zip(costs, done, strict=True))
        )

    found: dict[str, Any] = {
        "per_second": round(median(rates)),
        "spread": [round(min(rates)), round(max(rates))],
        "server_microseconds": each(lambda cost: cost.server_cpu),
        "database_microseconds": each(lambda cost: cost.database_cpu),
        "client_microseconds": each(lambda cost: cost.tally.client_cpu),
        "errors": sum(cost.tally.errors for cost in costs),
    }
    if costs[0].tally.requests:
        found["p50_milliseconds"] = round(median(cost.tally.milliseconds(50) for cost in costs), 1)
        found["p99_milliseconds"] = round(median(cost.tally.milliseconds(99) for cost in costs), 1)
    return found


def print_table(kind: str, results: dict[str, dict[str, Any]]) -> None:
    """Print what was measured, and then which goals were reached."""
    print(f"\n{kind}: per second (tasks, or requests), microseconds of CPU for each, and the rate as a share of the")
    print("quicker empty view's and of the driver's for claim + complete")
    print(f"  {'':28} {'median':>8} {'min':>7} {'max':>7} {'p50 ms':>7} {'p99 ms':>7} {'server':>7} "
          f"{'database':>8} {'clients':>7} {'errors':>6}" + "".join(f"{limit:>8}" for limit in LIMITS))  # fmt: skip
    for name, found in results.items():
        low, high = found["spread"]
        shares = "".join(f"{'' if share is None else f'{share:.2f}':>8}" for share in found["shares"].values())
        print(f"  {name:28} {found['per_second']:8,} {low:7,} {high:7,} {found.get('p50_milliseconds', ''):>7} "
              f"{found.get('p99_milliseconds', ''):>7} {found['server_microseconds']:7,} "
              f"{found['database_microseconds']:8,} {found['client_microseconds']:7,} {found['errors']:6}"
              f"{shares}")  # fmt: skip
    print()
    for goal in GOALS:
        share = share_of(goal.name, goal.against, results)
        if share is not None:
            verdict = "reached" if share >= goal.at_least else "MISSED"
            print(f"  {goal.name}: {share:.2f} of {' or '.join(goal.against)}, goal {goal.at_least:.2f}: {verdict}")


def share_of(name: str, against: Sequence[str], results: dict[str, dict[str, Any]]) -> float | None:
    """Return which part of the best of the others the scenario reaches, or None where one was not played."""
    limits = [results[other]["per_second"] for other in against if other in results]
    return results[name]["per_second"] / max(limits) if name in results and limits else None


def keep(kind: str, results: dict[str, dict[str, Any]]) -> None:
    """Draw the results, add them to the history, and say what has become worse."""
    rates = {name: found["per_second"] for name, found in results.items()}
    plot_bars(result_file(f"speed-{kind}.svg"), f"{kind}: tasks or requests per second", rates)
    shares = {
        f"{goal.name}, share": share
        for goal in GOALS
        if (share := share_of(goal.name, goal.against, results)) is not None
    }
    worse = note(f"speed {kind}", {**rates, **shares})
    print("\n  WORSE than before: " + "; ".join(worse) if worse else "\n  nothing is worse than before")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append", help="(default: both)")
    parser.add_argument("--only", default="", metavar="WORDS", help="scenarios with these words in their names")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--mixed-seconds", type=float, default=60.0, help="of each run of the mixed load")
    given = parser.parse_args()
    results = {}
    for kind in given.kind or KINDS:
        results[kind] = measure(kind, given.only, given.repetitions, given.seconds, given.mixed_seconds)
        print_table(kind, results[kind])
        if not given.only:
            keep(kind, results[kind])
    save("speed", {"seconds": given.seconds, "repetitions": given.repetitions, **results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
