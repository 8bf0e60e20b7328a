"""What people do to schedules."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.machine.steps import A_TYPE, NEAR_PICKS, Steps, instant

SCHEDULES = st.fixed_dictionaries(
    {"type": A_TYPE},
    optional={
        "rule": st.sampled_from([("interval_seconds", 25), ("interval_seconds", 600), ("every_minutes", 5)]),
        "overlap": st.sampled_from(["skip", "queue", "replace"]),
        "catch_up": st.sampled_from(["none", "one", "all"]),
        "catch_up_limit": st.integers(1, 3),
        "priority": st.sampled_from([0, 3]),
        "concurrency_key": st.sampled_from([None, "a"]),
    },
)


class Schedulers(Steps):
    """Rules of those who look after schedules."""

    def _schedule(self, given):
        """Return a schedule as the request says it, and as the model does."""
        given = dict(given)
        name, value = given.pop("rule", (None, None))
        if name is None:
            return given, given
        body = {name: value} if name == "interval_seconds" else {"cron": f"*/{value} * * * *"}
        return {**given, **body}, {**given, name: value}

    @rule(name=st.sampled_from(["first", "second"]), given=SCHEDULES)
    def save_schedule(self, name, given):
        body, given = self._schedule({"rule": ("interval_seconds", 120), **given})
        answer = self.send("POST", "/schedules", {"name": name, "params": {}, **body})
        schedule_id = answer.data["id"] if answer.status < 400 else None
        is_new = self.expect(
            "save_schedule", answer, lambda: self.model.save_schedule(name, given, schedule_id), (200, 201)
        )
        if is_new is not None:
            assert answer.data["created"] == is_new
            self._check_schedule(answer, schedule_id)

    @precondition(lambda self: self.model.schedules)
    @rule(number=NEAR_PICKS, given=SCHEDULES, is_paused=st.sampled_from([None, True, False]))
    def change_schedule(self, number, given, is_paused):
        if is_paused is not None:
            given = {"is_paused": is_paused}
        schedule_id = self.pick(number, list(self.model.schedules)) or 10**9
        body, given = self._schedule(given)
        answer = self.send("PATCH", f"/schedules/{schedule_id}", body)
        self.expect("change_schedule", answer, lambda: self.model.change_schedule(schedule_id, given))
        self._check_schedule(answer, schedule_id)

    def _check_schedule(self, answer, schedule_id):
        if answer.status < 400:
            schedule = self.model.schedules[schedule_id]
            wanted = (instant(schedule["due_at"]), schedule["created"], schedule["skipped"], schedule["last_task_id"])
            shown = tuple(answer.data[name] for name in ("due_at", "created_count", "skipped_count", "last_task_id"))
            assert shown == wanted

    @precondition(lambda self: self.model.schedules)
    @rule(number=st.integers(0, 3))
    def delete_schedule(self, number):
        schedule_id = 10**9 if number == 3 else self.pick(number, list(self.model.schedules))
        answer = self.send("DELETE", f"/schedules/{schedule_id}")
        self.expect("delete_schedule", answer, lambda: self.model.delete_schedule(schedule_id))
