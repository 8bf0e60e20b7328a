"""Limits, looked at afterwards: how many claims were certainly alive at one time, and how many fell into a time."""

from collections import deque
from collections.abc import Iterable

from app.policies import parse_rate
from bench.torture.findings import Findings


def check_concurrency(name: str, intervals: Iterable[tuple[float, float]], limit: int, findings: Findings) -> None:
    """Check that never more than `limit` of these intervals have an instant in common."""
    changes = []
    for begin, end in intervals:
        if end > begin:
            changes += [(begin, 1), (end, -1)]
    # Of equal instants the end comes first.
    alive = 0
    for at, change in sorted(changes):
        alive += change
        if change > 0:
            findings.check("max_concurrency holds, by what workers heard", alive <= limit, f"{name}: {alive} at {at}")


def check_rate(claims: list[float], rate: str, findings: Findings) -> None:
    """Check that no time of the rate's length has more claims than it allows."""
    most, length = parse_rate(rate)
    recent: deque[float] = deque()
    for at in sorted(claims):
        recent.append(at)
        # A microsecond may be lost where an instant becomes a float.
        while recent[0] <= at - length + 0.000002:
            recent.popleft()
        findings.check("rate_limit holds", len(recent) <= most, f"{len(recent)} claims within {length} s until {at}")
