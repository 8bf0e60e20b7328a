"""Each pair of verbs meets after each statement of each of them: whatever comes of the one, the queue stays sound.

One verb is held after a statement, its transaction open. The other one runs until it is done or waits for what the
first one holds. Then the first one goes on, or its process dies, or its connection is killed and it is run again.
"""

from datetime import datetime
from typing import Any

import pytest

from tests.race.pairs_of_batches_and_lines import BATCHES_AND_LINES
from tests.race.pairs_of_claims import CLAIMS
from tests.race.pairs_of_creates import CREATES
from tests.race.pairs_of_duties import DUTIES
from tests.race.pairs_of_ends import ENDS
from tests.race.pairs_of_followers import FOLLOWERS
from tests.race.pairs_of_operators import OPERATORS
from tests.race.pairs_of_types import TYPES
from tests.race.scene import APART_SECONDS, Pair, Scene
from tests.support.clock import ClockAhead
from tests.support.factories import Queue
from tests.support.pauses import Act, Ending, endings_to_play
from tests.support.soundness import check_now, describe_state, let_all_end
from tests.support.tables import Rows, empty_tables, fill_tables, read_tables

PAIRS: tuple[Pair, ...] = (*CLAIMS, *ENDS, *BATCHES_AND_LINES, *CREATES, *TYPES, *FOLLOWERS, *OPERATORS, *DUTIES)


def _roles():
    for pair in PAIRS:
        yield pytest.param(pair, True, id=pair.name)
        if not pair.is_symmetric:
            yield pytest.param(pair, False, id=f"{pair.name}, the second held")


class _Theatre:
    """Plays a pair again and again, each time on empty tables."""

    def __init__(self, pair, is_a_held, clock, looker, held, other) -> None:
        self.pair = pair
        self.is_a_held = is_a_held
        self.clock = clock
        self.looker, self.held, self.other = looker, held, other
        #: What the stage named when it was set for the first time, when that was, and what was in the tables.
        self._first: tuple[dict[str, Any], datetime, Rows] | None = None
        #: The states from which all has been seen to end well.
        self._good: set[str] = set()

    def play(self, hold_after: int, ending: Ending) -> Act:
        scene = self._set_stage()
        self.held.cache.clear()
        self.other.cache.clear()
        steps = (self.pair.a, self.pair.b) if self.is_a_held else (self.pair.b, self.pair.a)
        first = Act(self.held, lambda: steps[0](scene, Queue(self.held)), hold_after=hold_after)
        second = Act(self.other, lambda: steps[1](scene, Queue(self.other)))
        first.start()
        second.start_and_see()
        if second.is_over:
            scene.done_before = first.done_when_held if first.is_held else first.statements
        first.go_on(ending, self.looker)
        first.join()
        second.join()
        outcomes = (first.outcome, second.outcome)
        scene.a, scene.b = outcomes if self.is_a_held else outcomes[::-1]
        told = f"held after {first.done_when_held[-1:]}, {hold_after}, which {ending.value}: {outcomes}"
        try:
            self.looker.cache.clear()
            self.pair.check(scene)
            self._check_queue(scene)
        except AssertionError as error:
            raise AssertionError(f"{told}\n{error}") from error
        return first

    def _check_queue(self, scene: Scene) -> None:
        state = describe_state(scene.queue)
        if state not in self._good:
            check_now(scene.queue, scene.limits)
            let_all_end(scene.queue, self.clock, scene.limits, waits_for_dead=scene.waits_for_dead)
            self._good.add(state)

    def _set_stage(self) -> Scene:
        """Set the stage; from the second time on by putting back the rows of the first, which costs far less."""
        scene = Scene(Queue(self.looker), self.clock)
        scene.is_a_held = self.is_a_held
        self.looker.write(empty_tables)
        if self._first is None:
            self.pair.stage(scene)
            self._first = dict(vars(scene)), self.clock.instant, self.looker.read(read_tables)
        else:
            named, self.clock.instant, rows = self._first
            vars(scene).update(named)
            self.looker.write(lambda tx: fill_tables(tx, rows))
        return scene


@pytest.mark.parametrize(("pair", "is_a_held"), [*_roles()])
def test_two_verbs_that_meet_leave_the_queue_sound(pair, is_a_held, database_kind, open_database, clock):
    both = [open_database(clock=ClockAhead(clock, seconds=number * APART_SECONDS)) for number in (1, 2)]
    for database in both:
        # Asked once by each process: later the same statements would have other numbers.
        database.read(lambda tx: (tx.skips_locked_rows, tx.misses_locked_rows))
    held, other = both if is_a_held else reversed(both)
    theatre = _Theatre(pair, is_a_held, clock, open_database(), held, other)
    alone = theatre.play(10**6, Ending.GOES_ON)
    for place, ending in endings_to_play(alone.statements, database_kind):
        assert theatre.play(place, ending).is_held
