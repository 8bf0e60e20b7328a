"""Torture a whole queue: `python -m bench.torture --minutes 30 --seed 1`.

Starts MariaDB, servers, workers and producers, injects faults of all kinds at random moments, lets the queue drain, and
checks that nothing was lost, done twice, or done beyond a limit. The exit code is 0 only if all of it held and every
kind of fault has really happened.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from bench.torture.run import torture
from bench.torture.stage import Stage
from tests.support.mariadb import NoServer

_MEMORY = Path("/dev/shm")
_BYTES_NEEDED = 4 * 1024**3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults are injected (default: 1)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the order of the faults")
    parser.add_argument("--pace", type=float, default=1.5, help="seconds from one fault to the next (default: 1.5)")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--workers", type=int, default=12, help="processes, each with three workers")
    parser.add_argument("--producers", type=int, default=4, help="processes, each with two producers")
    given = parser.parse_args()
    random.seed(given.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    print(f"seed {given.seed}; journals and logs are in {folder}", flush=True)
    stage = Stage.__new__(Stage)
    try:
        stage.__init__(
            folder,
            _fast_folder(),
            seed=given.seed,
            servers=given.servers,
            workers=given.workers,
            producers=given.producers,
        )
        is_good = torture(stage, minutes=given.minutes, seed=given.seed, pace=given.pace)
    except NoServer as error:
        print(f"MariaDB is needed: {error}", file=sys.stderr)
        return 2
    finally:
        stage.end()
    if is_good:
        shutil.rmtree(folder)
        print("Everything held.")
        return 0
    print(f"NOT everything held: journals and logs stay in {folder}")
    return 1


def _fast_folder() -> Path | None:
    """Return a folder in memory if there is room: a kill loses nothing there, and no disk slows the run down."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _BYTES_NEEDED:
        return _MEMORY
    return None


if __name__ == "__main__":
    sys.exit(main())
