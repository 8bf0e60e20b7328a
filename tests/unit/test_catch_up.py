"""Catch-up: what becomes of the instants of a due schedule, beside a plain list of them."""

from datetime import datetime, timedelta

import pytest

from app.queue.catch_up import ON_TIME, plan_firing
from app.queue.schedules import jittered
from app.storage.columns import UTC

BEGAN_AT = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
INSTANTS = [BEGAN_AT + number * MINUTE for number in range(1, 12)]


def _schedule(name, **terms):
    return {
        "name_key": name,
        "cron": None,
        "interval_seconds": 60,
        "timezone": "UTC",
        "starts_at": None,
        "ends_at": None,
        "created_at": BEGAN_AT,
        "next_at": INSTANTS[0],
        "last_at": None,
        "catch_up_limit": 100,
        **terms,
    }


@pytest.mark.parametrize("jitter_seconds", [0, 40, 3600])
@pytest.mark.parametrize("catch_up", ["none", "one", "all"])
def test_what_was_to_be_acted_on_is_fired_or_passed_over_and_the_rest_is_ahead(catch_up, jitter_seconds):
    for name in "abcdefghij":
        schedule = _schedule(name, jitter_seconds=jitter_seconds, catch_up=catch_up, overlap="queue")
        acted_at = {at: jittered(schedule, at, at + MINUTE) for at in INSTANTS}
        for seconds in range(0, 480, 13):
            now = BEGAN_AT + timedelta(seconds=seconds)
            due = [at for at in INSTANTS if acted_at[at] <= now]
            in_time = [at for at in due if now - acted_at[at] <= ON_TIME]
            fired = {"none": in_time, "one": in_time or due[-1:], "all": due}[catch_up]
            firing = plan_firing(schedule, now, most=100)
            assert (firing.instants, firing.passed_over) == (fired, len(due) - len(fired))
            assert firing.last_at == (due[-1] if due else None)
            assert [firing.next_at, firing.following] == INSTANTS[len(due) : len(due) + 2]


@pytest.mark.parametrize(("overlap", "fired"), [("queue", 3), ("skip", 7), ("replace", 7)])
def test_only_instants_that_make_tasks_are_left_for_the_next_time(overlap, fired):
    schedule = _schedule("a", jitter_seconds=0, catch_up="all", overlap=overlap)
    firing = plan_firing(schedule, BEGAN_AT + 7 * MINUTE, most=3)
    assert (firing.instants, firing.next_at) == (INSTANTS[:fired], INSTANTS[fired])
