"""All checks after a run: each task, what belongs together by its key, limits, dependents, schedules."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Protocol

from app.lifecycle import TaskStatus
from bench.torture.findings import Findings
from bench.torture.ledger import Ledger, seconds
from bench.torture.limit_checks import check_concurrency, check_rate
from bench.torture.plan import TYPES
from bench.torture.records import Record, Schedule
from bench.torture.task_checks import check_task

# How late schedules may be when no faults are injected any more.
_MOSTLY_ON_TIME_SECONDS = 5


class Tables(Protocol):
    """What the checks need of the database."""

    edges: dict[int, list[tuple[int, str]]]
    schedules: list[Schedule]

    def tasks(self) -> Iterable[Record]:
        """Yield all tasks."""


class Checker:
    """Goes through all tasks once, and remembers what the checks across tasks need."""

    def __init__(self, ledger: Ledger, tables: Tables, findings: Findings, *, schedules_ended_at: float) -> None:
        self._ledger = ledger
        self._tables = tables
        self._findings = findings
        self._schedules_ended_at = schedules_ended_at
        self._parents = {parent for edges in tables.edges.values() for parent, _ in edges}
        self._ends_of_parents: dict[int, float] = {}
        self._died_first: set[int] = set()
        self._of_key: dict[str, dict[int, int]] = defaultdict(dict)
        self._of_dedupe_key: dict[str, int] = {}
        self._fired: dict[int, Counter[float]] = defaultdict(Counter)
        self._held: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._rated: list[float] = []
        self.ended: Counter[str] = Counter()
        self._ids: set[int] = set()

    def run(self) -> None:
        for record in self._tables.tasks():
            self._ids.add(record.id)
            self.ended[TaskStatus(record.status).word] += 1
            check_task(record, self._ledger, self._findings, self._tables.edges.get(record.id, []))
            self._note_origin(record)
            self._note_claims(record)
            if record.id in self._parents and record.status == TaskStatus.COMPLETED:
                self._note_parent(record)
        self._check_creates()
        self._check_dependents()
        self._check_limits()
        self._check_schedules()
        for text in self._ledger.odd:
            self._findings.check("no answer of 500, none that is wrong", False, text)
        for text in self._ledger.strange:
            self._findings.check("one Idempotency-Key, one answer", False, text)

    # Where tasks come from

    def _note_origin(self, record: Record) -> None:
        if "schedule_id" in record.extras:
            self._fired[record.extras["schedule_id"]][seconds(record.extras["scheduled_for"])] += 1
            return
        if record.dedupe_key is not None:
            is_first = self._of_dedupe_key.setdefault(record.dedupe_key, record.id) == record.id
            self._findings.check("one dedupe_key, one task", is_first, f"task {record.id}: {record.dedupe_key}")
            return
        key, place = record.params.get("key"), record.params.get("place")
        is_known = key in self._ledger.creates
        self._findings.check("every task was asked for", is_known, f"task {record.id}: {record.params}")
        if is_known:
            first = self._of_key[key].setdefault(place, record.id)
            self._findings.check(
                "one Idempotency-Key, one task", first == record.id, f"tasks {first} and {record.id}: {record.params}"
            )

    def _check_creates(self) -> None:
        for key, create in self._ledger.creates.items():
            if create.dedupe_key is not None:
                found = [self._of_dedupe_key[create.dedupe_key]] if create.dedupe_key in self._of_dedupe_key else []
            else:
                found = [task_id for _, task_id in sorted(self._of_key.get(key, {}).items())]
            if create.ids is None:
                is_whole = len(found) in (0, create.number)
                self._findings.check("a create is whole", is_whole, f"{key}: {found} of {create.number}")
                continue
            lost = set(create.ids) - self._ids
            self._findings.check("no acknowledged task is lost", not lost, f"{key}: {lost}", number=len(create.ids))
            self._findings.check(
                "a create is whole", sorted(found) == sorted(create.ids), f"{key}: told {create.ids}, made {found}"
            )

    # Dependents

    def _note_parent(self, record: Record) -> None:
        claim = self._ledger.find(record.id, str(record.token))
        if claim is not None and claim.end_sent_at is not None and record.id not in self._ledger.requeues:
            self._ends_of_parents[record.id] = claim.end_sent_at
        # Its last worker completed it after it had died of time, and what runs anyway did not wait for that.
        if any(attempt.token == record.token and attempt.number >= record.max_attempts for attempt in record.tries):
            self._died_first.add(record.id)

    def _check_dependents(self) -> None:
        for child, edges in self._tables.edges.items():
            claims = self._ledger.claims.get(child)
            if not claims:
                continue
            first = min(claim.told_at for claim in claims)
            for parent, on_failure in edges:
                end = self._ends_of_parents.get(parent)
                has_died_first = on_failure == "run_anyway" and parent in self._died_first
                if end is not None and not has_died_first:
                    self._findings.check(
                        "no dependent before its task", end <= first, f"task {child} was claimed before {parent} ended"
                    )

    # Limits

    def _note_claims(self, record: Record) -> None:
        policies = TYPES[record.kind]
        if "rate_limit" in policies:
            self._rated += [attempt.claimed_at for attempt in record.tries]
            tokens = {attempt.token for attempt in record.tries}
            if record.claimed_at is not None and record.token is not None and record.token not in tokens:
                self._rated.append(record.claimed_at)
        if "max_concurrency" in policies or "key_max_concurrency" in policies:
            name = f"{record.kind} {record.extras.get('concurrency_key', '')}"
            withdrawn = self._ledger.withdrawn(record.id)
            self._held[name] += [claim.surely_held(withdrawn) for claim in self._ledger.claims.get(record.id, ())]

    def _check_limits(self) -> None:
        for name, intervals in self._held.items():
            policies = TYPES[name.split()[0]]
            limit = policies.get("max_concurrency") or policies["key_max_concurrency"]
            check_concurrency(name, intervals, limit, self._findings)
        check_rate(self._rated, TYPES["rated"]["rate_limit"], self._findings)

    # Schedules

    def _check_schedules(self) -> None:
        name = "one task for each instant of a schedule"
        for schedule in self._tables.schedules:
            fired = self._fired.get(schedule.id, Counter())
            expected = set()
            at = schedule.starts_at
            while at < schedule.next_at - 0.001:
                expected.add(at)
                at += schedule.interval_seconds
            for instant in sorted(expected | set(fired)):
                number, wanted = fired[instant], int(instant in expected)
                self._findings.check(name, number == wanted, f"schedule {schedule.id} at {instant}: {number} tasks")
            counts = (schedule.created_count, schedule.skipped_count)
            self._findings.check(name, counts == (fired.total(), 0), f"schedule {schedule.id} counted {counts}")
            is_up_to_date = schedule.next_at > self._schedules_ended_at - _MOSTLY_ON_TIME_SECONDS
            self._findings.check(name, is_up_to_date, f"schedule {schedule.id} stopped before {schedule.next_at}")
