"""The command `taskmanager`: what an administrator does at a terminal."""

import argparse
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "keys": ("app.cli.keys", "create, list, revoke and expire API keys"),
    "setup": ("app.setup.set_up", "create or update the database; the same as setup_database.py"),
    "check": ("app.setup.check", "check the installation; the same as check_setup.py"),
    "housekeeping": ("app.cli.housekeeping", "do what is due: leases, retries, removals"),
    "backup": ("app.cli.backup", "copy a SQLite database while it is used; for others, say how"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 when it failed, 2 when it was not understood."""
    parser = argparse.ArgumentParser(
        prog="taskmanager",
        description="Administrate TaskManager.",
        epilog="\n".join(f"  {name:14}{meaning}" for name, (_, meaning) in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command", help="one of those below; each has its --help")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="what the command needs")
    given = parser.parse_args(arguments)
    # Each command loads what it needs and no more.
    command = import_module(COMMANDS[given.command][0])
    return int(command.main(given.rest, f"taskmanager {given.command}"))
