"""Timetables: a cron expression in a time zone, or an interval, as instants. Pure.

cronsim only finds times on a clock that is never set; which instants these are, or that there is none, is decided
here. Its own handling of zones loses the first times after a change of half an hour, as Lord Howe Island has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import cache

from app.errors import InvalidSchedule
from app.storage.columns import UTC

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
# No clock is set back by more than this.
_SETBACK = timedelta(hours=3)
_CRON_FIELDS = 5
FORWARD, BACK = 1, -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """The instants of a schedule: those of `cron` in `timezone`, or every `interval_seconds` from `anchor` on."""

    cron: str | None
    interval_seconds: int | None
    timezone: str
    anchor: datetime
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the instants later than this one, the earliest first. Raises InvalidSchedule, as `check` does."""
        at: datetime | None = instant
        if self.starts_at is not None:
            at = max(instant, self.starts_at - timedelta.resolution)
        while at is not None:
            at = self._find(at, FORWARD)
            if at is None or (self.ends_at is not None and at > self.ends_at):
                return
            yield at

    def until(self, instant: datetime) -> Iterator[datetime]:
        """Yield the instants up to this one, the latest first. Raises InvalidSchedule, as `check` does."""
        at: datetime | None = (instant if self.ends_at is None else min(instant, self.ends_at)) + timedelta.resolution
        while at is not None:
            at = self._find(at, BACK)
            if at is None or (self.starts_at is not None and at < self.starts_at):
                return
            yield at

    def check(self, after: datetime) -> None:
        """Raise InvalidSchedule, with the field to blame, if this is no timetable or nothing in it comes after."""
        if self.timezone not in _zone_names():
            raise _refusal("timezone", f"There is no time zone `{self.timezone}`; names look like `Europe/Berlin`.")
        if self.cron is not None and len(self.cron.split()) != _CRON_FIELDS:
            raise _refusal("cron", "Must have five fields: minute, hour, day of month, month, day of week.")
        if self.starts_at is not None and self.ends_at is not None and self.ends_at < self.starts_at:
            raise _refusal("ends_at", "Must not be before `starts_at`.")
        if next(self.after(after), None) is None:
            if self.ends_at is not None:
                raise _refusal("ends_at", "Nothing is due until then.")
            raise _refusal("cron", "Never comes: no such day in 50 years.")

    def local(self, instant: datetime) -> datetime:
        """Return the instant as the clocks of the timetable's zone show it."""
        return instant.astimezone(_zone(self.timezone))

    def _find(self, at: datetime, step: int) -> datetime | None:
        """Return the nearest instant after, or before, this one; None if there is none within fifty years."""
        try:
            return self._next(at, step)
        except OverflowError:
            # The calendar has no more days.
            return None

    def _next(self, at: datetime, step: int) -> datetime | None:
        if self.interval_seconds is not None:
            return self._next_of_interval(at, timedelta(seconds=self.interval_seconds), step)
        assert self.cron is not None
        # A cron expression names whole seconds.
        whole = at.replace(microsecond=0)
        if step == BACK and at != whole:
            whole += _SECOND
        minutes, hours = self.cron.split()[:2]
        zone = _zone(self.timezone)
        if minutes.startswith("*") or hours.startswith("*"):
            return _next_shown(self.cron, zone, whole, step)
        return _next_settled(self.cron, zone, whole, step)

    def _next_of_interval(self, at: datetime, interval: timedelta, step: int) -> datetime | None:
        # Always counted from the anchor, so that nothing drifts.
        number = (at - self.anchor) // interval + 1 if step == FORWARD else -((self.anchor - at) // interval) - 1
        if number < 0 and step == BACK:
            return None
        return self.anchor + max(0, number) * interval


def _next_settled(cron: str, zone: tzinfo, at: datetime, step: int) -> datetime | None:
    """Return the next instant of an expression that names its hours and minutes: once for each time that it names.

    In an hour that the clock passes over it is the end of the gap, in an hour that comes twice the first of the two.
    """
    slack = _SETBACK if step == BACK else timedelta(0)
    for wall in _walls(cron, _wall(zone, at) + slack, step):
        instant = _first_instant(zone, wall)
        if (instant > at) if step == FORWARD else (instant < at):
            return instant
    return None


def _next_shown(cron: str, zone: tzinfo, at: datetime, step: int) -> datetime | None:
    """Return the next instant of an expression that runs through the hours or minutes: whenever the clock shows it."""
    while True:
        offset = _offset(zone, at + step * _SECOND)
        soon = at + step * _DAY
        walls = _walls(cron, (at + offset).replace(tzinfo=None), step)
        wall = next(walls, None)
        if _offset(zone, soon) == offset:
            break
        # The clock is set within a day: up to there it goes as it does now.
        change = _find_change(zone, *sorted((at + step * _SECOND, soon)))
        instant = None if wall is None else wall.replace(tzinfo=UTC) - offset
        if instant is not None and (instant < change if step == FORWARD else instant >= change):
            return instant
        at = change - _SECOND if step == FORWARD else change
    while wall is not None:
        instant = wall.replace(tzinfo=UTC) - offset
        if abs(instant - at) > _DAY:
            # Far away the clock may go otherwise: the nearer one of two equal times, and none that is passed over.
            instant = wall.replace(tzinfo=zone, fold=int(step == BACK)).astimezone(UTC)
            if _wall(zone, instant) != wall:
                wall = next(walls, None)
                continue
        return instant
    return None


def _walls(cron: str, wall: datetime, step: int) -> Iterator[datetime]:
    """Yield the times after, or before, this one that fit the expression, on a clock that is never set."""
    from cronsim import CronSim, CronSimError

    try:
        return CronSim(cron, wall, reverse=step == BACK)
    except CronSimError as error:
        text = str(error)
        raise _refusal("cron", f"Not a cron expression: {text[:1].lower()}{text[1:]}.") from None


def _first_instant(zone: tzinfo, wall: datetime) -> datetime:
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _wall(zone, instant) == wall:
        return instant
    # Between what the clock would show if it were not set, and if it had been set before.
    return _find_change(zone, wall.replace(tzinfo=zone, fold=1).astimezone(UTC), instant)


def _find_change(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """Return the first second after `low` at which the clock goes as it does at `high`."""
    offset = _offset(zone, high)
    while high - low > _SECOND:
        middle = low + (high - low) // 2 // _SECOND * _SECOND
        if _offset(zone, middle) == offset:
            high = middle
        else:
            low = middle
    return high


def _offset(zone: tzinfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _wall(zone: tzinfo, instant: datetime) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    # A zone that was there when the schedule was saved, and is not on this host.
    except (KeyError, ValueError, OSError):
        raise _refusal("timezone", f"This server knows no time zone `{name}`.") from None


@cache
def _zone_names() -> frozenset[str]:
    """Return the names of all zones; not those of this host, which may have more than others."""
    from importlib.resources import files

    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def _refusal(field: str, problem: str) -> InvalidSchedule:
    return InvalidSchedule(sentence=f"{field}: {problem}".rstrip("."), details=[{"field": field, "problem": problem}])
