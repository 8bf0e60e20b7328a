"""Long polls: a request that waits for the end of a task, without holding a database connection."""

import time
from contextlib import suppress

from app.errors import QueueError
from app.queue.waiting import give_slot_back, may_still_end, take_slot
from app.storage.database import Database

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
_GROWTH = 1.5


def wait_for_end(database: Database, task_id: int, *, seconds: float, slots: int) -> bool:
    """Return as soon as the task is finished, or after so many seconds.

    Returns False at once if it is not finished and all slots for waiting are taken, or there are none.
    """
    end = time.monotonic() + seconds
    if not database.read(lambda tx: may_still_end(tx, task_id)):
        return True
    slot = database.write(lambda tx: take_slot(tx, slots=slots, seconds=seconds), atomic=False) if seconds > 0 else None
    if slot is None:
        return False
    try:
        pause = _FIRST_PAUSE_SECONDS
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            if not database.read(lambda tx: may_still_end(tx, task_id)):
                break
            pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
    finally:
        # Where that fails, the slot comes free by itself.
        with suppress(QueueError):
            database.write(lambda tx: give_slot_back(tx, *slot), atomic=False)
    return True
