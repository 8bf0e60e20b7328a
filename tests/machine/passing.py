"""What time does, with housekeeping or without."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.machine.claiming import Claiming
from tests.machine.model.base import first_of
from tests.machine.model.housekeeping import JOBS
from tests.machine.model.types import parse_rate
from tests.machine.steps import OUTCOMES, WORKER


class Passing(Claiming):
    """Rules of time."""

    @rule(seconds=st.sampled_from([1, 5, 10, 10, 20, 30, 30, 45, 60, 61, 100]))
    def pass_time(self, seconds):
        self._pass(seconds)

    @rule(number=st.integers(0, 5), is_early=st.booleans())
    def pass_time_to_an_edge(self, number, is_early):
        """Go to the very instant at which something changes, or to the second before it."""
        edges = sorted(edge for edge in self._edges() if edge is not None and 0 < edge - self.model.now <= 3600)
        if edges:
            self._pass(edges[min(number, len(edges) - 1)] - self.model.now - is_early)

    def has_recent_claims(self):
        return any(kind["rate_limit"] is not None and kind["recent"] for kind in self.model.types.values())

    @precondition(has_recent_claims)
    @rule(is_early=st.booleans(), worker_id=WORKER)
    def claim_as_soon_as_a_rate_allows(self, is_early, worker_id):
        """Claim until the rate of a type is reached, and again in the instant, or the second before, when it is not."""
        for name, kind in self.model.types.items():
            if kind["rate_limit"] is None or not kind["recent"]:
                continue
            claims, seconds = parse_rate(kind["rate_limit"])
            self.claim_of(worker_id, name, max_tasks=claims)
            # Those that no longer counted are forgotten now, and there may have been nothing to claim.
            frees_at = first_of(*(at + seconds for at in kind["recent"]))
            if frees_at is not None and frees_at > self.model.now + is_early:
                self._pass(frees_at - is_early - self.model.now)
            self.claim_of(worker_id, name, max_tasks=1)

    def _edges(self):
        """Yield when alarms ring, claims cease to count, and tasks are too old to be equal."""
        for kept in (self.model.tasks, self.model.lines, self.model.schedules):
            yield from (each["due_at"] for each in kept.values())
        for kind in self.model.types.values():
            if kind["rate_limit"] is not None:
                yield from (at + parse_rate(kind["rate_limit"])[1] for at in kind["recent"])
        for task in self.model.tasks.values():
            window = self.model.kind_of(task)["dedupe_window_seconds"]
            yield None if window is None else task["created_at"] + window

    @rule(seconds=st.sampled_from([300, 1000, 3600]))
    def pass_long_time(self, seconds):
        self._pass(seconds)

    def _pass(self, seconds):
        self.server.clock.advance(seconds=seconds)
        self.model.now += seconds

    @rule()
    def run_housekeeping(self):
        answer = self.send("POST", "/housekeeping/run", {"budget_seconds": 25})
        jobs = [job["name"] for job in answer.data["jobs"]]
        urgent = [name for name in jobs if name in JOBS]
        assert sorted(urgent) == sorted(self.model.due_jobs()), f"{urgent} were done, and not {self.model.due_jobs()}"
        # The order of the jobs is left to chance, so that none is always last; the answer says which it was.
        self.expect("run_housekeeping", answer, lambda: self.model.do_all(jobs))
        assert (answer.data["skipped"], answer.data["has_more"]) == (False, False)
        for name in jobs:
            OUTCOMES["run_housekeeping: a job", name] += 1

    @rule(seconds=st.sampled_from([10, 30, 60, 100, 300]))
    def pass_time_with_housekeeping(self, seconds):
        self._pass(seconds)
        self.run_housekeeping()
