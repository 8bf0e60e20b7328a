"""Torture a whole queue: `python -m bench.torture --minutes 30 --seed 1`.

Starts MariaDB, servers, workers and producers, injects faults of all kinds at random moments, lets the queue drain, and
checks that nothing was lost, done twice, or done beyond a limit; then the same, shorter, on SQLite on a disk that gets
full. The exit code is 0 only if all of it held and every kind of fault has really happened.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from bench.torture.board import CLIENTS
from bench.torture.disk import Disk
from bench.torture.disk_faults import DiskFaults
from bench.torture.maria import TorturedMariaDB
from bench.torture.maria_faults import MariaFaults
from bench.torture.run import Torture
from bench.torture.stage import Crew, Stage
from tests.support.mariadb import NoServer

KINDS = ("mariadb", "sqlite")
# The part on SQLite is there for the disk; longer it would show nothing new.
_LONGEST_ON_SQLITE = 120
_SHARE_OF_SQLITE = 0.35


def on_mariadb(folder: Path, given: argparse.Namespace) -> bool:
    """Torture a queue on MariaDB."""
    crew = Crew(given.servers, given.workers, given.producers)
    with TorturedMariaDB(folder, seed=given.seed) as database:
        application = "bench.torture.shifted:application"
        with Stage(
            folder, database.url, database.proxied_url, application=application, crew=crew, seed=given.seed
        ) as stage:
            cards = MariaFaults(database, random.Random(given.seed)).cards()
            torture = Torture(stage, cards, database.proxy, seed=given.seed)
            is_good = torture.run(seconds=60 * given.minutes, pace=given.pace)
        if not is_good:
            database.keep(folder)
    return is_good


def on_sqlite(folder: Path, given: argparse.Namespace) -> bool:
    """Torture a queue on SQLite, whose clock is that of its host, on a disk that gets full."""
    servers: list[int] = []
    with Disk(folder / "disk", lambda: servers) as disk:
        url = f"sqlite:///{disk.folder / 'taskmanager.db'}"
        crew = Crew(servers=1, workers=4, producers=2)
        with Stage(folder, url, url, application="rsgi:application", crew=crew, seed=given.seed) as stage:
            faults = DiskFaults(stage, disk, servers, random.Random(given.seed))
            torture = Torture(stage, faults.cards(), None, seed=given.seed, share=_SHARE_OF_SQLITE)
            seconds = min(60 * given.minutes * _SHARE_OF_SQLITE, _LONGEST_ON_SQLITE)
            is_good = torture.run(seconds=seconds, pace=given.pace)
        if not is_good:
            disk.free()
            shutil.copytree(disk.folder, folder / "data")
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults are injected (default: 1)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the order of the faults")
    parser.add_argument("--kind", choices=KINDS, action="append", help="(default: both)")
    parser.add_argument("--pace", type=float, default=1.5, help="seconds from one fault to the next (default: 1.5)")
    parser.add_argument("--servers", type=int, default=3, help="each with two web processes (default: 3)")
    parser.add_argument("--workers", type=int, default=12, help="processes, each with three workers (default: 12)")
    parser.add_argument("--producers", type=int, default=4, help="processes, each with two producers (default: 4)")
    given = parser.parse_args()
    if 3 * given.workers + 2 * given.producers > CLIENTS:
        parser.error(f"--workers and --producers: only {CLIENTS} clients have a place, three and two in each")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    bad = []
    for kind, torture in zip(KINDS, (on_mariadb, on_sqlite), strict=True):
        if given.kind and kind not in given.kind:
            continue
        own = folder / kind
        for name in ("logs", "journals"):
            (own / name).mkdir(parents=True)
        print(f"{kind}: seed {given.seed}; journals and logs are in {own}", flush=True)
        try:
            if not torture(own, given):
                bad.append(kind)
        except NoServer as error:
            print(f"MariaDB is needed: {error}", file=sys.stderr)
            return 2
    if bad:
        print(f"NOT everything held on {' and '.join(bad)}: journals, logs and data stay in {folder}")
        return 1
    shutil.rmtree(folder)
    print("Everything held.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
