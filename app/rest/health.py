"""The server's health, for load balancers and people."""

from typing import Any

from sqlalchemy import select

from app.errors import DatabaseUnavailable
from app.queue.backlog import read_backlog
from app.queue.duties import HOUSEKEEPING, read_duty
from app.queue.keys import Scope
from app.rest.contract import Answer, contract
from app.rest.fields import show_instant
from app.rest.representations import show_duty
from app.rest.schemas.health import Health, HealthQuery
from app.storage.database import Transaction
from app.storage.models import counters
from app.version import VERSION
from app.web.auth import require
from app.web.current import database, settings
from app.web.errors import KeyRefused, KeyRequired, ScopeMissing

AUTH_IS_OFF = "TASKMANAGER_AUTH is off: everybody who reaches this server may do everything."
# Reads a table of ours, so that a missing or unmigrated database is not called healthy.
_ASK = select(counters.c.value).limit(1)


@contract(
    "get_health",
    tag="Server",
    scope=None,
    query=HealthQuery,
    answer=Health,
    messages={200: "Service is healthy"},
    errors=(DatabaseUnavailable, KeyRequired, KeyRefused, ScopeMissing),
)
def health(query: dict[str, Any]) -> Answer:
    """Tell whether the server and its database work.

    With `verbose` it needs a key with the scope `admin`, and tells how housekeeping and the database are.
    """
    more: dict[str, Any] = {}
    if query["verbose"]:
        require(Scope.ADMIN)
        more = database().read(_describe)
    else:
        database().read(lambda tx: tx.one(_ASK))
    state = {"status": "healthy", "database": "connected"}
    data = {**state, "version": VERSION, "warnings": [] if settings().auth else [AUTH_IS_OFF], **more}
    return Answer(data, "Service is healthy", beside=state)


def _describe(tx: Transaction) -> dict[str, Any]:
    duty = show_duty(read_duty(tx, HOUSEKEEPING), tx.now)
    return {
        "housekeeping": {**duty, "backlog": read_backlog(tx)},
        "storage": {**database().describe(), "now": show_instant(tx.now)},
    }
