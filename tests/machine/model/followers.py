"""Tasks that wait for other tasks, as docs/workflows.md describes them."""

from collections import deque

from tests.machine.model.base import FINISHED

# So many dependents are told at a time, and a task that has ended counts as 20 of them; the rest hears of it later.
AT_A_TIME = 500
PER_TASK = 20


class Followers:
    """What the end of a task means to those that waited for it."""

    def state_by_prerequisites(self, depends_on, on_failure):
        """Return `blocked`, `failed` or `cancelled` for a new task that is to wait for these, or None."""
        statuses = [self.tasks[task_id]["status"] for task_id in depends_on]
        if on_failure != "run_anyway" and {"failed", "cancelled"} & set(statuses):
            return "failed" if on_failure == "fail" else "cancelled"
        return None if all(status in FINISHED for status in statuses) else "blocked"

    def tell_followers(self, task_ids):
        """Tell those who wait for these tasks, as far as they have ended; return whether there was anybody to tell."""
        ended = deque(sorted(task_id for task_id in task_ids if self._is_untold(task_id)))
        if not ended:
            return False
        self.leave_line(list(ended))
        left = AT_A_TIME
        while ended and left > 0:
            task = self.tasks[ended.popleft()]
            dependents = [other for other in self.tasks.values() if other["waits_for"].get(task["id"])]
            ended.extend(self._tell(task, dependents))
            if task["is_followed"]:
                removed_at = task["completed_at"] + self.kind_of(task)["retention_seconds"]
                task.update(is_followed=False, due_at=removed_at)
            left -= len(dependents) + PER_TASK
        return True

    def _is_untold(self, task_id):
        task = self.tasks[task_id]
        return task["is_followed"] and task["status"] in FINISHED

    def _tell(self, ended, dependents):
        """Tell these dependents; return those that end with the task and have followers of their own."""
        for dependent in dependents:
            dependent["waits_for"][ended["id"]] = False
        blocked = [dependent for dependent in dependents if dependent["status"] == "blocked"]
        doomed = []
        if ended["status"] != "completed":
            doomed = [dependent for dependent in blocked if dependent["on_failure"] != "run_anyway"]
        self.enter(
            [task for task in blocked if task not in doomed and not any(task["waits_for"].values())],
        )
        for task in doomed:
            if task["on_failure"] == "fail":
                self.finish(task, "failed", failure_reason="dependency_failed")
            else:
                self.finish(task, "cancelled")
        return sorted(task["id"] for task in doomed if task["is_followed"])

    def waits_again(self, task):
        """Let a requeued task wait for what is not completed of all that it depends on; tell whether it has to."""
        for task_id in task["waits_for"]:
            prerequisite = self.tasks.get(task_id)
            status = "completed" if prerequisite is None else prerequisite["status"]
            may_begin = status in FINISHED if task["on_failure"] == "run_anyway" else status == "completed"
            task["waits_for"][task_id] = not may_begin
            if not may_begin:
                prerequisite["is_followed"] = True
        return any(task["waits_for"].values())
