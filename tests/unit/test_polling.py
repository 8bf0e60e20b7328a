"""When a worker that found nothing should ask again."""

from hypothesis import given
from hypothesis import strategies as st

from app.web.polling import Polling


class Times:
    """A clock and a die in the test's hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.die = 0.0
        self.polling = Polling(clock=lambda: self.now, chance=lambda: self.die)

    def wait(self, kind: object = "kind", shortest: int = 1, longest: int = 15) -> int:
        return self.polling.retry_after_seconds(kind, shortest=shortest, longest=longest)


def test_the_wait_grows_with_the_quiet_up_to_its_bound() -> None:
    times = Times()
    waits = []
    for quiet in (0, 5, 20, 50, 100, 150, 1000, 10_000_000):
        times.now = 1000.0 + quiet
        waits.append(times.wait())
    assert waits == [1, 1, 2, 5, 10, 15, 15, 15]


def test_a_task_that_was_found_makes_the_wait_short_again() -> None:
    times = Times()
    times.wait()
    times.now += 1000
    assert times.wait() == 15
    times.polling.found_something("kind")
    assert times.wait() == 1


def test_each_kind_of_claim_has_its_own_wait() -> None:
    times = Times()
    times.wait("quiet")
    times.now += 100
    times.polling.found_something("busy")
    assert (times.wait("quiet"), times.wait("busy"), times.wait("new")) == (10, 1, 1)


def test_chance_spreads_the_waits() -> None:
    times = Times()
    times.wait()
    times.now += 60
    waits = set()
    for step in range(100):
        times.die = step / 100
        waits.add(times.wait())
    assert waits == {6, 7, 8}


@given(st.floats(0, 1e9), st.floats(0, 1, exclude_max=True), st.integers(1, 3600), st.integers(1, 3600))
def test_the_wait_is_a_whole_number_within_its_bounds(quiet: float, chance: float, one: int, other: int) -> None:
    shortest, longest = sorted((one, other))
    times = Times()
    times.die = chance
    times.wait()
    times.now += quiet
    wait = times.wait(shortest=shortest, longest=longest)
    assert shortest <= wait <= longest
    assert isinstance(wait, int)


def test_many_kinds_do_not_fill_the_memory() -> None:
    times = Times()
    for number in range(5000):
        times.wait(number)
        times.polling.found_something(("found", number))
    assert len(times.polling._busy_at) <= 1000
