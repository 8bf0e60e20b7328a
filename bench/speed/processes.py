"""Processes: the CPU time and the memory of a program and all that it has started, from /proc."""

import os
from collections import defaultdict
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# Places in /proc/PID/stat, counted from the state, which stands behind the name: the parent, the session, and the time
# that the process itself has used, and those of its children that have ended.
_PARENT, _SESSION, _TIMES = 1, 3, slice(11, 15)


def cpu_seconds(session: int) -> float:
    """Return the seconds of CPU that the processes of a session, and their children, have used."""
    return sum(sum(map(int, fields[_TIMES])) for fields in _of_session(session).values()) / _TICKS


def held_bytes(session: int, what: str = "Pss") -> int:
    """Return the memory that the processes of a session, and their children, hold; what they share counts once.

    Of what files hold, which others may use too, they hold only a part; `Pss_Anon` is what is theirs alone.
    """
    total = 0
    for process in _of_session(session):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))
    return total * 1024


def _of_session(session: int) -> dict[int, list[str]]:
    """Return what /proc/PID/stat says of each; PostgreSQL, for one, gives every child a session of its own."""
    stats: dict[int, list[str]] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        process = int(folder.name)
        stats[process] = fields
        children[int(fields[_PARENT])].append(process)
    found: dict[int, list[str]] = {}
    new = [process for process, fields in stats.items() if int(fields[_SESSION]) == session]
    while new:
        found.update({process: stats[process] for process in new})
        new = [child for process in new for child in children[process] if child not in found]
    return found
