"""What workers call for many tasks at once: claim, complete, exchange."""

from typing import Any

from app.errors import QueueError, TaskTypeNotFound
from app.lifecycle import WAITING, TaskStatus
from app.queue.keys import Scope
from app.queue.report_batch import Report, Verdict, apply_reports
from app.queue.signals import find_signals
from app.queue.take import ClaimOrder
from app.rest.claiming import Claimed, claim_now, claim_what_is_due, note_claim, read_order, wanted_types
from app.rest.claiming import claim as claim_next
from app.rest.claims import TAG
from app.rest.contract import Answer, contract
from app.rest.problems import show_refusal
from app.rest.representations import show_claimed
from app.rest.schemas import batches as schemas
from app.storage.database import Transaction
from app.web.current import database

_CLAIMED, _NONE = "Tasks claimed successfully", "No available tasks"


@contract(
    "claim_tasks",
    tag=TAG,
    scope=Scope.WORKER,
    body=schemas.BatchClaimRequest,
    answer=schemas.ClaimedTasks,
    messages={200: _CLAIMED},
    errors=(TaskTypeNotFound,),
)
def claim(body: dict[str, Any]) -> Answer:
    """Claim several tasks.

    All that a claim can say of one task holds for each. With none to be had the list is empty: ask again after
    `Retry-After` seconds. There may be fewer than asked for, also because their parameters together are large.
    """
    order = read_order(body["worker_id"], body)
    claimed = claim_now(body, order, body["max_tasks"])
    message = _CLAIMED if claimed.tasks else _NONE
    return Answer(_show(claimed, order.worker_id), message, headers=_retry_after(body, order, claimed))


@contract(
    "complete_tasks",
    tag=TAG,
    scope=Scope.WORKER,
    body=schemas.BatchCompletionRequest,
    answer=schemas.Verdicts,
    messages={200: "Results received"},
)
def complete(body: dict[str, Any]) -> Answer:
    """Report how several attempts ended.

    Each report gets the verdict that it would get alone, in the order of the request; one that is refused does not
    hurt the others. Sending the same again with the same tokens changes nothing and gets the same verdicts.
    """
    reports = [_read(item) for item in body["results"]]
    verdicts = database().write(lambda tx: _apply(tx, body["worker_id"], reports), atomic=False)
    return Answer(_judge(reports, verdicts), "Results received")


@contract(
    "exchange_tasks",
    tag=TAG,
    scope=Scope.WORKER,
    body=schemas.ExchangeRequest,
    answer=schemas.Exchanged,
    messages={200: "Results received, tasks claimed"},
    errors=(TaskTypeNotFound,),
)
def exchange(body: dict[str, Any]) -> Answer:
    """Report how several attempts ended, and claim the next tasks.

    First the types of the claim are looked up, so that a mistake there changes nothing; then the reports are applied,
    so that they make room under a limit; then tasks are claimed. When the answer is lost, send the same again: the
    reports get the same verdicts, and tasks that were claimed for the lost answer come back when their leases end.
    """
    reports = [_read(item) for item in body["results"]]
    asked = body["claim"]
    worker_id = body["worker_id"]

    def report(tx: Transaction) -> tuple[list[Verdict], Claimed]:
        return _apply(tx, worker_id, reports), Claimed([], [], find_signals(tx))

    if asked is None:
        verdicts, claimed = database().write(report, atomic=False)
        return Answer({**_judge(reports, verdicts), **_show(claimed, worker_id)}, "Results received")
    order, max_tasks = read_order(worker_id, asked), asked["max_tasks"]

    def report_and_claim(tx: Transaction) -> tuple[list[Verdict], Claimed]:
        wanted_types(tx, asked)
        return _apply(tx, worker_id, reports), claim_next(tx, asked, order, max_tasks)

    verdicts, claimed = database().write(report_and_claim, atomic=False)
    claimed = claim_what_is_due(claimed, asked, order, max_tasks)
    data = {**_judge(reports, verdicts), **_show(claimed, worker_id)}
    return Answer(data, "Results received", headers=_retry_after(asked, order, claimed))


def _read(item: dict[str, Any] | QueueError) -> Report | QueueError:
    if isinstance(item, QueueError):
        return item
    return Report(task_id=item.pop("id"), is_success=item.pop("success"), **item)


def _apply(tx: Transaction, worker_id: str, reports: list[Report | QueueError]) -> list[Verdict]:
    verdicts = iter(apply_reports(tx, worker_id, [report for report in reports if isinstance(report, Report)]))
    return [next(verdicts) if isinstance(report, Report) else report for report in reports]


def _judge(reports: list[Report | QueueError], verdicts: list[Verdict]) -> dict[str, Any]:
    shown = [_show_verdict(report, verdict) for report, verdict in zip(reports, verdicts, strict=True)]
    return {"results": shown, "refused": sum(not verdict["success"] for verdict in shown)}


def _show_verdict(report: Report | QueueError, verdict: Verdict) -> dict[str, Any]:
    task_id = report.task_id if isinstance(report, Report) else None
    if isinstance(verdict, TaskStatus):
        return {"id": task_id, "success": True, "status": verdict.word, "will_retry": verdict in WAITING}
    refusal = show_refusal(verdict)
    # Beside the word for the state of the task, the number of HTTP would confuse.
    del refusal["status"]
    return {"id": task_id, "success": False, **refusal}


def _show(claimed: Claimed, worker_id: str) -> dict[str, Any]:
    return {
        "tasks": [show_claimed(task) for task in claimed.tasks],
        "count": len(claimed.tasks),
        "command": claimed.signals.commands.get(worker_id),
    }


def _retry_after(asked: dict[str, Any], order: ClaimOrder, claimed: Claimed) -> dict[str, str]:
    wait = note_claim(asked, order, claimed)
    return {} if claimed.tasks else {"Retry-After": str(wait)}
