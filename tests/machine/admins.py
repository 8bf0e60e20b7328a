"""What admins do to types and to the whole queue."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.machine.model.base import UNFINISHED
from tests.machine.steps import A_TYPE, SCHEMA, TYPE, TYPES, WORKER, Steps

POLICIES = {
    "max_attempts": [1, 2, 3],
    "retry_delay_seconds": [0, 10],
    "retry_backoff": ["fixed", "linear", "exponential"],
    "retry_for_seconds": [None, None, 100],
    "lease_seconds": [30, 60, 300],
    "attempt_timeout_seconds": [None, None, 45],
    "expires_after_seconds": [None, None, 50, 200],
    "dedupe": ["never", "unfinished", "forever"],
    "dedupe_window_seconds": [None, None, 60],
    "on_duplicate": ["return", "reject", "replace"],
    "claim_order": ["priority", "deadline"],
    "priority_aging_seconds": [None, None, 10],
    "max_concurrency": [None, None, 1, 2, 4],
    "rate_limit": [None, None, None, "2/60", "3/10", "1/5"],
    "key_max_concurrency": [None, 1, 2],
    "key_rate_limit": [None, None, "2/60", "1/10"],
    "key_order": ["priority", "priority", "round_robin"],
    "result_schema": [None, None, {"type": "integer"}],
    "retention_seconds": [10**6, 10**6, 1000, 100, 0],
}
CHANGES = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in POLICIES.items()})
# Limits are what is changed most.
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from(POLICIES[name])
        for name in ("max_concurrency", "rate_limit", "key_max_concurrency", "key_rate_limit")
    },
)


class Admins(Steps):
    """Rules of those who look after types and the queue."""

    def register(self, name, given):
        body = {"name": name, "version": "1", "param_schema": SCHEMA, "retry_jitter": 0, **given}
        answer = self.send("POST", "/task-types/register", body)
        type_id = answer.data["id"] if answer.status < 400 else None
        is_new = self.expect("register", answer, lambda: self.model.register(name, given, type_id), (200, 201))
        assert is_new is None or answer.data["created"] == is_new

    @rule(name=TYPE, given=LIMITS)
    def register_again(self, name, given):
        self.register(name, given)

    @rule(name=A_TYPE, given=CHANGES)
    def change_type(self, name, given):
        self._change_type(name, given)

    @rule(name=TYPE, given=LIMITS)
    def change_limits(self, name, given):
        self._change_type(name, given)

    @rule(name=TYPE, flag=st.sampled_from(["is_paused", "is_active"]))
    def switch_type(self, name, flag):
        self._change_type(name, {flag: not self.model.types[name][flag]})

    def is_held_up(self):
        """Tell whether something is paused, drained or commanded, which is to last for a few steps only."""
        types = self.model.types.values()
        is_queue_held_up = self.model.is_paused or self.model.is_draining or self.model.commands
        return is_queue_held_up or any(kind["is_paused"] or not kind["is_active"] for kind in types)

    @precondition(is_held_up)
    @rule()
    def resume_types(self):
        for name in TYPES:
            self._change_type(name, {"is_paused": False, "is_active": True})

    @rule(worker_id=WORKER, command=st.sampled_from([None, None, "quiet", "terminate"]))
    def command_worker(self, worker_id, command):
        answer = self.send("POST", f"/workers/{worker_id}/command", {"command": command})
        self.expect("command_worker", answer, lambda: self.model.command(worker_id, command))

    @precondition(lambda self: self.model.commands)
    @rule()
    def command_nobody(self):
        for worker_id in list(self.model.commands):
            self.command_worker(worker_id, None)

    def _change_type(self, name, given):
        answer = self.send("PATCH", f"/task-types/{name.replace(' ', '%20')}", given)
        self.expect("change_type", answer, lambda: self.model.change_type(name, given))

    @rule(
        given=st.fixed_dictionaries(
            {}, optional={name: st.sampled_from([False, False, False, True]) for name in ("is_paused", "is_draining")}
        )
    )
    def change_queue(self, given):
        answer = self.send("PATCH", "/queue", given)
        for name, value in given.items():
            setattr(self.model, name, value)
        self.expect("change_queue", answer, lambda: None)
        assert answer.data == {"is_paused": self.model.is_paused, "is_draining": self.model.is_draining}

    @precondition(lambda self: self.model.is_paused or self.model.is_draining)
    @rule()
    def resume_queue(self):
        self.change_queue({"is_paused": False, "is_draining": False})

    @precondition(lambda self: self.is_held_up())
    @rule()
    def resume_all(self):
        self.change_queue({"is_paused": False, "is_draining": False})
        self.resume_types()
        self.command_nobody()

    @rule(name=A_TYPE)
    def look_at_type(self, name):
        path = f"/task-types/{name.replace(' ', '%20')}"
        answer = self.send("GET", path)
        kind = self.expect("look_at_type", answer, lambda: self.model.find_type(name))
        if kind is None:
            return
        assert answer.data["usage_count"] == kind["used"], f"used {kind['used']} times"
        wrong = [field for field in POLICIES if answer.data[field] != kind[field]]
        assert not wrong, wrong
        depth = self.send("GET", f"{path}/stats").data["depth"]
        statuses = [task["status"] for task in self.model.tasks.values() if task["type"] == name]
        assert {word: each["count"] for word, each in depth.items()} == {
            word: statuses.count(word) for word in UNFINISHED
        }
