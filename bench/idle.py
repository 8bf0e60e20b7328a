"""What do workers cost that find nothing to do, and how many of them does a host serve that counts queries?"""

import argparse
import heapq
import random
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bench.report import save
from bench.speed.client import Client
from bench.speed.stage import PROCESSES, Stage, another_server, limited_account, open_stage

CAP_PER_HOUR = 50_000


@dataclass(frozen=True)
class Idling:
    """What came of a time in which workers polled and found nothing."""

    seconds: float
    polls: int
    queries: int
    server_cpu: float
    database_cpu: float
    refused: int

    def per_hour(self, number: float) -> float:
        """Return what so much in this time comes to in an hour."""
        return number / self.seconds * 3600


def idle(stage: Stage, workers: int, seconds: float, spread: float) -> Idling:
    """Let so many workers poll for so long as they are told, the first time within `spread` seconds."""
    client = Client(stage)
    begin = time.monotonic()
    # As if they had been asking for long: each at another moment.
    asleep = [(begin + random.random() * spread, number) for number in range(workers)]
    heapq.heapify(asleep)
    polls = refused = 0
    queries = _queries(stage)

    def play() -> Any:
        nonlocal polls, refused
        while (now := time.monotonic()) < begin + seconds:
            if not asleep or asleep[0][0] > now:
                next_poll = asleep[0][0] if asleep else begin + seconds
                time.sleep(min(next_poll, begin + seconds) - now)
                continue
            _, number = heapq.heappop(asleep)
            answer = client.claim(f"idle-{number}")
            polls += 1
            refused += answer.status != 404
            heapq.heappush(asleep, (time.monotonic() + max(answer.retry_after, 1), number))

    cost = stage.watch(play)
    return Idling(
        time.monotonic() - begin, polls, _queries(stage) - queries, cost.server_cpu, cost.database_cpu, refused
    )


def _queries(stage: Stage) -> int:
    """Return how many queries the database has been asked, without this one."""
    if stage.maria is None:
        return 0
    with stage.maria.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
        return int(cursor.fetchone()[1])


def measure(kind: str, numbers: list[int], seconds: float) -> dict[str, Any]:
    """Return what so many workers cost an hour, once the queue has been quiet and each asks every 15 s."""
    found: dict[str, Any] = {}
    print(f"\n{kind}: an hour of workers that find nothing, each asking every 15 s (measured for {seconds:.0f} s)")
    print("   workers     polls   queries  per poll  server s  database s  refused")
    with open_stage(kind, poll_min_seconds="15") as stage:
        for number in numbers:
            idling = idle(stage, number, seconds, 15)
            polls, queries = idling.per_hour(idling.polls), idling.per_hour(idling.queries)
            server, database = idling.per_hour(idling.server_cpu), idling.per_hour(idling.database_cpu)
            per_poll = idling.queries / idling.polls if idling.polls else 0
            print(
                f"  {number:8,} {polls:9,.0f} {queries:9,.0f} {per_poll:9.2f} {server:9.1f} {database:11.1f} "
                f"{idling.refused:8}"
            )
            found[str(number)] = {
                "polls": round(polls), "queries": round(queries), "queries_per_poll": round(per_poll, 2),
                "server_seconds": round(server, 1), "database_seconds": round(database, 1), "refused": idling.refused,
            }  # fmt: skip
    return found


def becoming_quiet(workers: int, seconds: float) -> dict[str, Any]:
    """Return how the polls of workers become fewer after the last task, minute by minute, with the default settings."""
    with open_stage("mariadb") as stage:
        client = Client(stage)
        client.create("last.txt")
        client.complete("idle-0", client.claim("idle-0").data)
        minutes = [idle(stage, workers, 60.0, 1) for _ in range(max(round(seconds / 60), 1))]
    polls, queries = ([getattr(minute, name) for minute in minutes] for name in ("polls", "queries"))
    print(f"\nmariadb: {workers} workers after the last task, minute by minute: polls {polls}, queries {queries}")
    return {"workers": workers, "polls": polls, "queries": queries}


def under_a_cap(seconds: float) -> dict[str, Any]:
    """Return how many workers a host serves that allows 50,000 queries an hour, and show it.

    The cap is brought down to the time that is measured, and MariaDB itself refuses what goes beyond.
    """
    found: dict[str, Any] = {}
    cap = int(CAP_PER_HOUR * seconds / 3600)
    print(f"\nmariadb: workers under a cap of {CAP_PER_HOUR:,} queries an hour")
    print(f"  ({cap:,} in {seconds:.0f} s, which MariaDB enforces)")
    for longest in (15, 60, 300):
        settings = {"poll_min_seconds": str(longest), "poll_max_seconds": str(longest)}
        with open_stage("mariadb", **settings) as stage:
            few, many = (idle(stage, number, seconds, longest).queries for number in (50, 150))
            each = (many - few) / 100
            workers = int((cap - (few - 50 * each)) / each)
        refused = {}
        for number in (int(workers * 0.95), workers * 2):
            with ExitStack() as stack:
                stage = stack.enter_context(open_stage("mariadb"))
                url = stack.enter_context(limited_account(stage, f"MAX_QUERIES_PER_HOUR {cap}"))
                capped = stack.enter_context(another_server(stage, url, processes=PROCESSES, **settings))
                refused[number] = idle(capped, number, seconds, longest).refused
        shown = ", ".join(f"{number:,} workers: {count} refused" for number, count in refused.items())
        print(f"  asking every {longest} s: {workers:,} workers. Shown: {shown}")
        found[str(longest)] = {"workers": workers, "refused": refused}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    given = parser.parse_args()
    results: dict[str, Any] = {"seconds": given.seconds}
    for kind in ("mariadb", "sqlite"):
        results[kind] = measure(kind, given.workers, given.seconds)
    results["becoming_quiet"] = becoming_quiet(100, given.seconds * 5)
    results["cap"] = under_a_cap(given.seconds * 2)
    save("idle", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
