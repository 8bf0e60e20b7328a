"""Draws up the cost sheet: `python -m bench.costs`."""

import argparse
import json
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

from app import create_app
from app.settings import Settings
from app.storage.database import Database
from bench.costs.layers import LAYERS, watched
from bench.costs.profile import profile
from bench.costs.story import tell
from bench.costs.tellers import Ask, here, over_http, play
from bench.report import result_file, save
from bench.speed.processes import cpu_seconds
from bench.speed.stage import Stage, open_stage

KINDS = ("mariadb", "sqlite")
# Phases that only prepare the next one.
_BESIDE = ("the last claim", "create, for a duplicate", "claims for exchanges")
_MICRO = 1_000_000

Sheet = dict[str, dict[str, Any]]


def measure(stage: Stage, repetitions: int, number: int) -> Sheet:
    """Play the story over HTTP, in this process, and in this process with its layers watched, in turns."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    settings = Settings(database_url=stage.url)
    for repetition in range(repetitions):
        print(f"{stage.kind} {repetition + 1}/{repetitions}", file=sys.stderr)
        server, *database = stage.sessions
        ask = over_http(stage.port, stage.server.admin_key)
        # What is read and made but once is not to count for the first phase.
        _warm_up(stage, ask)
        for cost in play(tell(number), ask, partial(cpu_seconds, server), next(iter(database), None)):
            found[cost.phase.name]["over HTTP"].append(cost.python)
            found[cost.phase.name]["database"].append(cost.database)
        stored = Database(settings)
        app = create_app(settings, stored)
        ask = here(app, stage.server.admin_key)
        _warm_up(stage, ask)
        for cost in play(tell(number), ask, time.process_time):
            found[cost.phase.name]["in process"].append(cost.python)
        stage.fill(0)
        with watched(app, stored) as layers:
            for cost in play(tell(number), ask, time.process_time, begin=layers.begin):
                layers.end()
                requests = len(cost.phase.requests)
                seen = found[cost.phase.name]
                for layer in LAYERS:
                    seen[layer].append(layers.nanoseconds[layer] / requests / 1_000_000_000)
                seen["statements"].append(layers.statements / requests)
                seen["round trips"].append(layers.round_trips / requests)
                seen["tasks"].append(cost.phase.tasks)
        stored.dispose()
    return {name: _row(seen) for name, seen in found.items() if not name.startswith(_BESIDE)}


def _warm_up(stage: Stage, ask: Ask) -> None:
    stage.fill(0)
    for _ in play(tell(10), ask, time.process_time):
        pass
    stage.fill(0)


def _row(seen: dict[str, list[float]]) -> dict[str, Any]:
    """Return the medians in microseconds; the watched layers are brought down to what they come to unwatched."""
    medians = {name: median(values) for name, values in seen.items()}
    watched_sum = sum(medians[layer] for layer in LAYERS)
    scale = medians["in process"] / watched_sum
    return {
        "tasks": int(medians["tasks"]),
        "statements": round(medians["statements"], 2),
        "round trips": round(medians["round trips"], 2),
        "server": round((medians["over HTTP"] - medians["in process"]) * _MICRO),
        **{layer: round(medians[layer] * scale * _MICRO) for layer in LAYERS},
        "Python": round(medians["over HTTP"] * _MICRO),
        "database": round(medians["database"] * _MICRO),
        "watching": round(watched_sum / medians["in process"] - 1, 2),
    }


def print_sheet(kind: str, sheet: Sheet) -> None:
    """Print the sheet as a table of Markdown, and what a task costs in statements."""
    columns = ("statements", "round trips", "server", *LAYERS, "Python", "database")
    print(f"\n{kind}: statements, round trips and microseconds of CPU for each request\n")
    print("| Request | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, row in sheet.items():
        print(f"| {name} | " + " | ".join(f"{row[column]:,}" for column in columns) + " |")
    overhead = median(row["watching"] for row in sheet.values())
    print(f"\nWatching the layers cost {overhead:.0%} more, which is taken off each in proportion.")
    print("Statements: " + "; ".join(f"{what} {number:.2f}" for what, number in statements_per_task(sheet).items()))


def statements_per_task(sheet: Sheet) -> dict[str, float]:
    """Return how many statements a task costs from its creation to its end, one by one and in batches."""

    def of(*names: str) -> float:
        return float(sum(sheet[name]["statements"] / (sheet[name]["tasks"] or 1) for name in names))

    return {
        "a task, one by one": of("create", "claim", "complete"),
        "a task, exchanged one by one": of("create", "exchange of 1"),
        "a task, created by 100 and worked on by 50": of("create of 100", "claim of 50", "complete of 50"),
        "a task, created by 100 and exchanged by 50": of("create of 100", "exchange of 50"),
        "an empty poll": of("empty poll"),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append", help="(default: both)")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000, help="of each kind, and a tenth as many batches")
    parser.add_argument("--profile", metavar="NAME", help="show instead where this kind of request spends its time")
    given = parser.parse_args()
    sheets: dict[str, Any] = {}
    for kind in given.kind or KINDS:
        with ExitStack() as stack:
            stage = stack.enter_context(open_stage(kind, processes=1))
            if given.profile:
                show_profile(stage, given.profile, given.requests)
                continue
            sheets[kind] = measure(stage, given.repetitions, given.requests)
            print_sheet(kind, sheets[kind])
    if sheets:
        save("costs", {"requests": given.requests, "repetitions": given.repetitions, **sheets})
    return 0


def show_profile(stage: Stage, name: str, number: int) -> None:
    """Show where requests of this kind spend their time, in this process."""
    stored = Database(Settings(database_url=stage.url))
    ask = here(create_app(Settings(database_url=stage.url), stored), stage.server.admin_key)
    _warm_up(stage, ask)
    story = tell(number)
    phase = next(story)
    while phase.name != name:
        phase = story.send([json.loads(ask(request)[1]).get("data") for request in phase.requests])
    profile(
        f"{stage.kind}, {name}", phase.requests, ask, result_file(f"profile-{stage.kind}-{name.replace(' ', '-')}.txt")
    )
    stored.dispose()


if __name__ == "__main__":
    sys.exit(main())
