"""The entry for granian on a host with a wrong wall clock: `time.time` and `datetime` are shifted before all else.

Each process draws a shift of its own; the one that is right is among them. It is in the log.
"""

import datetime as datetimes
import random
import sys
import time

_SHIFTS = (-7 * 3600, -90, 0, 0, 45, 5 * 3600, 40 * 86400)

_shift = random.SystemRandom().choice(_SHIFTS)
_real_time, _real_datetime = time.time, datetimes.datetime


class _Kind(type(_real_datetime)):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _real_datetime)


class _Shifted(_real_datetime, metaclass=_Kind):
    @classmethod
    def now(cls, tz: datetimes.tzinfo | None = None) -> datetimes.datetime:
        return _real_datetime.fromtimestamp(_real_time() + _shift, tz)

    @classmethod
    def utcnow(cls) -> datetimes.datetime:
        return cls.now(datetimes.timezone.utc).replace(tzinfo=None)


time.time = lambda: _real_time() + _shift
datetimes.datetime = _Shifted
print(f"the wall clock is shifted by {_shift} s", file=sys.stderr, flush=True)

from rsgi import application  # noqa: E402, F401
