"""Does the server hold more memory the longer it runs, whatever it is asked?"""

import argparse
import secrets
import sys
from collections.abc import Sequence
from statistics import linear_regression
from typing import Any

from bench.plots import plot_lines
from bench.report import result_file, save
from bench.speed.load import Call, Requests, Steps
from bench.speed.processes import held_bytes
from bench.speed.stage import Stage, open_stage

_WORKERS = 8
_CHUNK_SECONDS = 5.0
# What every process imports, opens and fills once.
_WARM = 100_000
_FIRST = 10_000
#: Less than this in a hundred thousand requests is noise of the allocator.
MOST_KIB = 128


def everything(requests: Requests) -> Steps:
    """Ask for all that a server hears, good and bad, with ever new names: what it keeps by name must have an end."""
    while True:
        name = secrets.token_hex(8)
        worker = f"worker-{name}"
        created = (yield Call("create", requests.post("/api/tasks", _task(name)))).data
        task = (yield Call("claim", requests.post("/api/tasks/claim", {"worker_id": worker, "types": ["bench"]}))).data
        yield Call("status", requests.get(f"/api/tasks/{created['id']}"))
        holder = {"worker_id": worker, "lease_token": task["lease_token"]}
        yield Call("heartbeat", requests.post(f"/api/tasks/{task['id']}/heartbeat", holder))
        yield Call("complete", requests.post(f"/api/tasks/{task['id']}/complete", {**holder, "success": True}))
        yield Call("again", requests.post(f"/api/tasks/{task['id']}/complete", {**holder, "success": True}))
        unknown = {"worker_id": worker, "types": [f"type-{name}"]}
        yield Call("unknown type", requests.post("/api/tasks/claim", unknown), refusal=404)
        yield Call(
            "unknown pattern",
            requests.post("/api/tasks/claim", {"worker_id": worker, "type_pattern": f"{name}*"}),
            refusal=404,
        )
        yield Call("unknown path", requests.get(f"/api/{name}"), refusal=404)
        yield Call("wrong body", requests.post("/api/tasks", {name: name}), refusal=400)
        yield Call("wrong parameters", requests.post("/api/tasks", {"type": "bench", "params": {name: 1}}), refusal=400)
        yield Call("wrong key", Requests(name).get("/api/tasks"), refusal=401)
        yield Call("list", requests.get("/api/tasks?limit=10"))
        yield Call("types", requests.get("/api/task-types"))


def _task(name: str) -> dict[str, Any]:
    return {"type": "bench", "params": {"path": f"data/{name}.txt", "algorithm": "sha256"}, "tags": [name]}


def measure(stage: Stage, number: int) -> list[tuple[int, float]]:
    """Return how many MiB of its own the server holds after so many requests, each about five seconds later."""
    seen: list[tuple[int, float]] = []
    done = errors = 0
    while done < number:
        seconds = _CHUNK_SECONDS if done >= _FIRST else 1.0
        tally = stage.play(lambda _number: everything(stage.requests), _WORKERS, seconds).tally
        done, errors = done + tally.requests, errors + tally.errors
        seen.append((done, _held_mib(stage)))
        print(f"{done:10,}/{number:,} requests: {seen[-1][1]:.1f} MiB, {errors} unexpected answers", file=sys.stderr)
        # The table is not what is measured.
        stage.fill(0)
    return seen


def _held_mib(stage: Stage) -> float:
    # Not with the pages of programs and libraries: how many of these are ours depends on who else runs Python.
    return held_bytes(stage.server.process.pid, "Pss_Anon") / 2**20


def growth(seen: Sequence[tuple[int, float]]) -> float | None:
    """Return by how many KiB the memory grows with 100,000 requests, when all is warm."""
    warm = [(done, held) for done, held in seen if done >= _WARM]
    if len(warm) < 2:
        return None
    return linear_regression(*zip(*warm, strict=True)).slope * 100_000 * 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=("mariadb", "sqlite"), default="mariadb")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    with open_stage(given.kind, processes=given.processes) as stage:
        begin = _held_mib(stage)
        seen = measure(stage, given.requests)
    first = next(held for done, held in seen if done >= min(_FIRST, given.requests))
    slope = growth(seen)
    print(
        f"after the start {begin:.1f} MiB, after {_FIRST:,} requests {first:.1f} MiB, at the end {seen[-1][1]:.1f} MiB"
    )
    if slope is not None:
        verdict = "none" if slope / given.processes < MOST_KIB else "IT GROWS"
        print(f"growth once {_WARM:,} requests were answered: {slope:+,.0f} KiB for each 100,000 requests: {verdict}")
    plot_lines(result_file("memory.svg"), "MiB held after so many requests", {given.kind: seen})
    save("memory", {"start_mib": begin, "seen": seen, "kib_per_100000": slope, "processes": given.processes})
    return 0


if __name__ == "__main__":
    sys.exit(main())
