"""Reports of workers: who may speak for a task, and what comes of it (docs/workers.md, docs/tasks.md)."""

from tests.machine.model.base import Refused

DIED_OF_TIME = ("lease_expired", "deadline_passed")
BACKOFFS = {"fixed": lambda attempts: 1, "linear": lambda attempts: attempts, "exponential": lambda n: 2 ** (n - 1)}


class Reports:
    """Heartbeat, progress, complete, fail, release."""

    def refuse_strangers(self, task, worker_id, token):
        """Raise Refused unless this worker holds the task now, however long its lease has run out."""
        if token is not None and task["token"] != token:
            raise Refused("lease_lost")
        if task["status"] == "cancelled" and task["claimed_by"] == worker_id:
            raise Refused("task_cancelled")
        if task["status"] != "claimed":
            raise Refused("task_not_claimed")
        if task["claimed_by"] != worker_id:
            raise Refused("claimed_by_another_worker")

    def may_still_complete(self, task, worker_id, token):
        """Tell whether the worker's lease ended and nobody has claimed the task since."""
        if task["claimed_by"] != worker_id or (token is not None and task["token"] != token):
            return False
        if task["status"] == "failed":
            return task["failure_reason"] in DIED_OF_TIME
        return task["status"] in ("pending", "blocked")

    def refuse_late(self, task, worker_id, token):
        """As `refuse_strangers`; what comes after a takeover is kept with the attempt that expired."""
        try:
            self.refuse_strangers(task, worker_id, token)
        except Refused as refusal:
            if refusal.code in ("lease_lost", "claimed_by_another_worker"):
                attempt = self._attempt_of(task, worker_id, token)
                if attempt is not None and attempt["outcome"] == "expired":
                    attempt["is_late"] = True
            raise

    def _attempt_of(self, task, worker_id, token):
        """Return the worker's unsuccessful attempt with this token, or its latest if it names none."""
        found = [
            attempt
            for attempt in self.attempts[task["id"]]
            if attempt["worker_id"] == worker_id and token in (None, attempt["token"])
        ]
        return found[-1] if found else None

    def was_said(self, task, worker_id, token, outcome):
        """Tell whether this very claim has been reported to end so before."""
        if token is None or task["token"] == token:
            return False
        attempt = self._attempt_of(task, worker_id, token)
        return attempt is not None and attempt["outcome"] == outcome

    def end_attempt(self, task, outcome):
        self.attempts[task["id"]].append(
            {
                "number": task["attempts"],
                "worker_id": task["claimed_by"],
                "token": task["token"],
                "outcome": outcome,
                "is_late": False,
            }
        )

    def beat(self, task_id, worker_id, token, lease_seconds=None, *, refuses_cancelled=False, **report):
        """Extend the lease; return the task, or None if it was cancelled meanwhile."""
        task = self.find(task_id)
        is_own = task["claimed_by"] == worker_id and token in (None, task["token"])
        if task["status"] == "cancelled" and is_own and not refuses_cancelled:
            self.workers.add(worker_id)
            return None
        self.refuse_strangers(task, worker_id, token)
        self.workers.add(worker_id)
        ends_at = self.now + (lease_seconds or task["lease_seconds"])
        limit = task["attempt_ends_at"]
        task.update(due_at=ends_at if limit is None else min(ends_at, limit), updated_at=self.now, **report)
        return task

    def was_completed_so(self, task, worker_id, token):
        is_own = task["claimed_by"] == worker_id and task["token"] == token
        return task["status"] == "completed" and is_own

    def may_complete(self, task, worker_id, token):
        """Tell whether this report of success is the one that counts."""
        is_holder = task["status"] == "claimed" and task["claimed_by"] == worker_id and token in (None, task["token"])
        return is_holder or self.may_still_complete(task, worker_id, token)

    def complete(self, task_id, worker_id, token, result):
        self.refuse_result(self.type_of_token(token), result)
        task = self.find(task_id)
        if self.was_completed_so(task, worker_id, token):
            return task
        if not self.may_complete(task, worker_id, token):
            self.refuse_late(task, worker_id, token)
        self.refuse_result(task["type"], result)
        self.apply_result(task, result)
        if task["was_followed"]:
            self.tell_followers([task_id])
        return task

    def type_of_token(self, token):
        """Return the name of the type that a token names, also a tampered one, or None.

        The server goes by it before it looks at the task: so a result that cannot be right is refused as such.
        """
        parts = (token or "").removesuffix("-f").split("-")
        return next(
            (name for name, kind in self.types.items() if len(parts) == 3 and parts[0] == str(kind["id"])), None
        )

    def refuse_result(self, type_name, result):
        """Raise Refused if the result does not fit the type's schema; in the examples that is `integer`, if any."""
        if type_name is not None and self.types[type_name]["result_schema"] is not None and not isinstance(result, int):
            raise Refused("invalid_result")

    def apply_result(self, task, result):
        self.finish(task, "completed", result=result, progress=100, failure_reason=None, attempt_ends_at=None)

    def fail(self, task_id, worker_id, token, *, retryable, retry_after_seconds=None):
        task = self.find(task_id)
        if self.was_said(task, worker_id, token, "failed") or self.may_still_complete(task, worker_id, token):
            return task
        self.refuse_late(task, worker_id, token)
        self.apply_failures([(task, retryable, retry_after_seconds)])
        return task

    def apply_failures(self, failures):
        """End these attempts; each task is a dead letter or waits for its next attempt."""
        for task, retryable, retry_after_seconds in failures:
            self.end_attempt(task, "failed")
            reason, delay = self._reason_and_delay(task, retryable, retry_after_seconds)
            let_go = {"claimed_by": None, "token": None, "attempt_ends_at": None}
            if reason is not None:
                self.finish(task, "failed", failure_reason=reason, **let_go)
                continue
            task.update(available_at=self.now + delay, updated_at=self.now, **let_go)
            status = "scheduled" if delay > 0 else "pending"
            due_at = task["available_at"] if delay > 0 else self.gives_up_at(task)
            task.update(status=status, due_at=due_at)
        followed = [task for task, _, _ in failures if task["is_followed"]]
        by_status = {status: [task for task in followed if task["status"] == status] for status in STATUSES_AFTER}
        self.tell_followers([task["id"] for task in by_status["failed"]])
        self.leave_line([task["id"] for task in by_status["scheduled"]])
        self.enter(by_status["pending"])

    def _reason_and_delay(self, task, retryable, retry_after_seconds):
        """Return why nothing more is tried, or None and the seconds until the next attempt."""
        kind = self.kind_of(task)
        if not retryable:
            return "not_retryable", 0
        if task["attempts"] >= task["max_attempts"]:
            return "attempts_exhausted", 0
        delay = min(3600, kind["retry_delay_seconds"] * BACKOFFS[kind["retry_backoff"]](task["attempts"]))
        if retry_after_seconds is not None:
            delay = retry_after_seconds
        end = self.retries_end(task)
        if end is not None and self.now + delay >= end:
            return "attempts_exhausted", 0
        if task["deadline_at"] is not None and self.now + delay >= task["deadline_at"]:
            return "deadline_passed", 0
        return None, delay

    def release(self, task_id, worker_id, token, delay_seconds):
        task = self.find(task_id)
        if self.was_said(task, worker_id, token, "released"):
            return task
        self.refuse_strangers(task, worker_id, token)
        self.end_attempt(task, "released")
        task.update(dict.fromkeys(("claimed_by", "claimed_at", "token", "attempt_ends_at")))
        task.update(attempts=task["attempts"] - 1, progress=0, updated_at=self.now)
        if task["attempts"] == 0:
            task["first_claimed_at"] = None
        task["available_at"] = self.now + delay_seconds
        if delay_seconds > 0:
            task["status"] = "scheduled"
            task["due_at"] = min(task["available_at"], task["deadline_at"] or task["available_at"])
            self.leave_line([task_id])
        else:
            task.update(status="pending", due_at=self.gives_up_at(task))
            self.enter([task] if task["is_followed"] else [])
        return task


STATUSES_AFTER = ("failed", "scheduled", "pending")
