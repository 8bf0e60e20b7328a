"""What time does, with housekeeping or without."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine.model.housekeeping import JOBS
from tests.machine.steps import OUTCOMES, Steps


class Passing(Steps):
    """Rules of time."""

    @rule(seconds=st.sampled_from([1, 5, 10, 10, 20, 30, 30, 45, 60, 61, 100]))
    def pass_time(self, seconds):
        self._pass(seconds)

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
