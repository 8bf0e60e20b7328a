"""What all rules share: a request, the model's opinion of it, and the comparison of both."""

from collections import Counter
from datetime import timedelta
from functools import cache

from hypothesis import strategies as st

from tests.machine.model import Model, Refused
from tests.machine.monitors import Monitors
from tests.machine.rows import lines_of
from tests.support.clock import START

TYPES = ("alpha", "beta", "gamma")
WORKERS = ("ann", "bob", "cid")
# Which of those that there are: counted from the latest.
PICKS = st.integers(0, 40)
NEAR_PICKS = st.sampled_from([0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 6, 7, 9, 14])
TYPE = st.sampled_from(TYPES)
A_TYPE = st.sampled_from((*TYPES, *TYPES, *TYPES, "nobody knows"))
WORKER = st.sampled_from(WORKERS)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
# How often each rule ended in which way.
OUTCOMES = Counter()


@cache
def instant(seconds):
    """Return the instant so many seconds after the beginning as the API writes it."""
    return None if seconds is None else f"{START + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.000Z"


class Steps:
    """The state of one example: the server, the model, and what workers and producers remember."""

    server = None

    def begin(self):
        self.server.reset()
        self.model = Model(self._fired_task)
        self.monitors = Monitors(self.model)
        # All claims that there ever were: task, worker, token.
        self.holds = []
        self.latest_claims = {}
        self.workflow_ids = []

    def send(self, method, path, body=None, headers=None):
        answer = self.server.send(method, f"/api{path}", body, headers)
        self.is_compared = False
        assert answer.status != 500, answer.body
        return answer

    def expect(self, rule, answer, verb, status=200):
        """Let the model do the same, and return what it says; None where both refuse for the same reason."""
        try:
            outcome, code = verb(), "ok"
        except Refused as refusal:
            outcome, code, status = None, refusal.code, refusal.status
        OUTCOMES[rule, code] += 1
        assert answer.code == code, f"{code} is right, and not {answer.code}: {answer.body}"
        statuses = status if isinstance(status, tuple) else (status,)
        assert answer.status in statuses, f"answered {answer.status} instead of {status}"
        return outcome

    def check_task(self, shown, task):
        """Compare a task in an answer with the model's."""
        is_claimed = task["status"] == "claimed"
        wanted = {
            **{name: task[name] for name in SHOWN},
            **{name: instant(task[name]) for name in SHOWN_INSTANTS},
            "lease_expires_at": instant(task["due_at"]) if is_claimed else None,
            "depends_on": list(task["waits_for"]),
            "concurrency_key": task["key"],
        }
        wrong = {name: (shown[name], value) for name, value in wanted.items() if shown[name] != value}
        assert not wrong, f"task {task['id']}: answered and right are {wrong}"

    def note_claims(self, shown, tasks):
        """Compare the tasks of a claim, in order, and remember them."""
        assert [each["id"] for each in shown] == [task["id"] for task in tasks], (
            f"claimed were {[each['id'] for each in shown]}, right are {[task['id'] for task in tasks]}"
        )
        tokens = {each["id"]: each["lease_token"] for each in shown}
        for task_id, token in tokens.items():
            assert all(hold[2] != token for hold in self.holds), "a token was given out twice"
            self.latest_claims[task_id] = token
        self.model.note_tokens(tokens)
        for each, task in zip(shown, tasks, strict=True):
            self.holds.append((task["id"], task["claimed_by"], each["lease_token"]))
            self.check_task(each, task)
            handed_on = [(one["id"], one["status"], one["result"]) for one in each["dependencies"]]
            there = [self.model.tasks[task_id] for task_id in task["waits_for"] if task_id in self.model.tasks]
            assert handed_on == [(one["id"], one["status"], one["result"]) for one in there]

    def has_tasks(self):
        return bool(self.model.tasks)

    def has_dead_letters(self):
        return any(task["status"] == "failed" for task in self.model.tasks.values())

    def has_holds(self):
        return bool(self.holds)

    def pick(self, number, among):
        """Return one of these, counted from the latest, or None."""
        return among[-1 - number % len(among)] if among else None

    def pick_id(self, number, *statuses):
        """Return the id of one of the tasks of these statuses, now and then of any, or one that is no task."""
        tasks = list(self.model.tasks.values())
        if number % 4:
            tasks = [task for task in tasks if task["status"] in statuses] or tasks
        return 10**9 if not tasks or number == 40 else self.pick(number, tasks)["id"]

    def _fired_task(self, schedule_id, seconds):
        """Return the id that the server gave to the task of a schedule's instant."""
        fired = self.server.rows.fired()
        assert (schedule_id, instant(seconds)) in fired, f"no task of schedule {schedule_id} at {seconds}"
        return fired[schedule_id, instant(seconds)]

    def compare(self):
        """Compare all tables with the model, and look at what must always hold."""
        found, wanted = sorted(self.server.rows.read()), sorted(lines_of(self.model))
        if found != wanted:
            stored = "\n".join(line for line in found if line not in wanted)
            right = "\n".join(line for line in wanted if line not in found)
            raise AssertionError(f"at {self.model.now} s stored is\n{stored}\nand right is\n{right}")
        self.monitors.look(self.latest_claims)


SHOWN = (
    *("id", "type", "status", "params", "result", "failure_reason", "priority", "progress", "attempts", "max_attempts"),
    *("claimed_by", "schedule_id", "workflow_id"),
)
SHOWN_INSTANTS = (
    *("claimed_at", "first_claimed_at", "available_at", "deadline_at", "completed_at", "created_at", "updated_at"),
    "scheduled_for",
)
