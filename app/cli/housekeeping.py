"""`taskmanager housekeeping`: does what is due, once or for ever, and tells how it goes."""

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.settings import Settings
from app.setup.run import run

if TYPE_CHECKING:
    from app.housekeeping import Housekeeper
    from app.housekeeping.rounds import Outcome

_PAUSE_SECONDS = 1.0
# After so long a line tells how far a long round is.
_REPORT_SECONDS = 2.0


def main(arguments: Sequence[str], program: str) -> int:
    """Do what is due once, or again and again until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Do what is due: wake scheduled tasks, end leases that ran out, remove what is old. Servers do "
        "this beside their requests; this command is for cron, or for a queue that nobody calls for long. One process "
        "at a time does it, whichever that is.",
    )
    parser.add_argument("--loop", action="store_true", help="go on until Ctrl-C, with a second between rounds")
    parser.add_argument(
        "--budget-seconds", type=float, default=30.0, metavar="N", help="how long it may go on (default: 30)"
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
                _work_off(housekeeper, given.budget_seconds, is_quiet=given.loop)
                if not given.loop:
                    return 0
                time.sleep(_PAUSE_SECONDS)
        except KeyboardInterrupt:
            # Ctrl-C is how a loop is meant to end.
            return 0
        finally:
            database.dispose()

    return run(command)


def _work_off(housekeeper: "Housekeeper", budget_seconds: float, *, is_quiet: bool) -> None:
    """Do what is due until nothing is or the time is used up, and print how it goes; where quiet, changes only."""
    end = time.monotonic() + budget_seconds
    while True:
        left = end - time.monotonic()
        outcome = housekeeper.run(budget_seconds=min(left, _REPORT_SECONDS))
        if outcome.total or not is_quiet:
            print(_line(outcome), flush=True)
        if outcome.is_skipped or not outcome.has_more or left <= _REPORT_SECONDS:
            return


def _line(outcome: "Outcome") -> str:
    if outcome.is_skipped:
        return "Another process is doing it now"
    parts = ", ".join(f"{name} {changed}" for name, changed in outcome.changed.items() if changed)
    more = "; there is more" if outcome.has_more else ""
    return f"{outcome.total} rows changed{f' ({parts})' if parts else ''}{more}"
