"""The machine: Hypothesis draws what producers, workers, people and time do, and every step is compared."""

from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from tests.machine.admins import CHANGES, Admins
from tests.machine.passing import Passing
from tests.machine.people import People
from tests.machine.producers import Producers
from tests.machine.schedulers import Schedulers
from tests.machine.steps import TYPES
from tests.machine.workers import Workers

STEPS = {"number": 0}
# Whatever else is drawn, there are limits to obey.
LIMITS_AT_FIRST = {"alpha": {"max_concurrency": 2}, "beta": {"rate_limit": "2/10"}, "gamma": {}}


class Machine(Producers, Workers, Admins, People, Schedulers, Passing, RuleBasedStateMachine):
    """One example: an empty queue with three types, and what is done to it."""

    def __init__(self):
        super().__init__()
        self.begin()
        self.is_compared = False

    @initialize(alpha=CHANGES, beta=CHANGES, gamma=CHANGES)
    def register_types(self, alpha, beta, gamma):
        for name, given in zip(TYPES, (alpha, beta, gamma), strict=True):
            self.register(name, {"lease_seconds": 60, "key_max_concurrency": 1, **LIMITS_AT_FIRST[name], **given})
            self.create_one_more(name, 1, 0, None)

    @invariant()
    def holds(self):
        STEPS["number"] += 1
        self.is_compared = False
        self.compare()
        self.is_compared = True

    def teardown(self):
        # Where a step has failed, only that is of interest.
        if self.is_compared and len(self.model.types) == len(TYPES):
            for name in TYPES:
                self.look_at_type(name)
