"""The ledger: all journals of a run in memory, by task; some hundred bytes for each claim."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.torture.journal import read_journal

# The server's clock is the database's as it was when an answer came: never ahead of it, but for what is lost in
# milliseconds and microseconds, and late where the answers were.
CLOCK_AHEAD = 0.02
CLOCK_LATE = 6.0
REFUSED = frozenset({"task_not_claimed", "task_cancelled", "claimed_by_another_worker", "lease_lost"})


@dataclass(slots=True)
class Claim:
    """What a worker was told of its claim, and what it said of its end."""

    asked_at: float
    told_at: float
    worker: str
    token: str
    claimed_at: float
    lease_ends_at: float
    #: When the worker first set out to report, and what; None where it never did.
    end_sent_at: float | None = None
    end: str | None = None
    #: The word or code that it was told then; None where no answer came.
    said: str | None = None

    def surely_held(self, withdrawn: Iterable[float]) -> tuple[float, float]:
        """Return from when to when it was certainly alive: told of, and neither over nor ended nor withdrawn."""
        ends = [at for at in withdrawn if at >= self.asked_at]
        if self.end_sent_at is not None:
            ends.append(self.end_sent_at)
        return self.told_at, min([self.lease_ends_at - CLOCK_AHEAD, *ends])


@dataclass(slots=True)
class Create:
    """A request to create, under one Idempotency-Key."""

    number: int
    dedupe_key: str | None
    ids: list[int] | None = None


@dataclass
class Ledger:
    """All that clients know."""

    creates: dict[str, Create] = field(default_factory=dict)
    claims: dict[int, list[Claim]] = field(default_factory=lambda: defaultdict(list))
    cancels: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    requeues: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    cancelled: set[int] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)
    #: What an acknowledgement said of something that nobody had written down before.
    strange: list[str] = field(default_factory=list)

    def read(self, folder: Path) -> "Ledger":
        for path in sorted(folder.glob("*.jsonl")):
            for line in read_journal(path):
                self.add(line, path.stem)
        return self

    def add(self, line: list[Any], client: str) -> None:
        getattr(self, f"_add_{line[0]}")(client, *line[1:])

    def withdrawn(self, task_id: int) -> list[float]:
        """Return when somebody set out to cancel or requeue the task."""
        return [*self.cancels.get(task_id, ()), *self.requeues.get(task_id, ())]

    def find(self, task_id: int, token: str) -> Claim | None:
        return next((claim for claim in self.claims.get(task_id, ()) if claim.token == token), None)

    def _add_create(self, _client: str, key: str, path: str, body: Any) -> None:
        number = len(body["tasks"]) if "tasks" in body else 1
        self.creates[key] = Create(number, body.get("dedupe_key"))

    def _add_created(self, client: str, key: str, ids: list[int]) -> None:
        create = self.creates[key]
        if create.ids is not None and create.ids != ids:
            self.strange.append(f"{client}: {key} was answered with {create.ids} and with {ids}")
        create.ids = ids

    def _add_claim(
        self, _client: str, asked: float, told: float, worker: str, token: str, claimed: str, ends: str, ids: list[int]
    ) -> None:
        at, until = seconds(claimed), seconds(ends)
        for task_id in ids:
            self.claims[task_id].append(Claim(asked, told, worker, token, at, until))

    def _add_beat(self, _client: str, _told: float, task_id: int, token: str, ends: str) -> None:
        claim = self._must_find(task_id, token)
        claim.lease_ends_at = max(claim.lease_ends_at, seconds(ends))

    def _add_end(self, _client: str, at: float, kind: str, token: str, ids: list[int]) -> None:
        for task_id in ids:
            claim = self._must_find(task_id, token)
            claim.end_sent_at, claim.end = at, kind

    def _add_verdict(self, _client: str, _at: float, _kind: str, token: str, said: str, ids: list[int]) -> None:
        for task_id in ids:
            self._must_find(task_id, token).said = said

    def _add_cancel(self, _client: str, at: float, task_id: int) -> None:
        self.cancels[task_id].append(at)

    def _add_requeue(self, _client: str, at: float, task_id: int) -> None:
        self.requeues[task_id].append(at)

    def _add_done(self, _client: str, verb: str, _at: float, task_id: int, said: str) -> None:
        if verb == "cancel" and said == "cancelled":
            self.cancelled.add(task_id)

    def _add_odd(self, client: str, status: int, method: str, path: str, answer: str) -> None:
        self.odd.append(f"{client}: {method} {path}: {status} {answer}")

    def _must_find(self, task_id: int, token: str) -> Claim:
        claim = self.find(task_id, token)
        assert claim is not None, f"no claim of task {task_id} with token {token} was written down"
        return claim


@lru_cache(maxsize=1024)
def seconds(text: str) -> float:
    """Return an instant of the API as seconds since 1970."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
