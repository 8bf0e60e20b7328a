"""Workers over HTTP: who they are, what they do, and what they are told."""

from typing import Any

from app.errors import InvalidCursor, TaskTypeNotFound, WorkerNotFound
from app.queue.keys import Scope
from app.queue.task_types import find_type
from app.queue.workers import command_all_workers, command_worker, list_workers, read_worker
from app.rest.contract import Answer, contract
from app.rest.names import whichever_exists
from app.rest.paging import make_name_cursor, read_name_cursor
from app.rest.representations import show_worker
from app.rest.schemas import workers as schemas
from app.storage.database import Row, Transaction
from app.web.auth import actor
from app.web.current import database, settings

TAG = "Workers"
_ALIVE_SECONDS = 60


@contract(
    "list_workers",
    tag=TAG,
    scope=Scope.READ,
    query=schemas.WorkerQuery,
    answer=schemas.WorkerList,
    messages={200: "Workers retrieved successfully"},
    errors=(TaskTypeNotFound, InvalidCursor),
)
def list_all(query: dict[str, Any]) -> Answer:
    """List the workers.

    These are all that were heard of within the last seven days, in the order of their ids.
    """
    after = read_name_cursor(query.get("cursor"))

    def work(tx: Transaction) -> tuple[list[Row], str | None]:
        type_id = find_type(tx, query["type"]).id if "type" in query else None
        return list_workers(
            tx,
            limit=query["limit"],
            alive_seconds=_alive_seconds(),
            after=after,
            type_id=type_id,
            seen_within_seconds=query.get("seen_within_seconds"),
        )

    page, next_after = database().read(work)
    data = {
        "workers": [show_worker(row) for row in page],
        "count": len(page),
        "next_cursor": make_name_cursor(next_after),
    }
    return Answer(data, "Workers retrieved successfully")


@contract(
    "get_worker",
    tag=TAG,
    scope=Scope.READ,
    answer=schemas.Worker,
    messages={200: "Worker retrieved successfully"},
    errors=(WorkerNotFound,),
)
def get_worker(worker: str) -> Answer:
    """Read a worker by its id."""
    return Answer(show_worker(whichever_exists(worker, _read)), "Worker retrieved successfully")


@contract(
    "command_worker",
    tag=TAG,
    scope=Scope.ADMIN,
    body=schemas.WorkerCommand,
    answer=schemas.Worker,
    messages={200: "Worker commanded successfully"},
    errors=(WorkerNotFound,),
)
def command(worker: str, body: dict[str, Any]) -> Answer:
    """Tell a worker to be quiet or to terminate, or take that back.

    It gets no tasks from now on, and hears the command with its next claim, heartbeat or progress. The command stays
    until it is taken back: a program that starts again under the same id is still commanded.
    """
    database().write(lambda tx: command_worker(tx, worker, body["command"], actor()))
    database().cache.clear()
    return Answer(show_worker(_read(worker)), "Worker commanded successfully")


@contract(
    "command_all_workers",
    tag=TAG,
    scope=Scope.ADMIN,
    body=schemas.WorkerCommand,
    answer=schemas.CommandedWorkers,
    messages={200: "Workers commanded successfully"},
)
def command_all(body: dict[str, Any]) -> Answer:
    """Command all workers that are known now.

    Each is told what a command to it alone would tell it, or with null has its command taken back. Workers that come
    later are not meant.
    """
    told = command_all_workers(database(), body["command"], actor())
    database().cache.clear()
    return Answer({"command": body["command"], "count": told}, "Workers commanded successfully")


def _read(worker: str) -> Row:
    return database().read(lambda tx: read_worker(tx, worker, alive_seconds=_alive_seconds()))


def _alive_seconds() -> int:
    return _ALIVE_SECONDS + settings().poll_max_seconds
