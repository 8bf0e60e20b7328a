"""The audit log over HTTP."""

from typing import Any

from app.errors import InvalidCursor
from app.queue.audit import list_audit
from app.queue.keys import Scope
from app.rest.contract import Answer, contract
from app.rest.paging import make_cursor, read_cursor
from app.rest.representations import show_audit_entry
from app.rest.schemas import audit as schemas
from app.web.current import database


@contract(
    "list_audit_entries",
    tag="Audit",
    scope=Scope.ADMIN,
    query=schemas.AuditQuery,
    answer=schemas.AuditList,
    messages={200: "Audit entries retrieved successfully"},
    errors=(InvalidCursor,),
)
def list_all(query: dict[str, Any]) -> Answer:
    """List who changed what, newest first.

    An entry is written in the transaction of its change, so there is neither without the other. It is removed after
    `TASKMANAGER_AUDIT_SECONDS`.
    """
    cursor = query.pop("cursor", None)
    below_id = read_cursor(cursor)
    page, next_below_id = database().read(lambda tx: list_audit(tx, below_id=below_id, **query))
    data = {
        "entries": [show_audit_entry(row) for row in page],
        "count": len(page),
        "limit": query["limit"],
        "next_cursor": make_cursor(next_below_id),
    }
    return Answer(data, "Audit entries retrieved successfully")
