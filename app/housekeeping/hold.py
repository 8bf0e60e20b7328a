"""The hold of housekeeping: taken for one round, extended while it goes on."""

import time
from secrets import token_hex

from app.queue.duties import HOLD, HOUSEKEEPING, extend_hold, release_duty, take_duty
from app.storage.database import Database

# Long before its end, so that a slice has the time it needs.
_EXTENDED_AFTER_SECONDS = HOLD.total_seconds() / 3


class Hold:
    """One round's right to be the only one, which the database grants and ends by its own clock."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holder = token_hex(16)
        self._extended_at = 0.0

    def take(self) -> bool:
        """Become the holder and tell whether that succeeded."""
        self._extended_at = time.monotonic()
        return self._database.write(lambda tx: take_duty(tx, HOUSEKEEPING, self._holder), atomic=False)

    def keep(self) -> bool:
        """Extend the hold if it is time for that; tell whether it is still ours."""
        moment = time.monotonic()
        if moment - self._extended_at < _EXTENDED_AFTER_SECONDS:
            return True
        self._extended_at = moment
        return self._database.write(lambda tx: extend_hold(tx, HOUSEKEEPING, self._holder), atomic=False)

    def release(self, *, seconds: float, changed: int) -> None:
        """Write down how the round went and let others do the next."""
        self._database.write(
            lambda tx: release_duty(tx, HOUSEKEEPING, self._holder, seconds=seconds, changed=changed), atomic=False
        )
