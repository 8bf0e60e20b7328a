"""Tasks: how they wait, end, and are changed by people, as docs/tasks.md describes it."""

from tests.machine.model.base import FINISHED, LATEST_RANK, START_MILLISECONDS, WAITING, Refused, first_of


class Tasks:
    """What all verbs need to know of tasks, and the verbs of people on one task."""

    def find(self, task_id):
        if task_id not in self.tasks:
            raise Refused("task_not_found")
        return self.tasks[task_id]

    def kind_of(self, task):
        return self.types[task["type"]]

    def rank_of(self, kind, priority, available_at, deadline_at):
        """Return the place of a task among its equals, lowest first."""
        if kind["claim_order"] == "deadline":
            return LATEST_RANK if deadline_at is None else START_MILLISECONDS + deadline_at * 1000
        if kind["priority_aging_seconds"] is not None:
            return START_MILLISECONDS + 1000 * (available_at - priority * kind["priority_aging_seconds"])
        return -priority

    def waiting_rank(self, task):
        """Return the rank that the policies of now give to a task that waits."""
        since = task["available_at"] if task["attempts"] == 0 else task["created_at"]
        return self.rank_of(self.kind_of(task), task["priority"], since, task["deadline_at"])

    def has_its_turn(self, task):
        """Tell whether the rank of the task is the turn of its key."""
        takes_turns = self.kind_of(task)["key_order"] == "round_robin"
        return takes_turns and task["status"] == "pending"

    def is_overdue(self, task):
        return task["due_at"] is not None and task["due_at"] <= self.now

    def retries_end(self, task):
        seconds = self.kind_of(task)["retry_for_seconds"]
        began_at = task["first_claimed_at"]
        return None if seconds is None or began_at is None else began_at + seconds

    def gives_up_at(self, task):
        """Return when a task that begins to wait for a worker now is given up, if nobody starts it."""
        if task["attempts"] > 0:
            return first_of(self.retries_end(task), task["deadline_at"])
        seconds = self.kind_of(task)["expires_after_seconds"]
        return first_of(None if seconds is None else self.now + seconds, task["deadline_at"])

    def enter(self, tasks):
        """Let these tasks, which wait for no other, wait for their time, in line, or for a worker."""
        joining = []
        for task in tasks:
            has_missed = task["deadline_at"] is not None and task["deadline_at"] <= self.now
            task["updated_at"] = self.now
            if task["available_at"] > self.now and not has_missed:
                task.update(status="scheduled", due_at=first_of(task["available_at"], task["deadline_at"]))
                continue
            task.update(status="pending", due_at=self.gives_up_at(task))
            if self.line_key(task) is not None:
                task.update(status="blocked", is_followed=True)
                if self.kind_of(task)["key_order"] == "round_robin":
                    # The rank of an earlier turn is over.
                    task["rank"] = self.waiting_rank(task)
                joining.append(task)
        if joining:
            self.join_line(joining)

    def finish(self, task, status, **changes):
        """End a task; where others wait for that, its alarm rings at once until they have been told."""
        removed_at = self.now + self.kind_of(task)["retention_seconds"]
        task.update(
            status=status,
            completed_at=self.now,
            updated_at=self.now,
            due_at=self.now if task["is_followed"] else removed_at,
            **changes,
        )

    def give_up_waiting(self, tasks):
        """Fail these tasks, which nobody started in time."""
        for task in tasks:
            end = self.retries_end(task)
            has_missed = task["deadline_at"] is not None and task["deadline_at"] <= self.now
            if has_missed or end is None or end > self.now:
                reason = "deadline_passed"
            else:
                reason = "attempts_exhausted" if task["token"] is None else "lease_expired"
            self.finish(task, "failed", failure_reason=reason)

    def cancel(self, task_id):
        task = self.find(task_id)
        if task["status"] == "cancelled":
            return
        if task["status"] in FINISHED:
            raise Refused("task_finished")
        self.finish(task, "cancelled")
        self.tell_followers([task_id])

    def change_priority(self, task_id, priority):
        task = self.find(task_id)
        if task["status"] not in WAITING:
            raise Refused("task_not_waiting")
        if task["priority"] == priority:
            return
        if not self.has_its_turn(task):
            kind = self.kind_of(task)
            ranks = [self.rank_of(kind, each, 0, None) for each in (task["priority"], priority)]
            rank = max(-LATEST_RANK, min(LATEST_RANK, task["rank"] + ranks[1] - ranks[0]))
            if rank != task["rank"] and self.line_key(task) is not None and self.place_of(task_id) is not None:
                self.place_of(task_id)["rank"] = rank
            task["rank"] = rank
        task.update(priority=priority, updated_at=self.now)

    def requeue(self, task_id, extra_attempts=None):
        task = self.find(task_id)
        if task["status"] not in ("failed", "cancelled"):
            raise Refused("task_not_requeuable")
        self.requeue_all([task], extra_attempts)

    def requeue_all(self, tasks, extra_attempts):
        """Let these tasks wait again, from now on and for all that they waited for."""
        for task in tasks:
            if extra_attempts is None:
                task["attempts"] = 0
            else:
                task["max_attempts"] = task["attempts"] + extra_attempts
            if task["deadline_at"] is not None and task["deadline_at"] <= self.now:
                task["deadline_at"] = None
            cleared = ("result", "failure_reason", "claimed_by", "claimed_at", "token")
            task.update(dict.fromkeys((*cleared, "attempt_ends_at", "first_claimed_at", "completed_at")))
            task.update(status="pending", progress=0, available_at=self.now, updated_at=self.now)
            task["rank"] = self.rank_of(self.kind_of(task), task["priority"], self.now, task["deadline_at"])
            seconds = self.kind_of(task)["expires_after_seconds"]
            task["due_at"] = first_of(None if seconds is None else self.now + seconds, task["deadline_at"])
        held_back = [task for task in tasks if self.waits_again(task)]
        for task in held_back:
            task.update(status="blocked", due_at=task["deadline_at"])
        keyed = [task for task in tasks if self.line_key(task) is not None]
        for task in keyed:
            task["is_followed"] = True
        # Requeued before anybody was told of its end, it may still have its old place in line.
        self.leave_line([task["id"] for task in keyed if task in held_back])
        joining = [task for task in keyed if task not in held_back]
        for task in joining:
            task["status"] = "blocked"
        if joining:
            self.join_line(joining)

    def purge(self, task_id):
        """Remove a dead letter; tell whether it is gone already."""
        self.tell_followers([task_id] if task_id in self.tasks else [])
        task = self.find(task_id)
        if task["status"] != "failed":
            raise Refused("not_a_dead_letter")
        if task["is_followed"]:
            raise Refused("try_again")
        task["due_at"] = self.now
        self.remove([task])
        return task_id not in self.tasks
