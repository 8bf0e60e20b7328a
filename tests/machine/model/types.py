"""Task types, as docs/task-types.md and docs/limits.md describe them."""

from tests.machine.model.base import Refused

DEFAULTS = {
    "max_attempts": 3,
    "retry_delay_seconds": 5,
    "retry_backoff": "exponential",
    "retry_jitter": 0,
    "retry_for_seconds": None,
    "lease_seconds": 300,
    "attempt_timeout_seconds": None,
    "expires_after_seconds": None,
    "dedupe": "unfinished",
    "dedupe_window_seconds": None,
    "on_duplicate": "return",
    "claim_order": "priority",
    "priority_aging_seconds": None,
    "max_concurrency": None,
    "rate_limit": None,
    "key_max_concurrency": None,
    "key_rate_limit": None,
    "key_order": "priority",
    "result_schema": None,
    "retention_seconds": 30 * 86400,
    "is_active": True,
    "is_paused": False,
}


def parse_rate(text):
    """Return claims and seconds of `2/60`."""
    claims, seconds = text.split("/")
    return int(claims), int(seconds)


class Types:
    """Registering and changing types, and their own limits."""

    def register(self, name, given, type_id=None):
        """Register a type or change it; tell whether it is new."""
        if name in self.types:
            self.change_type(name, given)
            return False
        # `recent` holds the instants of the claims that count against the rate; `used`, how many tasks were created.
        self.types[name] = {**DEFAULTS, **given, "id": type_id, "recent": [], "used": 0}
        return True

    def change_type(self, name, given):
        kind = self.find_type(name)
        changes = {field: value for field, value in given.items() if kind[field] != value}
        self._refuse_limits_below_what_runs(name, kind, changes)
        kind.update(changes)
        if changes.keys() & {"key_max_concurrency", "key_rate_limit", "key_order"}:
            for (of_type, _), line in self.lines.items():
                if of_type == name:
                    line["due_at"] = self.now
        if changes.keys() & {"claim_order", "priority_aging_seconds", "key_order"}:
            self.begin("rerank_tasks", {"type": name})

    def command(self, worker_id, command):
        """Tell a worker what to do, or with None take that back."""
        if worker_id not in self.workers:
            raise Refused("worker_not_found")
        self.commands.pop(worker_id, None)
        if command is not None:
            self.commands[worker_id] = command

    def find_type(self, name):
        if name not in self.types:
            raise Refused("task_type_not_found")
        return self.types[name]

    def _refuse_limits_below_what_runs(self, name, kind, changes):
        claimed = [task for task in self.tasks.values() if task["type"] == name and task["status"] == "claimed"]
        of_lines = [self.line_name_of(task["id"]) for task in claimed if self.place_of(task["id"]) is not None]
        most_of_a_key = max((of_lines.count(line) for line in of_lines), default=0)
        for limit, running in (("max_concurrency", len(claimed)), ("key_max_concurrency", most_of_a_key)):
            wanted = changes.get(limit)
            is_lowered = wanted is not None and (kind[limit] is None or wanted < kind[limit])
            if is_lowered and wanted < running:
                raise Refused("limit_below_running")

    def room_of_type(self, name):
        """Return how many tasks of the type may be claimed now, or None for any number."""
        kind = self.types[name]
        rooms = []
        if kind["rate_limit"] is not None:
            claims, seconds = parse_rate(kind["rate_limit"])
            kind["recent"] = [at for at in kind["recent"] if at > self.now - seconds]
            rooms.append(claims - len(kind["recent"]))
        if kind["max_concurrency"] is not None:
            claimed = sum(task["type"] == name and task["status"] == "claimed" for task in self.tasks.values())
            rooms.append(kind["max_concurrency"] - claimed)
        return min(rooms) if rooms else None
