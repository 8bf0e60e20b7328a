"""Catch-up: which instants of a due schedule become tasks now, and which are passed over. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile

from app.queue.schedules import MAX_CATCH_UP, jittered, timetable_of
from app.storage.database import Row

# Later than this an instant was missed, and the schedule's `catch_up` says what becomes of it.
ON_TIME = timedelta(seconds=60)
# However long nobody came by: the latest that may be caught up, and those in time, one a second at most.
_LOOKED_AT = MAX_CATCH_UP + int(ON_TIME.total_seconds()) + 1


@dataclass(frozen=True, slots=True)
class Firing:
    """What is to be done about a schedule now."""

    #: The instants that ask for a task, oldest first, and how many older ones do not.
    instants: list[datetime]
    passed_over: int
    last_at: datetime | None
    next_at: datetime | None
    #: The instant after the next one, which bounds its jitter.
    following: datetime | None


def plan_firing(schedule: Row, now: datetime, most: int) -> Firing:
    """Decide what becomes of a due schedule; at most so many instants at a time, if each makes a task.

    Those that came in time are fired, and of those that were missed as many of the latest as `catch_up` says. One
    that is in time makes up for the missed ones where one task is enough.
    """
    timetable = timetable_of(schedule)
    past = takewhile(lambda at: at >= schedule["next_at"], timetable.until(now))
    due = [*islice(past, _LOOKED_AT)][::-1]
    ahead = [*islice(timetable.after(now), 2)]
    if due and jittered(schedule, due[-1], ahead[0] if ahead else None) > now:
        ahead.insert(0, due.pop())
    followed_by = [*due[1:], *ahead[:1], None]
    in_time = sum(
        now - jittered(schedule, at, following) <= ON_TIME for at, following in zip(due, followed_by, strict=False)
    )
    missed = len(due) - in_time
    caught_up = {
        "none": 0,
        "one": min(missed, 1) if in_time == 0 else 0,
        "all": min(missed, schedule["catch_up_limit"]),
    }[schedule["catch_up"]]
    passed_over = missed - caught_up
    # All but one of the instants of other schedules make no task, so these are no work.
    end = passed_over + most if schedule["overlap"] == "queue" else len(due)
    done, left = due[:end], [*due[end:], *ahead, None, None]
    return Firing(
        instants=done[passed_over:],
        passed_over=passed_over,
        last_at=done[-1] if done else schedule["last_at"],
        next_at=left[0],
        following=left[1],
    )
