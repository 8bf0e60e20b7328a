"""The lines of concurrency keys, as docs/limits.md describes them.

Every task with a key stands in the line of its key once it waits for nothing else. The first of each line are
admitted, as many as the limits allow; only these are pending.
"""

from tests.machine.model.base import first_of
from tests.machine.model.types import parse_rate


class Lines:
    """Joining, leaving, and admitting."""

    def line_of(self, task):
        return self.lines.setdefault((task["type"], task["key"]), {"places": {}, "recent": [], "due_at": None})

    def place_of(self, task_id):
        """Return the place of a task in the line of its key, or None."""
        task = self.tasks[task_id]
        line = self.lines.get((task["type"], task["key"]))
        return None if line is None else line["places"].get(task_id)

    def join_line(self, tasks):
        """Put these blocked tasks into line, and admit whom the limits allow."""
        for task in tasks:
            place = {"rank": task["rank"], "is_admitted": False, "is_counted": False}
            self.line_of(task)["places"][task["id"]] = place
        self.admit(sorted({(task["type"], task["key"]) for task in tasks}))

    def leave_line(self, task_ids):
        """Take these tasks out of their lines and admit those behind them."""
        left = [self.tasks[task_id] for task_id in task_ids if self.place_of(task_id) is not None]
        lines = sorted({(task["type"], task["key"]) for task in left})
        for task in left:
            del self.lines[task["type"], task["key"]]["places"][task["id"]]
        self.admit(lines)
        self._forget_idle(lines)

    def count_claims(self, tasks):
        """Count these claims against the rate of their keys."""
        claimed = [task for task in tasks if self.place_of(task["id"]) is not None]
        lines = sorted({(task["type"], task["key"]) for task in claimed})
        for task in claimed:
            line = self.line_of(task)
            line["places"][task["id"]]["is_counted"] = True
            line["recent"] = [*self._recent(task["type"], line), self.now]
        self.admit(lines)

    def _recent(self, type_name, line):
        rate = self.types[type_name]["key_rate_limit"]
        if rate is None:
            return []
        return [at for at in line["recent"] if at > self.now - parse_rate(rate)[1]]

    def _room(self, type_name, line):
        kind = self.types[type_name]
        admitted = [place for place in line["places"].values() if place["is_admitted"]]
        rooms = [10**9]
        if kind["key_max_concurrency"] is not None:
            rooms.append(kind["key_max_concurrency"] - len(admitted))
        if kind["key_rate_limit"] is not None:
            # Who is admitted and not yet counted may be claimed at any moment.
            uncounted = sum(not place["is_counted"] for place in admitted)
            rooms.append(parse_rate(kind["key_rate_limit"])[0] - len(self._recent(type_name, line)) - uncounted)
        return min(rooms)

    def admit(self, names, *, is_due=False):
        """Admit the first of each line, or call back the last where the limits were lowered."""
        for name in names:
            line = self.lines[name]
            room = self._room(name[0], line)
            if room < 0:
                self._call_back(line, -room)
            waiting = sorted(
                (place["rank"], task_id) for task_id, place in line["places"].items() if not place["is_admitted"]
            )
            chosen, left = waiting[: max(room, 0)], waiting[max(room, 0) :]
            for _, task_id in chosen:
                task = self.tasks[task_id]
                # One that was cancelled meanwhile keeps its place until somebody tells the line of its end.
                if task["status"] == "blocked":
                    task.update(status="pending", updated_at=self.now)
                    line["places"][task_id]["is_admitted"] = True
            due_at = self._frees_at(name[0], line) if left else None
            rings = line["due_at"] is not None and line["due_at"] <= self.now and not is_due
            if not rings:
                line["due_at"] = due_at

    def _call_back(self, line, surplus):
        pending = [
            (place["rank"], task_id)
            for task_id, place in line["places"].items()
            if place["is_admitted"] and self.tasks[task_id]["status"] == "pending"
        ]
        for _, task_id in sorted(pending, reverse=True)[:surplus]:
            self.tasks[task_id].update(status="blocked", updated_at=self.now)
            line["places"][task_id]["is_admitted"] = False

    def _frees_at(self, type_name, line):
        rate = self.types[type_name]["key_rate_limit"]
        oldest = first_of(*self._recent(type_name, line))
        return None if oldest is None else oldest + parse_rate(rate)[1]

    def _forget_idle(self, names):
        for name in names:
            line = self.lines[name]
            if not line["places"]:
                line["due_at"] = self._frees_at(name[0], line)
                if line["due_at"] is None:
                    del self.lines[name]

    def look_at_due_lines(self):
        """Do what housekeeping does to lines; tell whether there was anything."""
        due = sorted(
            (line["due_at"], name)
            for name, line in self.lines.items()
            if line["due_at"] is not None and line["due_at"] <= self.now
        )
        for _, name in due:
            self.admit([name], is_due=True)
            self._forget_idle([name])
        return bool(due)
