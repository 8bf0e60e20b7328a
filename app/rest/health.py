"""The server's health, for load balancers and people."""

from flask import Blueprint
from sqlalchemy import select

from app.errors import DatabaseUnavailable
from app.rest.contract import Answer, contract
from app.rest.schemas.health import Health
from app.storage.models import counters
from app.version import VERSION
from app.web.current import database, settings

blueprint = Blueprint("health", __name__, url_prefix="/health")
AUTH_IS_OFF = "TASKMANAGER_AUTH is off: everybody who reaches this server may do everything."
# Reads a table of ours, so that a missing or unmigrated database is not called healthy.
_ASK = select(counters.c.value).limit(1)


@blueprint.get("")
@contract(
    "get_health",
    tag="Server",
    scope=None,
    answer=Health,
    messages={200: "Service is healthy"},
    errors=(DatabaseUnavailable,),
)
def health() -> Answer:
    """Tell whether the server and its database work."""
    database().read(lambda tx: tx.one(_ASK))
    state = {"status": "healthy", "database": "connected"}
    data = {**state, "version": VERSION, "warnings": [] if settings().auth else [AUTH_IS_OFF]}
    return Answer(data, "Service is healthy", beside=state)
