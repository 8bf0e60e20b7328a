"""Schedules, as docs/schedules.md describes them: intervals, and cron expressions of the form `*/N * * * *`."""

from tests.machine.model.base import FINISHED, Refused

IN_TIME = 60
DEFAULTS = {
    "interval_seconds": None,
    "every_minutes": None,
    "overlap": "skip",
    "catch_up": "one",
    "catch_up_limit": 100,
    "priority": 0,
    "concurrency_key": None,
    "is_paused": False,
}
RULE = {"interval_seconds", "every_minutes"}


class Schedules:
    """Saving, changing and firing schedules. `task_ids` tells the ids of fired tasks, by schedule and instant."""

    def save_schedule(self, name, given, schedule_id):
        """Create the schedule, or change the one of that name; tell whether it is new."""
        found = next((each for each in self.schedules.values() if each["name"] == name), None)
        if found is not None:
            self._change(found, given)
            return False
        if not self.find_type(given["type"])["is_active"]:
            raise Refused("task_type_inactive")
        schedule = {
            **DEFAULTS,
            **given,
            "id": schedule_id,
            "name": name,
            "anchor": self.now,
            "last_task_id": None,
            "created": 0,
            "skipped": 0,
        }
        schedule["due_at"] = self._next(schedule)
        self.schedules[schedule_id] = schedule
        return True

    def find_schedule(self, schedule_id):
        if schedule_id not in self.schedules:
            raise Refused("schedule_not_found")
        return self.schedules[schedule_id]

    def change_schedule(self, schedule_id, given):
        self._change(self.find_schedule(schedule_id), given)

    def delete_schedule(self, schedule_id):
        self.find_schedule(schedule_id)
        del self.schedules[schedule_id]

    def _change(self, schedule, given):
        self.find_type(given.get("type", schedule["type"]))
        # A cron expression replaces an interval, and the other way round.
        given = {**(dict.fromkeys(RULE) if RULE & given.keys() else {}), **given}
        changes = {name for name, value in given.items() if schedule[name] != value}
        if "type" in changes and not self.types[given["type"]]["is_active"]:
            raise Refused("task_type_inactive")
        schedule.update({name: given[name] for name in changes})
        # A new timetable and the end of a pause begin now.
        if changes & {*RULE, "is_paused"}:
            schedule["due_at"] = self._next(schedule)

    def _step(self, schedule):
        """Return from when and how often the schedule is due; cron counts from the full hour, where examples begin."""
        if schedule["interval_seconds"] is not None:
            return schedule["anchor"], schedule["interval_seconds"]
        return 0, 60 * schedule["every_minutes"]

    def _next(self, schedule):
        if schedule["is_paused"]:
            return None
        anchor, step = self._step(schedule)
        return anchor + max(0, (self.now - anchor) // step + 1) * step

    def fire_due_schedules(self):
        """Fire what is due; tell whether anything was."""
        due = [schedule for schedule in self.schedules.values() if self.is_overdue(schedule)]
        if self.is_draining:
            return False
        for schedule in sorted(due, key=lambda each: (each["due_at"], each["id"])):
            self._fire(schedule)
        return bool(due)

    def _fire(self, schedule):
        _, step = self._step(schedule)
        instants = list(range(schedule["due_at"], self.now + 1, step))
        in_time = [at for at in instants if self.now - at <= IN_TIME]
        missed = instants[: len(instants) - len(in_time)]
        made_up_for = {
            "none": [],
            "one": missed[-1:] if not in_time else [],
            "all": missed[-schedule["catch_up_limit"] :],
        }[schedule["catch_up"]]
        schedule["due_at"] = self._next(schedule)
        wanted = [*made_up_for, *in_time]
        previous = self.tasks.get(schedule["last_task_id"])
        if schedule["overlap"] == "skip":
            is_over = previous is None or previous["status"] in FINISHED
            wanted = wanted[:1] if is_over else []
        elif schedule["overlap"] == "replace":
            wanted = wanted[-1:]
        if not self.types[schedule["type"]]["is_active"]:
            wanted = []
        schedule["created"] += len(wanted)
        schedule["skipped"] += len(instants) - len(wanted)
        if not wanted:
            return
        asked = {
            "type": schedule["type"],
            "params": {},
            "priority": schedule["priority"],
            "concurrency_key": schedule["concurrency_key"],
            "is_unique": True,
            "schedule_id": schedule["id"],
        }
        ids = [self.task_ids(schedule["id"], at) for at in wanted]
        self.create_many([{**asked, "scheduled_for": at} for at in wanted], ids)
        schedule["last_task_id"] = ids[-1]
        if schedule["overlap"] == "replace" and previous is not None and previous["status"] not in FINISHED:
            self.cancel(previous["id"])
