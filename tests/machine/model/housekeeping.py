"""What time must do, as docs/operating.md and docs/tasks.md describe it; only when somebody does it."""

from collections import deque

from tests.machine.model.base import FINISHED, YOUNG

# How long answers to requests with an Idempotency-Key are kept, as the server under test is told.
KEPT_ANSWERS = 1800
# In this order a claim that finds nothing does a slice of each.
JOBS = ("do_what_is_due", "fire_due_schedules", "admit_due", "run_operations")


class Housekeeping:
    """Rounds of housekeeping and the jobs of them that concern tasks."""

    def due_jobs(self):
        """Return the names of the jobs that have something to do now."""
        is_due = {
            "do_what_is_due": any(self.is_overdue(task) for task in self.tasks.values()),
            "fire_due_schedules": any(self.is_overdue(schedule) for schedule in self.schedules.values()),
            "admit_due": any(self.is_overdue(line) for line in self.lines.values()),
            "run_operations": any(operation["status"] == "running" for operation in self.operations.values()),
        }
        return [name for name in JOBS if is_due[name]]

    def do_a_slice(self):
        """Do what a claim that found nothing does before it looks again; tell whether that changed anything."""
        return any([self.do_job(name) for name in self.due_jobs()])

    def do_all(self, jobs):
        """Do these jobs in turn until none finds anything to do."""
        waiting = deque(jobs)
        while waiting:
            name = waiting.popleft()
            if self.do_job(name):
                waiting.append(name)

    def do_job(self, name):
        """Do a slice of one job; tell whether there was anything to do."""
        jobs = {
            "do_what_is_due": self.do_what_is_due,
            "fire_due_schedules": self.fire_due_schedules,
            "admit_due": self.look_at_due_lines,
            "run_operations": self.run_operations,
            "remove_old_answers": self.forget_old_answers,
        }
        return jobs[name]() if name in jobs else False

    def do_what_is_due(self):
        """Wake, expire, tell and remove: each task as it was found, so what follows from that comes with the next."""
        due = [task for task in self.tasks.values() if self.is_overdue(task)]
        by_status = {status: [task for task in due if task["status"] == status] for status in HANDLED}
        for status in ("blocked", "scheduled", "pending", "claimed"):
            found = by_status[status]
            if status == "scheduled":
                self.enter(found)
            elif status == "claimed":
                self._expire(found)
            else:
                self.give_up_waiting(found)
        for status in FINISHED:
            untold = [task["id"] for task in by_status[status] if task["is_followed"]]
            self.remove([task for task in by_status[status] if task["id"] not in untold])
            self.tell_followers(untold)
        return bool(due)

    def _expire(self, tasks):
        """End the attempts whose leases ran out."""
        # Another of the same slice may have changed it meanwhile.
        tasks = [task for task in tasks if task["status"] == "claimed" and self.is_overdue(task)]
        put_back, dead = [], []
        for task in tasks:
            self.end_attempt(task, "expired")
            end = self.retries_end(task)
            if task["deadline_at"] is not None and task["deadline_at"] <= self.now:
                dead.append((task, "deadline_passed"))
            elif task["attempts"] >= task["max_attempts"] or (end is not None and end <= self.now):
                dead.append((task, "lease_expired"))
            else:
                put_back.append(task)
        for task in put_back:
            task.update(status="pending", due_at=task["deadline_at"], attempt_ends_at=None, updated_at=self.now)
        self.enter([task for task in put_back if task["is_followed"] or self.retries_end(task) is not None])
        for reason in ("deadline_passed", "lease_expired"):
            for task, of_reason in dead:
                if of_reason == reason:
                    self.finish(task, "failed", failure_reason=reason, attempt_ends_at=None)

    def remove(self, tasks):
        """Remove what is kept no longer; what was created within the last minute goes a minute later."""
        for task in tasks:
            if task["id"] not in self.tasks or task["is_followed"] or not self.is_overdue(task):
                continue
            if task["created_at"] > self.now - YOUNG:
                task["due_at"] = self.now + YOUNG
                continue
            del self.tasks[task["id"]], self.attempts[task["id"]]
            for line in self.lines.values():
                line["places"].pop(task["id"], None)

    def forget_old_answers(self):
        """Forget the answers to Idempotency-Keys of long ago."""
        old = [key for key, answer in self.answers.items() if answer["at"] <= self.now - KEPT_ANSWERS]
        for key in old:
            del self.answers[key]
        return bool(old)


HANDLED = ("blocked", "scheduled", "pending", "claimed", *FINISHED)
