"""Findings: how often each invariant was looked at, and what broke it."""

from collections import Counter, defaultdict

_SHOWN = 20


class Findings:
    """What the checks have found."""

    def __init__(self) -> None:
        self.checked: Counter[str] = Counter()
        self.breaches: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)

    def check(self, invariant: str, holds: bool, breach: str = "", number: int = 1) -> None:
        """Count a look at an invariant, and what it was if it does not hold."""
        self.checked[invariant] += number
        if not holds:
            self.breaches[invariant] += 1
            if len(self.examples[invariant]) < _SHOWN:
                self.examples[invariant].append(breach)

    @property
    def are_good(self) -> bool:
        return not self.breaches
