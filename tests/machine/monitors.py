"""What must hold after every step, whatever the rules are in detail."""

from collections import Counter

from tests.machine.model.base import FINISHED, YOUNG
from tests.machine.model.types import parse_rate

# Which status may follow which; one step may go several of these ways.
_FROM_WAITING = {"blocked", "scheduled", "pending", "claimed", *FINISHED}
REACHABLE = {
    **dict.fromkeys(("blocked", "scheduled", "pending", "claimed"), _FROM_WAITING),
    "completed": {"completed"},
    # Requeued by a person; or completed by the worker whose lease ended.
    "failed": _FROM_WAITING,
    "cancelled": _FROM_WAITING - {"completed"},
}


class Monitors:
    """Remembers the last step of one example, and looks at the next."""

    def __init__(self, model):
        self._model = model
        self._seen = {}
        self._instants = set()
        # Since which of all claims the limits of a type are as they are now, and whether those per key ever changed.
        self._limits = {}
        self._since = {}
        self._key_limits_changed = set()

    def look(self, latest_claims):
        """Fail if something does not hold; `latest_claims` are the tokens of the latest claim of each task."""
        model = self._model
        for task in model.tasks.values():
            self._look_at(task, latest_claims)
        for task_id, (status, _, _, created_at, of_type) in self._seen.items():
            if task_id not in model.tasks:
                # What is not kept at all may end and go in one round, and what dies in the instant of a purge, too.
                is_purged = any(purge["begun_at"] == model.now for purge in self._purges())
                is_kept = model.types[of_type]["retention_seconds"] > 0 and not is_purged
                assert status in FINISHED or not is_kept, f"task {task_id} has vanished: {status}"
                assert created_at <= model.now - YOUNG, f"task {task_id} has vanished before it was counted"
        self._seen = {
            task["id"]: (task["status"], task["result"], task["completed_at"], task["created_at"], task["type"])
            for task in model.tasks.values()
        }
        self._look_at_limits()

    def _purges(self):
        return [each for each in self._model.operations.values() if each["kind"] == "purge_dead_letters"]

    def _look_at(self, task, latest_claims):
        before = self._seen.get(task["id"])
        if before is not None:
            assert task["status"] in REACHABLE[before[0]], f"{before[0]} became {task['status']}"
            if before[0] == "completed":
                assert before[:3] == (task["status"], task["result"], task["completed_at"]), "a result was changed"
        assert 0 <= task["attempts"] <= task["max_attempts"]
        assert (task["status"] in FINISHED) == (task["completed_at"] is not None)
        assert (task["status"] == "failed") == (task["failure_reason"] is not None)
        if task["status"] == "claimed":
            assert task["token"] == latest_claims[task["id"]], "the lease is not that of the latest claim"
            assert not any(task["waits_for"].values()), "a dependent was started too early"
        if task["schedule_id"] is not None and before is None:
            instant = (task["schedule_id"], task["scheduled_for"])
            assert instant not in self._instants, "two tasks for one instant"
            self._instants.add(instant)

    def _look_at_limits(self):
        model = self._model
        claimed = [task for task in model.tasks.values() if task["status"] == "claimed"]
        of_types = Counter(task["type"] for task in claimed)
        of_keys = Counter((task["type"], task["key"]) for task in claimed if task["key"] is not None)
        for name, kind in model.types.items():
            most = kind["max_concurrency"]
            assert most is None or of_types[name] <= most, f"{of_types[name]} of {name} at once"
            limits = (kind["rate_limit"], kind["key_rate_limit"], kind["key_max_concurrency"])
            before = self._limits.setdefault(name, limits)
            if before[0] != limits[0]:
                self._since[name] = len(model.claimed)
            if before[1:] != limits[1:]:
                # Who was admitted before may still be claimed, until housekeeping calls it back.
                self._key_limits_changed.add(name)
            self._limits[name] = limits
            since = model.claimed[self._since.get(name, 0) :]
            self._look_at_rate(kind["rate_limit"], [at for at, of_type, _ in since if of_type == name])
            if name in self._key_limits_changed:
                continue
            for of_type, key in of_keys:
                if of_type == name:
                    of_key = [at for at, *which in model.claimed if which == [name, key]]
                    self._look_at_rate(kind["key_rate_limit"], of_key)
                    most = kind["key_max_concurrency"]
                    assert most is None or of_keys[name, key] <= most, f"{of_keys[name, key]} of {key} at once"

    def _look_at_rate(self, rate, instants):
        if rate is not None:
            most, seconds = parse_rate(rate)
            assert sum(at > self._model.now - seconds for at in instants) <= most, f"more than {rate}"
