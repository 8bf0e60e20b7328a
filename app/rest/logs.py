"""Logs: what a worker writes while it works, and who watches it."""

from typing import Any

from app.errors import ClaimedByAnother, LeaseLost, TaskNotClaimed, TaskNotFound
from app.queue.keys import Scope
from app.queue.logs import LogLine, add_logs, list_logs
from app.rest.contract import Answer, contract
from app.rest.representations import show_log_line
from app.rest.schemas import logs as schemas
from app.web.current import database


@contract(
    "write_task_logs",
    tag="Workers",
    scope=Scope.WORKER,
    body=schemas.NewLogs,
    answer=schemas.WrittenLogs,
    messages={200: "Log lines written successfully"},
    errors=(TaskNotFound, TaskNotClaimed, ClaimedByAnother, LeaseLost),
)
def write(task_id: int, body: dict[str, Any]) -> Answer:
    """Write lines into the task's log.

    Of each task the newest 1,000 lines are kept. Only the worker that has the task may write; this does not extend
    its lease.
    """
    lines = [LogLine(**line) for line in body.pop("lines")]
    database().write(lambda tx: add_logs(tx, task_id, **body, lines=lines), atomic=False)
    return Answer({"id": task_id, "count": len(lines)}, "Log lines written successfully")


@contract(
    "list_task_logs",
    tag="Tasks",
    scope=Scope.READ,
    query=schemas.LogQuery,
    answer=schemas.LogList,
    messages={200: "Log lines retrieved successfully"},
    errors=(TaskNotFound,),
)
def list_of_task(task_id: int, query: dict[str, Any]) -> Answer:
    """Read the log of a task, oldest line first.

    To follow it, ask again with `after_id` set to `next_after_id` of the answer before.
    """
    rows = database().read(lambda tx: list_logs(tx, task_id, **query))
    data = {
        "logs": [show_log_line(row) for row in rows],
        "count": len(rows),
        "next_after_id": rows[-1]["id"] if rows else query["after_id"],
    }
    return Answer(data, "Log lines retrieved successfully")
