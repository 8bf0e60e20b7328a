"""Processes: the CPU time and the memory of programs and all that they have started, from /proc."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Places in /proc/PID/stat, counted from the state, which stands behind the name.
_SESSION, _USER, _SYSTEM, _RESIDENT = 3, 11, 12, 21


def cpu_seconds(session: int) -> float:
    """Return the seconds of CPU that the processes of a session have used."""
    return sum(int(fields[_USER]) + int(fields[_SYSTEM]) for fields in _of_session(session)) / _TICKS


def resident_bytes(session: int) -> int:
    """Return the memory that the processes of a session hold, what they share counted in each."""
    return sum(int(fields[_RESIDENT]) for fields in _of_session(session)) * _PAGE


def _of_session(session: int) -> list[list[str]]:
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[_SESSION]) == session:
            found.append(fields)
    return found
