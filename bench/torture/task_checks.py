"""What must hold for each task: its row against its attempts and against what clients know of it."""

from itertools import combinations

from app.lifecycle import FINISHED, FailureReason, TaskStatus
from bench.torture.findings import Findings
from bench.torture.ledger import CLOCK_AHEAD, CLOCK_LATE, REFUSED, Ledger
from bench.torture.plan import TYPES
from bench.torture.records import Record


def check_task(record: Record, ledger: Ledger, findings: Findings, edges: list[tuple[int, str]]) -> None:
    """Check all that can be said of one task by itself."""
    status = TaskStatus(record.status)
    findings.check("every task has ended", status in FINISHED, f"task {record.id} is {status.word}")
    _check_result(record, ledger, findings)
    _check_claims(record, ledger, findings)
    _check_attempts(record, ledger, findings)
    _check_end(record, ledger, findings, edges)


def _check_result(record: Record, ledger: Ledger, findings: Findings) -> None:
    is_completed = record.status == TaskStatus.COMPLETED
    if is_completed:
        own = {"task": record.id, "token": record.token, "by": record.claimed_by}
        findings.check("a result is that of the live claim", record.result == own, f"{own} has {record.result}")
        claim = ledger.find(record.id, str(record.token))
        is_known = claim is not None and claim.end == "complete" and claim.worker == record.claimed_by
        findings.check("a result was sent by a worker", is_known, f"task {record.id}, token {record.token}: {claim}")
    for claim in ledger.claims.get(record.id, ()):
        if claim.end != "complete" or claim.said is None:
            continue
        stands = is_completed and record.token == claim.token
        if claim.said in REFUSED:
            findings.check("a refused result is not applied", not stands, f"task {record.id}: {claim}")
        else:
            findings.check(
                "an acknowledged result stands", stands and claim.said == "completed", f"{record} against {claim}"
            )


def _check_claims(record: Record, ledger: Ledger, findings: Findings) -> None:
    claims = ledger.claims.get(record.id, [])
    withdrawn = ledger.withdrawn(record.id)
    held = [claim.surely_held(withdrawn) for claim in claims]
    for claim in claims:
        is_true = claim.asked_at - CLOCK_LATE <= claim.claimed_at <= claim.told_at + CLOCK_AHEAD
        findings.check("the database's clock rules", is_true, f"task {record.id}: {claim}")
    # Answers may be late, so the order in which claims were told is not the one in which they were made.
    for (one, of_one), (another, of_another) in combinations(zip(claims, held, strict=True), 2):
        are_apart = of_one[1] <= of_another[0] or of_another[1] <= of_one[0]
        findings.check("no two live leases", are_apart, f"task {record.id}: {one} and {another}")


def _check_attempts(record: Record, ledger: Ledger, findings: Findings) -> None:
    outcomes = {attempt.token: attempt.outcome for attempt in record.tries}
    findings.check(
        "each attempt ends once",
        len(outcomes) == len(record.tries),
        f"task {record.id} has attempts with equal tokens: {record.tries}",
    )
    for claim in ledger.claims.get(record.id, ()):
        if claim.end in ("fail", "give_up", "release") and claim.said is not None and claim.said not in REFUSED:
            expected = ("released",) if claim.end == "release" else ("failed", "expired")
            findings.check(
                "an acknowledged failure or release stands",
                outcomes.get(claim.token) in expected,
                f"task {record.id}: {claim}, its attempts: {record.tries}",
            )
    if record.id in ledger.requeues:
        # A person has given it new attempts.
        return
    counted = [attempt for attempt in record.tries if attempt.outcome != "released"]
    numbers = [attempt.number for attempt in counted]
    last = record.token is not None and record.token not in outcomes
    findings.check(
        "attempts add up",
        record.attempts == len(counted) + last <= record.max_attempts and numbers == list(range(1, len(numbers) + 1)),
        f"{record}",
    )
    for claim in ledger.claims.get(record.id, ()):
        is_known = claim.token in outcomes or claim.token == record.token
        findings.check("every claim is in the history", is_known, f"task {record.id}: {claim} is not in {record.tries}")


def _check_end(record: Record, ledger: Ledger, findings: Findings, edges: list[tuple[int, str]]) -> None:
    tokens = {attempt.token for attempt in record.tries if attempt.outcome == "failed"}
    if record.status == TaskStatus.CANCELLED:
        is_meant = record.id in ledger.cancels or any(on_failure == "cancel" for _, on_failure in edges)
    elif record.status != TaskStatus.FAILED:
        return
    elif record.failure_reason == FailureReason.DEPENDENCY_FAILED:
        is_meant = any(on_failure == "fail" for _, on_failure in edges)
    elif record.failure_reason == FailureReason.NOT_RETRYABLE:
        is_meant = any(claim.end == "give_up" and claim.token in tokens for claim in ledger.claims.get(record.id, ()))
    else:
        is_meant = record.attempts >= record.max_attempts
    findings.check("who failed or was cancelled had a reason", is_meant, f"{record}")
    if record.status == TaskStatus.FAILED:
        is_kept = record.max_attempts == TYPES[record.kind]["max_attempts"]
        findings.check("who failed or was cancelled had a reason", is_kept, f"{record}")
