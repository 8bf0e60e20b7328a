"""`taskmanager housekeeping`: does what is due, once or for ever."""

import argparse
import time
from collections.abc import Sequence

from app.settings import Settings
from app.setup.run import run

_PAUSE_SECONDS = 1.0


def main(arguments: Sequence[str], program: str) -> int:
    """Run one round, or rounds until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Do what is due: wake scheduled tasks, end leases that ran out, remove what is old. Servers do "
        "this beside their requests; this command is for cron, or for a queue that nobody calls for long.",
    )
    parser.add_argument("--loop", action="store_true", help="go on until Ctrl-C, with a second between rounds")
    parser.add_argument(
        "--budget-seconds", type=float, default=30.0, metavar="N", help="how long a round may take (default: 30)"
    )
    given = parser.parse_args(arguments)
    if not 0 < given.budget_seconds <= 3600:
        parser.error("--budget-seconds must be above 0 and at most 3600")

    def command(settings: Settings) -> int:
        from app.housekeeping import Housekeeper
        from app.storage.database import Database

        database = Database(settings)
        housekeeper = Housekeeper(database, settings)
        try:
            while True:
                changed = housekeeper.run(budget_seconds=given.budget_seconds)
                if changed or not given.loop:
                    print(f"{changed} rows changed", flush=True)
                if not given.loop:
                    return 0
                time.sleep(_PAUSE_SECONDS)
        except KeyboardInterrupt:
            # Ctrl-C is how a loop is meant to end.
            return 0
        finally:
            database.dispose()

    return run(command)
