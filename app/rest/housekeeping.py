"""Housekeeping over HTTP: for a web-cron, where nothing else calls the server for long."""

from typing import Any

from app.queue.keys import Scope
from app.rest.contract import Answer, contract
from app.rest.schemas.housekeeping import HousekeepingRequest, HousekeepingRound
from app.web.current import parts


@contract(
    "run_housekeeping",
    tag="Server",
    scope=Scope.WORKER,
    body=HousekeepingRequest,
    is_body_optional=True,
    answer=HousekeepingRound,
    messages={200: "Housekeeping done"},
)
def run(body: dict[str, Any]) -> Answer:
    """Do what is due: wake, expire and remove.

    The server does this beside ordinary requests; call it now and then where there are none. Where another process is
    doing it at this moment, nothing is done, which is no fault: `skipped` says so.
    """
    outcome = parts().housekeeping.run(budget_seconds=body["budget_seconds"])
    data = {
        "skipped": outcome.is_skipped,
        "jobs": [{"name": name, "changed": changed} for name, changed in outcome.changed.items()],
        "changed": outcome.total,
        "seconds": round(outcome.seconds, 6),
        "has_more": outcome.has_more,
    }
    return Answer(data, "Housekeeping done")
