"""Timetables: which instants a cron expression or an interval means, whatever the clocks do."""

import time
from datetime import datetime, timedelta, timezone
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidSchedule
from app.queue.timetable import Timetable

UTC = timezone.utc
MINUTE = timedelta(minutes=1)
BERLIN, LORD_HOWE = "Europe/Berlin", "Australia/Lord_Howe"


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def cron(expression: str, zone: str = "UTC", **options) -> Timetable:
    return Timetable(cron=expression, interval_seconds=None, timezone=zone, anchor=at("2026-01-01T00:00:00"), **options)


def every(seconds: int, anchor: str, **options) -> Timetable:
    return Timetable(cron=None, interval_seconds=seconds, timezone="UTC", anchor=at(anchor), **options)


def shown(timetable: Timetable, since: str, count: int) -> list[str]:
    """The first `count` instants after `since`, as the clocks of the zone show them."""
    instants = islice(timetable.after(at(since)), count)
    return [timetable.local(instant).isoformat(timespec="minutes") for instant in instants]


def test_a_fixed_time_in_the_hour_that_is_skipped_comes_at_its_end_once() -> None:
    assert shown(cron("30 2 * * *", BERLIN), "2026-03-27T12:00:00", 3) == [
        "2026-03-28T02:30+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]
    # Two times in the gap are one instant, and one that is there anyway is not there twice.
    assert shown(cron("15,45 2,3 * * *", BERLIN), "2026-03-29T00:00:00", 4) == [
        "2026-03-29T03:00+02:00",
        "2026-03-29T03:15+02:00",
        "2026-03-29T03:45+02:00",
        "2026-03-30T02:15+02:00",
    ]
    assert shown(cron("0 2,3 * * *", BERLIN), "2026-03-29T00:00:00", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:00+02:00",
    ]


def test_a_fixed_time_in_the_hour_that_is_repeated_comes_once() -> None:
    assert shown(cron("30 2 * * *", BERLIN), "2026-10-24T12:00:00", 2) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_looking_back_over_the_repeated_hour_finds_the_fixed_time_of_the_same_day() -> None:
    # 02:30 has been, though the clock shows 02:10 again.
    assert next(cron("30 2 * * *", BERLIN).until(at("2026-10-25T01:10:00"))) == at("2026-10-25T00:30:00")


def test_every_quarter_of_an_hour_is_every_quarter_of_an_hour() -> None:
    quarters = cron("*/15 * * * *", BERLIN)
    for day in ("2026-03-29", "2026-10-25"):
        instants = list(islice(quarters.after(at(f"{day}T00:00:00")), 12))
        assert instants == [at(f"{day}T00:00:00") + number * 15 * MINUTE for number in range(1, 13)]
    assert shown(quarters, "2026-10-25T00:30:00", 3) == [
        "2026-10-25T02:45+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T02:15+01:00",
    ]
    assert shown(cron("*/30 2 * * *", BERLIN), "2026-03-28T12:00:00", 2) == [
        "2026-03-30T02:00+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_a_change_of_half_an_hour_loses_nothing() -> None:
    # On 4 October the clock goes from 2:00 to 2:30, on 5 April from 2:00 back to 1:30.
    assert shown(cron("*/15 3 * * *", LORD_HOWE), "2026-10-03T12:00:00", 2) == [
        "2026-10-04T03:00+11:00",
        "2026-10-04T03:15+11:00",
    ]
    assert shown(cron("15 2 * * *", LORD_HOWE), "2026-10-03T12:00:00", 2) == [
        "2026-10-04T02:30+11:00",
        "2026-10-05T02:15+11:00",
    ]
    assert shown(cron("45 1 * * *", LORD_HOWE), "2026-04-04T12:00:00", 2) == [
        "2026-04-05T01:45+11:00",
        "2026-04-06T01:45+10:30",
    ]
    assert shown(cron("*/15 1 * * *", LORD_HOWE), "2026-04-04T14:15:00", 5) == [
        "2026-04-05T01:30+11:00",
        "2026-04-05T01:45+11:00",
        "2026-04-05T01:30+10:30",
        "2026-04-05T01:45+10:30",
        "2026-04-06T01:00+10:30",
    ]


def test_a_yearly_time_in_the_repeated_hour_is_found_from_afar() -> None:
    yearly = cron("*/30 2 25 10 *", BERLIN)
    since = at("2026-05-01T00:00:00")
    expected = ["2026-10-25T00:00:00", "2026-10-25T00:30:00", "2026-10-25T01:00:00", "2026-10-25T01:30:00"]
    assert list(islice(yearly.after(since), 4)) == [at(text) for text in expected]
    assert list(islice(yearly.until(at("2027-02-01T00:00:00")), 4)) == [at(text) for text in reversed(expected)]
    gap = cron("*/30 2 29 3 *", BERLIN)
    assert shown(gap, "2026-01-01T00:00:00", 1) == ["2027-03-29T02:00+02:00"]


def test_the_leap_day_comes_every_four_years() -> None:
    assert shown(cron("0 12 29 2 *"), "2026-01-01T00:00:00", 2) == ["2028-02-29T12:00+00:00", "2032-02-29T12:00+00:00"]
    assert shown(cron("0 0 L 2 *"), "2027-01-01T00:00:00", 2) == ["2027-02-28T00:00+00:00", "2028-02-29T00:00+00:00"]


def test_an_interval_is_counted_from_its_anchor_and_never_drifts() -> None:
    table = every(7, "2020-02-29T06:00:01")
    for since in ("2026-01-01T12:00:00", "2026-01-01T12:00:03"):
        instant = next(table.after(at(since)))
        assert (instant - at("2020-02-29T06:00:01")).total_seconds() % 7 == 0
        assert timedelta(0) < instant - at(since) <= timedelta(seconds=7)
    assert next(table.after(at("2019-01-01T00:00:00"))) == at("2020-02-29T06:00:01")
    assert list(table.until(at("2020-02-29T06:00:15")))[::-1] == [
        at("2020-02-29T06:00:01") + number * timedelta(seconds=7) for number in range(3)
    ]
    assert list(table.until(at("2020-02-29T06:00:00"))) == []


@pytest.mark.parametrize("table", [cron("*/10 * * * *"), every(600, "2026-01-01T00:00:00")])
def test_a_start_and_an_end_belong_to_the_timetable(table) -> None:
    options = {"starts_at": at("2026-01-01T10:00:00"), "ends_at": at("2026-01-01T10:20:00")}
    bounded = Timetable(
        cron=table.cron, interval_seconds=table.interval_seconds, timezone="UTC", anchor=table.anchor, **options
    )
    expected = [at(f"2026-01-01T10:{minute}:00") for minute in ("00", "10", "20")]
    assert list(bounded.after(at("2025-01-01T00:00:00"))) == expected
    assert list(bounded.after(at("2026-01-01T10:00:00"))) == expected[1:]
    assert list(bounded.after(at("2026-01-01T10:20:00"))) == []
    assert list(bounded.until(at("2027-01-01T00:00:00"))) == expected[::-1]
    assert list(bounded.until(at("2026-01-01T10:19:59"))) == expected[1::-1]
    assert list(bounded.until(at("2026-01-01T09:59:59"))) == []


@pytest.mark.parametrize(
    ("expression", "zone", "field"),
    [
        ("0 0 30 2 *", "UTC", "cron"),
        ("0 0 31 4,6,9,11 *", "UTC", "cron"),
        ("0 0 */31 * MON#5", "UTC", "cron"),
        ("60 * * * *", "UTC", "cron"),
        ("* * * *", "UTC", "cron"),
        ("0 0 0 * * *", "UTC", "cron"),
        ("@daily", "UTC", "cron"),
        ("", "UTC", "cron"),
        ("* * * * FUNDAY", "UTC", "cron"),
        ("*/0 * * * *", "UTC", "cron"),
        ("5-1 * * * *", "UTC", "cron"),
        ("\u0661 * * * *", "UTC", "cron"),
        ("0 0 * * *", "Europe/Atlantis", "timezone"),
        ("0 0 * * *", "europe/berlin", "timezone"),
        ("0 0 * * *", "", "timezone"),
        ("0 0 * * *", "Europe", "timezone"),
        ("0 0 * * *", "../Europe/Berlin", "timezone"),
        ("0 0 * * *", "/etc/passwd", "timezone"),
        ("0 0 * * *", "right/Europe/Berlin", "timezone"),
        ("0 0 * * *", "localtime", "timezone"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field_to_blame(expression: str, zone: str, field: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        cron(expression, zone).check(at("2026-01-01T00:00:00"))
    assert [detail["field"] for detail in caught.value.details] == [field]
    assert field in caught.value.shown_sentence
    assert not caught.value.shown_sentence.endswith(".")


@pytest.mark.parametrize(
    "options",
    [
        {"ends_at": at("2026-01-01T05:59:59")},
        {"starts_at": at("2026-01-03T00:00:00"), "ends_at": at("2026-01-02T00:00:00")},
        {"ends_at": at("2025-01-01T00:00:00")},
    ],
)
def test_an_end_before_anything_is_due_is_refused(options) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        cron("0 6 * * *", **options).check(at("2026-01-01T00:00:00"))
    assert caught.value.details[0]["field"] == "ends_at"


def test_what_never_comes_does_not_come_either_when_the_clock_is_about_to_be_set() -> None:
    assert list(cron("* * */31 * MON#5", BERLIN).after(at("2026-03-28T12:00:00"))) == []


def test_a_timetable_may_end_where_it_starts() -> None:
    table = every(600, "2026-01-01T10:00:00", starts_at=at("2026-01-01T10:00:00"), ends_at=at("2026-01-01T10:00:00"))
    table.check(at("2026-01-01T00:00:00"))
    assert list(table.after(at("2026-01-01T00:00:00"))) == [at("2026-01-01T10:00:00")]


def test_the_end_of_the_calendar_is_the_end_of_a_timetable() -> None:
    seldom = cron("0 0 * 2 MON#5", BERLIN, starts_at=at("9000-01-01T00:00:00"))
    assert 10 < len(list(islice(seldom.after(at("2026-01-01T00:00:00")), 100))) < 100
    assert len(list(cron("0 0 29 2 *", BERLIN).until(at("0050-01-01T00:00:00")))) < 20
    assert list(every(10**9, "9990-01-01T00:00:00").after(at("9990-01-01T00:00:00"))) == []


def _fits(expression: str, zone: ZoneInfo, instant: datetime) -> bool:
    wall = instant.astimezone(zone).replace(tzinfo=None)
    return next(CronSim(expression, wall - timedelta(seconds=1))) == wall


# Around changes of one hour, half an hour, two hours, at midnight, and of the offset of winter.
EDGES = [
    *(("Europe/Berlin", "2026-03-28T12:00:00"), ("Europe/Berlin", "2026-10-24T12:00:00")),
    *(("Australia/Lord_Howe", "2026-10-03T06:00:00"), ("Australia/Lord_Howe", "2026-04-04T06:00:00")),
    *(("America/Havana", "2026-03-07T18:00:00"), ("America/Havana", "2026-10-31T18:00:00")),
    *(("Antarctica/Troll", "2026-03-28T12:00:00"), ("Antarctica/Troll", "2026-10-24T12:00:00")),
    *(("Africa/Casablanca", "2026-02-14T12:00:00"), ("Asia/Kathmandu", "2026-03-28T12:00:00")),
    *(("America/Santiago", "2026-04-04T12:00:00"), ("Asia/Beirut", "2026-10-24T06:00:00")),
]
MINUTES = ["*", "*/15", "*/7", "0", "30", "15,45", "5-20/5"]
HOURS = ["*", "*/2", "*/3", "0", "1", "2", "3", "23", "0-4", "1,2,3"]


@settings(max_examples=80)
@given(
    edge=st.sampled_from(EDGES),
    minutes=st.sampled_from(MINUTES),
    hours=st.sampled_from(HOURS),
    day=st.sampled_from(["* * *", "*/2 * *", "* * SUN", "* 3,4,10 *"]),
)
def test_around_every_change_of_the_clock_the_instants_are_those_of_the_rule(
    edge: tuple[str, str], minutes: str, hours: str, day: str
) -> None:
    name, since = edge
    zone, begin = ZoneInfo(name), at(since)
    end = begin + timedelta(hours=36)
    expression = f"{minutes} {hours} {day}"
    table = cron(expression, name)
    forward = list(takewhile(lambda instant: instant <= end, table.after(begin)))
    minutes_of_time = [begin + number * MINUTE for number in range(1, 36 * 60 + 1)]
    if minutes.startswith("*") or hours.startswith("*"):
        expected = [instant for instant in minutes_of_time if _fits(expression, zone, instant)]
    else:
        seen, expected = set(), []
        previous = begin.astimezone(zone).replace(tzinfo=None)
        for instant in minutes_of_time:
            wall = instant.astimezone(zone).replace(tzinfo=None)
            passed = {previous + number * MINUTE for number in range(1, int((wall - previous) / MINUTE) + 1)} or {wall}
            due = {one for one in passed if next(CronSim(expression, one - timedelta(seconds=1))) == one}
            if due - seen:
                expected.append(instant)
            seen |= due
            previous = wall
    assert forward == expected
    back = list(takewhile(lambda instant: instant > begin, table.until(end)))
    assert back == forward[::-1]


@settings(max_examples=300)
@given(st.text(alphabet="0123456789*/,-#LW MONJAN", max_size=40), st.sampled_from(["UTC", BERLIN]))
def test_any_expression_is_understood_or_refused(expression: str, zone: str) -> None:
    table = cron(expression, zone)
    since = at("2026-01-01T00:00:00")
    try:
        table.check(since)
    except InvalidSchedule as refused:
        assert refused.details[0]["field"] == "cron"
        return
    first, second = islice(table.after(since), 2)
    assert since < first < second
    assert list(islice(table.until(second), 2)) == [second, first]


def test_a_year_of_minutes_is_not_walked_through() -> None:
    minutely = cron("* * * * *", BERLIN)
    began = time.process_time()
    assert next(minutely.until(at("2027-01-01T00:00:30"))) == at("2027-01-01T00:00:00")
    assert len(list(islice(minutely.until(at("2027-01-01T00:00:00")), 1000))) == 1000
    assert len(list(islice(every(1, "2026-01-01T00:00:00").until(at("2027-01-01T00:00:00")), 1000))) == 1000
    assert time.process_time() - began < 2
