"""One torture on MariaDB, from the first task to the last check."""

import random
import time
from pathlib import Path

from sqlalchemy import create_engine

from bench.torture.api import Api
from bench.torture.chaos import Chaos
from bench.torture.findings import Findings
from bench.torture.invariants import Checker
from bench.torture.ledger import Ledger
from bench.torture.logs import check_logs
from bench.torture.plan import DRAINING
from bench.torture.records import Records
from bench.torture.report import show_faults, show_invariants
from bench.torture.sampler import Sampler
from bench.torture.stage import Stage

_LINE_EVERY_SECONDS = 5
_SECONDS_TO_DRAIN = 120
_COMPARED = 300
_FEW = 20
# More than one look of the sampler lies between so many of ours.
_LOOKS = 20


def torture(stage: Stage, *, minutes: float, seed: int, pace: float) -> bool:
    """Let clients work under faults, let them finish in peace, check everything; True if all is well."""
    findings = Findings()
    chaos = Chaos(stage, random.Random(seed))
    sampler = Sampler(stage.connect, stage.board, findings)
    began = time.monotonic()
    try:
        _let_it_storm(stage, chaos, sampler, began, 60 * minutes, pace)
        chaos.end()
        stage.board.phase = DRAINING
        schedules_ended_at = _drain(stage, sampler, began)
    finally:
        sampler.end()
    worked_for = time.monotonic() - began
    findings.check("the queue drains", schedules_ended_at is not None, f"{sampler.waiting} tasks still wait")
    stage.end_clients()
    print("checking …", flush=True)
    checking_since = time.monotonic()
    ledger = Ledger().read(stage.folder / "journals")
    engine = create_engine(stage.url.replace("mysql://", "mysql+pymysql://"))
    checker = Checker(ledger, Records(engine), findings, schedules_ended_at=schedules_ended_at or 0)
    checker.run()
    _compare_with_api(stage, engine, ledger, findings)
    engine.dispose()
    check_logs(stage, findings)
    never = show_faults(chaos.counts, chaos.planned)
    show_invariants(findings)
    ended = sum(checker.ended.values())
    states = ", ".join(f"{number:,} {name}" for name, number in sorted(checker.ended.items()))
    print(f"seed {seed}: {ended:,} tasks in {worked_for:.0f} s, {ended / worked_for:.0f} per second ({states});")
    print(
        f"{chaos.kills} kills, {60 * chaos.kills / worked_for:.1f} per minute; {sum(chaos.counts.values()):,} faults in all; "
        f"checked in {time.monotonic() - checking_since:.0f} s"
    )
    for problem in (*(f"never happened: {name}" for name in never), *chaos.errors):
        print(f"the torture itself failed: {problem}")
    return findings.are_good and not never and not chaos.errors


def _let_it_storm(
    stage: Stage, chaos: Chaos, sampler: Sampler, began: float, seconds: float, pace: float
) -> None:
    chaos.begin()
    next_fault, next_line = began + 2, began
    while (now := time.monotonic()) < began + seconds:
        stage.watch()
        if now >= next_fault:
            chaos.draw()
            next_fault += pace
        if now >= next_line:
            _show_progress(stage, sampler, began, f"{chaos.kills} kills")
            next_line += _LINE_EVERY_SECONDS
        time.sleep(0.1)


def _drain(stage: Stage, sampler: Sampler, began: float) -> float | None:
    """Wait until every producer has been answered and nothing waits; return when the schedules were ended, if all did."""
    next_line = time.monotonic()
    give_up_at = next_line + _SECONDS_TO_DRAIN
    schedules_ended_at = None
    looks = 0
    while time.monotonic() < give_up_at:
        stage.watch()
        are_answered = not any(producer.is_running or producer.was_killed for producer in stage.producers)
        if schedules_ended_at is None and are_answered and sampler.waiting < _FEW:
            schedules_ended_at = _end_schedules(stage)
        looks = looks + 1 if schedules_ended_at is not None and sampler.waiting == 0 else 0
        if looks == _LOOKS:
            return schedules_ended_at
        if time.monotonic() >= next_line:
            _show_progress(stage, sampler, began, "draining")
            next_line += _LINE_EVERY_SECONDS
        time.sleep(0.1)
    return None


def _end_schedules(stage: Stage) -> float:
    """Let no schedule fire again. What each has fired, and what it would have fired next, stays in its row."""
    with stage.connect() as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE schedules SET due_at = NULL")
    return time.time()


def _show_progress(stage: Stage, sampler: Sampler, began: float, what: str) -> None:
    seconds = time.monotonic() - began
    created, ended = stage.board.totals()
    running = sum(program.is_running for program in stage.programs)
    print(
        f"{seconds:5.0f} s: {created:,} created, {ended:,} ended ({ended / max(seconds, 1):.0f} per second), "
        f"{sampler.waiting:,} wait; {running} of {len(stage.programs)} programs run; {what}",
        flush=True,
    )


def _compare_with_api(stage: Stage, engine: object, ledger: Ledger, findings: Findings) -> None:
    """Ask the API for some tasks: it must tell the results that workers sent."""
    api = Api(stage.proxied_ports, stage.keys["producer"], stage.journal)
    for task_id in random.sample(sorted(ledger.claims), min(_COMPARED, len(ledger.claims))):
        answer = api.insist("GET", f"/tasks/{task_id}", go_on=lambda: True)
        assert answer is not None
        if answer.status == 200 and answer.data["status"] != "completed":
            continue
        result = answer.data["result"] if answer.status == 200 else None
        claim = ledger.find(task_id, result["token"]) if result else None
        is_right = claim is not None and result["task"] == task_id and claim.end == "complete"
        findings.check("the API tells the results that were sent", is_right, f"task {task_id}: {answer.body}")
    api.close()
