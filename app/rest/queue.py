"""The whole queue over HTTP: paused, resumed, drained."""

from typing import Any

from app.queue.keys import Scope
from app.queue.signals import Signals, change_queue, read_signals
from app.rest.contract import Answer, contract
from app.rest.schemas import queue as schemas
from app.web.auth import actor
from app.web.current import database

TAG = "Server"


@contract(
    "get_queue",
    tag=TAG,
    scope=Scope.READ,
    answer=schemas.Queue,
    messages={200: "Queue retrieved successfully"},
)
def get_queue() -> Answer:
    """Tell whether the whole queue is paused or draining."""
    return Answer(_show(database().read(read_signals)), "Queue retrieved successfully")


@contract(
    "change_queue",
    tag=TAG,
    scope=Scope.ADMIN,
    body=schemas.QueueChange,
    answer=schemas.Queue,
    messages={200: "Queue updated successfully"},
)
def change(body: dict[str, Any]) -> Answer:
    """Pause, resume or drain the whole queue; what is left out stays.

    Tasks that are being worked on go on, and their workers are told. Other server processes follow within
    `TASKMANAGER_CACHE_SECONDS`, this one at once. `PATCH /api/task-types/{name}` pauses and drains a single type.
    """
    signals = database().write(lambda tx: change_queue(tx, body, actor()))
    database().cache.clear()
    return Answer(_show(signals), "Queue updated successfully")


def _show(signals: Signals) -> dict[str, Any]:
    return {"is_paused": signals.is_paused, "is_draining": signals.is_draining}
