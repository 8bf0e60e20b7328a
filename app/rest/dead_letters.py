"""Dead letters over HTTP: looked through, requeued, purged."""

from typing import Any

from app.errors import InvalidCursor, NotADeadLetter, TaskNotFound, TryAgain
from app.queue.dead_letters import count_dead_letters, list_dead_letters, purge_dead_letter
from app.queue.filters import TaskFilter
from app.queue.keys import Scope
from app.queue.operations import PURGE, REQUEUE
from app.rest.contract import Answer, contract
from app.rest.operations import BEGUN, begin
from app.rest.paging import make_rank_cursor, read_rank_cursor
from app.rest.representations import show_cause, show_task
from app.rest.schemas import dead_letters as schemas
from app.rest.schemas.operations import Operation
from app.web.auth import actor
from app.web.current import database

TAG = "Dead letters"


@contract(
    "list_dead_letters",
    tag=TAG,
    scope=Scope.READ,
    query=schemas.DeadLetterQuery,
    answer=schemas.DeadLetterList,
    messages={200: "Dead letters retrieved successfully"},
    errors=(InvalidCursor,),
)
def list_all(query: dict[str, Any]) -> Answer:
    """List dead letters, the latest first.

    A page with a filter looks at 5,000 dead letters at most: it may be short, and `next_cursor` then goes on.
    """
    limit, cursor = query.pop("limit"), query.pop("cursor", None)
    below = read_rank_cursor(cursor)
    page, next_below = database().read(lambda tx: list_dead_letters(tx, TaskFilter(**query), limit=limit, below=below))
    data = {
        "dead_letters": [show_task(row) for row in page],
        "count": len(page),
        "limit": limit,
        "next_cursor": make_rank_cursor(next_below),
    }
    return Answer(data, "Dead letters retrieved successfully")


@contract(
    "count_dead_letters",
    tag=TAG,
    scope=Scope.READ,
    query=schemas.SummaryQuery,
    answer=schemas.Summary,
    messages={200: "Dead letters counted successfully"},
)
def count(query: dict[str, Any]) -> Answer:
    """Count the dead letters by what they died of.

    That is their type, their reason and the first line of their error.
    """
    causes, is_complete = database().read(lambda tx: count_dead_letters(tx, TaskFilter(**query)))
    data = {
        "causes": [show_cause(cause) for cause in causes],
        "count": sum(cause.count for cause in causes),
        "is_complete": is_complete,
    }
    return Answer(data, "Dead letters counted successfully")


@contract(
    "requeue_dead_letters",
    tag=TAG,
    scope=Scope.ADMIN,
    body=schemas.RequeuedDeadLetters,
    answer=Operation,
    messages=BEGUN,
)
def requeue(body: dict[str, Any]) -> Answer:
    """Requeue all dead letters that fit a filter.

    Those that died before the request, in slices: what can be done within half a second is done at once (200), the
    rest goes on beside other requests (202).
    """
    return begin(REQUEUE, schemas.RequeuedDeadLetters.which(body), body.get("extra_attempts"))


@contract(
    "purge_dead_letters",
    tag=TAG,
    scope=Scope.ADMIN,
    body=schemas.DeadLetterSelection,
    answer=Operation,
    messages=BEGUN,
)
def purge(body: dict[str, Any]) -> Answer:
    """Remove all dead letters that fit a filter, for ever.

    Goes on in slices, as requeueing does. What was created within the last minute goes a minute later.
    """
    return begin(PURGE, schemas.DeadLetterSelection.which(body))


@contract(
    "purge_dead_letter",
    tag=TAG,
    scope=Scope.ADMIN,
    answer=schemas.PurgedTask,
    messages={200: "Dead letter purged successfully"},
    errors=(TaskNotFound, NotADeadLetter, TryAgain),
)
def purge_one(task_id: int) -> Answer:
    """Remove a dead letter, for ever."""
    is_removed = database().write(lambda tx: purge_dead_letter(tx, task_id, actor()), atomic=False)
    return Answer({"id": task_id, "is_removed": is_removed}, "Dead letter purged successfully")
