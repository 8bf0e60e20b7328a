"""All measurements, one after the other: `make bench`, or `make bench PARTS="speed costs"` for some of them."""

import argparse
import subprocess
import sys
import time

from app.settings import ROOT

#: What each measures, and about how many minutes it takes on two cores.
PARTS = {
    "speed": ("everything over HTTP, against the database alone and an empty Flask view", 9),
    "peers": ("Celery, RQ, Huey, Procrastinate and Dramatiq beside us", 13),
    "growth": ("requests with ten million tasks, a thousand types, ten thousand workers", 9),
    "costs": ("what each request costs, by layer, and in how many statements", 3),
    "idle": ("workers that find nothing to do, also on a host that counts queries", 40),
    "cold_start": ("the first answer of a process that has just been started", 2),
    "memory": ("what the server holds after a million requests", 18),
    "small_hosts": ("one core, three connections, a database that is far away", 12),
    "old_snapshot": ("claims while a backup is being taken", 15),
    "operations": ("changes of a million dead letters", 10),
    "core_and_orm": ("SQLAlchemy Core against its ORM", 1),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    chosen = parser.parse_args().parts or list(PARTS)
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]}: there are {', '.join(PARTS)}")
    failed = []
    for place, part in enumerate(chosen, 1):
        what, minutes = PARTS[part]
        print(f"\n== {place}/{len(chosen)} {part}: {what} (about {minutes} min)", flush=True)
        began = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"bench.{part}"], cwd=ROOT).returncode:
            failed.append(part)
        print(f"== {part} took {(time.monotonic() - began) / 60:.1f} min", flush=True)
    print(f"\nresults and plots are in bench/results/{'; FAILED: ' + ', '.join(failed) if failed else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
