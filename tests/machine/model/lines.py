"""The lines of concurrency keys, as docs/limits.md describes them.

Every task with a key stands in the line of its key once it waits for nothing else. The first of each line are
admitted, as many as the limits allow; only these are pending.
"""

from tests.machine.model.base import START_MILLISECONDS, first_of
from tests.machine.model.types import parse_rate


class Lines:
    """Joining, leaving, and admitting."""

    def line_key(self, task):
        """Return the key in whose line the task waits, or None; where keys take turns, those without one share one."""
        takes_turns = self.kind_of(task)["key_order"] == "round_robin"
        return "" if task["key"] is None and takes_turns else task["key"]

    def line_name_of(self, task_id):
        """Return the name of the line in which the task has a place, or None."""
        return next((name for name, line in self.lines.items() if task_id in line["places"]), None)

    def place_of(self, task_id):
        """Return the place of a task in line, or None."""
        return next((line["places"][task_id] for line in self.lines.values() if task_id in line["places"]), None)

    def join_line(self, tasks):
        """Put these blocked tasks into line, and admit whom the limits allow."""
        names = [(task["type"], self.line_key(task) or "") for task in tasks]
        for task, name in zip(tasks, names, strict=True):
            line = self.lines.setdefault(name, {"places": {}, "recent": [], "due_at": None})
            line["places"][task["id"]] = {"rank": task["rank"], "is_admitted": False, "is_counted": False}
        self.admit(sorted(set(names)))

    def leave_line(self, task_ids):
        """Take these tasks out of their lines and admit those behind them."""
        named = {task_id: self.line_name_of(task_id) for task_id in task_ids}
        names = sorted({name for name in named.values() if name is not None})
        for task_id, name in named.items():
            if name is not None:
                del self.lines[name]["places"][task_id]
        self.admit(names)
        self._forget_idle(names)

    def counts_claims(self, kind):
        """Tell whether claims of the type count for their keys: against a rate, or as a turn."""
        return kind["key_rate_limit"] is not None or kind["key_order"] == "round_robin"

    def count_claims(self, tasks):
        """Count these claims against the rate of their keys, and as their turns."""
        named = [(task, self.line_name_of(task["id"])) for task in tasks]
        named = [(task, name) for task, name in named if name is not None]
        for task, name in named:
            line = self.lines[name]
            line["places"][task["id"]]["is_counted"] = True
            if self.kind_of(task)["key_rate_limit"] is not None:
                line["recent"] = [*self._recent(task["type"], line), self.now]
        self.admit(sorted({name for _, name in named}))

    def _recent(self, type_name, line):
        rate = self.types[type_name]["key_rate_limit"]
        if rate is None:
            return []
        return [at for at in line["recent"] if at > self.now - parse_rate(rate)[1]]

    def _room(self, type_name, line):
        kind = self.types[type_name]
        admitted = [place for place in line["places"].values() if place["is_admitted"]]
        rooms = [10**9]
        # Who is admitted and not yet counted may be claimed at any moment.
        uncounted = sum(not place["is_counted"] for place in admitted)
        if kind["key_max_concurrency"] is not None:
            rooms.append(kind["key_max_concurrency"] - len(admitted))
        if kind["key_rate_limit"] is not None:
            rooms.append(parse_rate(kind["key_rate_limit"])[0] - len(self._recent(type_name, line)) - uncounted)
        if kind["key_order"] == "round_robin":
            rooms.append(1 - uncounted)
        return min(rooms)

    def admit(self, names, *, is_due=False):
        """Admit the first of each line, or call back the last where the limits were lowered."""
        for name in names:
            line = self.lines[name]
            room = self._room(name[0], line)
            takes_turns = self.types[name[0]]["key_order"] == "round_robin"
            if room < 0:
                self._call_back(line, -room, takes_turns)
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
                    if takes_turns:
                        # Each key joins the end of the claims when its turn is over.
                        task["rank"] = START_MILLISECONDS + self.now * 1000
            due_at = self._frees_at(name[0], line) if left else None
            rings = line["due_at"] is not None and line["due_at"] <= self.now and not is_due
            if not rings:
                line["due_at"] = due_at

    def _call_back(self, line, surplus, takes_turns):
        pending = [
            (place["rank"], task_id)
            for task_id, place in line["places"].items()
            if place["is_admitted"] and self.tasks[task_id]["status"] == "pending"
        ]
        for _, task_id in sorted(pending, reverse=True)[:surplus]:
            self.tasks[task_id].update(status="blocked", updated_at=self.now)
            line["places"][task_id]["is_admitted"] = False
            if takes_turns:
                self.tasks[task_id]["rank"] = line["places"][task_id]["rank"]

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
