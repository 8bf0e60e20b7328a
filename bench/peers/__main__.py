"""Runs the comparison: `python -m bench.peers`."""

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, fields
from functools import partial
from statistics import median
from typing import Any

from bench.peers.install import NotInstalled, install_packages
from bench.peers.peers import PEERS, WORKERS
from bench.peers.play import Figures, play_ours, play_peer
from bench.plots import plot_bars
from bench.report import result_file, save, turns
from bench.speed import programs
from bench.speed.stage import open_stage
from tests.support.mariadb import NoServer

_OURS = {
    "one by one": (programs.cycle, None),
    "batches of 50": (programs.batches, 50),
    "exchange of 10": (programs.exchange, 10),
}
_NAMES = {
    "enqueued_per_second": "enqueued/s",
    "enqueued_in_batches_per_second": "in batches",
    "done_per_second": "done/s",
    "microseconds_per_task": "CPU µs",
    "p50_milliseconds": "p50 ms",
    "p99_milliseconds": "p99 ms",
    "memory_mib": "MiB",
    "twice": "twice",
}


def measure(words: str, repetitions: int, number: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Play all queues with these words in their names in turns, and return the medians of each."""
    found: dict[str, list[Figures]] = defaultdict(list)
    with ExitStack() as stack:
        plays: dict[str, Callable[[], Figures]] = {peer.name: partial(play_peer, peer, number) for peer in PEERS}
        for kind, name in (("mariadb", "MariaDB"), ("sqlite", "SQLite")):
            stage = stack.enter_context(open_stage(kind))
            for way, (work, size) in _OURS.items():
                plays[f"TaskManager, {name}, {way}"] = partial(play_ours, stage, work, size, seconds)
        chosen = [name for name in plays if words in name]
        order = list(turns(chosen, repetitions))
        for place, name in enumerate(order, 1):
            try:
                found[name].append(plays[name]())
            except (NotInstalled, NoServer, RuntimeError, OSError, subprocess.SubprocessError) as error:
                print(f"LEFT OUT: {name}: {error}", file=sys.stderr)
                continue
            print(f"{place:3}/{len(order)}  {name:38} {found[name][-1].done_per_second:9,.0f} tasks/s", file=sys.stderr)
    return {name: _summary(runs) for name, runs in found.items() if runs}


def _summary(runs: list[Figures]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for field in fields(Figures):
        values = [value for run in runs if (value := getattr(run, field.name)) is not None]
        summary[field.name] = round(median(values), 1) if values else None
    rates = [run.done_per_second for run in runs]
    return {**summary, "spread": [round(min(rates)), round(max(rates))], "runs": [asdict(run) for run in runs]}


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Print what was measured, and whom the server is ahead of."""
    print(
        f"\n{WORKERS} workers, tasks that do nothing. The peers speak straight to their stores, we speak HTTP with keys"
    )
    print(
        "and validation. CPU and memory: workers, server and store together; our CPU has that of our clients in it.\n"
    )
    print(f"  {'':38}" + "".join(f"{name:>11}" for name in _NAMES.values()))
    for name, summary in results.items():
        cells = (f"{summary[key]:,.0f}" if summary[key] is not None else "" for key in _NAMES)
        print(f"  {name:38}" + "".join(f"{cell:>11}" for cell in cells))
    ours = {name: summary["done_per_second"] for name, summary in results.items() if name.startswith("TaskManager")}
    if not ours:
        return
    best = max(ours, key=lambda name: ours[name])
    print()
    for name, summary in results.items():
        if name not in ours:
            ratio = ours[best] / summary["done_per_second"]
            print(f"  {best}: {ratio:.1f} times {name}: {'reached' if ratio > 1 else 'MISSED'}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--only", default="", metavar="WORDS", help="queues with these words in their names")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=10_000, help="for each peer; slow ones get a part of them")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run of TaskManager")
    given = parser.parse_args()
    install_packages()
    results = measure(given.only, given.repetitions, given.tasks, given.seconds)
    print_table(results)
    if not given.only:
        rates = {name: summary["done_per_second"] for name, summary in results.items()}
        plot_bars(result_file("peers.svg"), f"tasks per second, {WORKERS} workers", rates)
    save("peers", {"repetitions": given.repetitions, "tasks": given.tasks, "queues": results})
    return 0 if all(any(peer.name == name for name in results) or given.only not in peer.name for peer in PEERS) else 1


if __name__ == "__main__":
    sys.exit(main())
