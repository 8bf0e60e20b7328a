"""Changes of many tasks by a filter, as docs/dead-letters.md describes them."""

from tests.machine.model.base import UNFINISHED, Refused

FILTERS = {
    "type": lambda model, task, name: task["type"] == name,
    "statuses": lambda model, task, statuses: task["status"] in statuses,
    "failure_reason": lambda model, task, reason: task["failure_reason"] == reason,
    "failed_before": lambda model, task, at: task["completed_at"] < at,
    "created_before": lambda model, task, at: task["created_at"] < at,
    "worker_id": lambda model, task, worker_id: any(
        attempt["worker_id"] == worker_id for attempt in model.attempts[task["id"]]
    ),
    "workflow_id": lambda model, task, workflow_id: task["workflow_id"] == workflow_id,
    "ids": lambda model, task, ids: task["id"] in ids,
    "all": lambda model, task, is_all: True,
}
# These lead to the tasks directly, so that none is missed and one walk is enough.
DIRECT = ("ids", "workflow_id")


class Operations:
    """Operations, slice by slice; all tasks of an example fit into one slice."""

    def begin(self, kind, which, operation_id=None, extra_attempts=None, *, at_once=False):
        operation = {
            "kind": kind,
            "which": which,
            "extra_attempts": extra_attempts,
            "status": "running",
            "up_to": self.last_task_id,
            "begun_at": self.now,
            "changed": 0,
            # What has to wait until those are told that wait for it.
            "left": None,
        }
        # An operation that nobody asked for by a request has a number that nobody is told.
        self.operations[operation_id or f"own {len(self.operations)}"] = operation
        while at_once and operation["status"] == "running" and self._do_slice(operation):
            pass
        return operation

    def run_operations(self):
        """Do a slice of the first operation that can go on; tell whether there was one."""
        running = [operation for operation in self.operations.values() if operation["status"] == "running"]
        return any(self._do_slice(operation) for operation in running)

    def cancel_operation(self, operation_id):
        operation = self.operations.get(operation_id)
        if operation is None:
            raise Refused("operation_not_found")
        if operation["status"] == "running":
            operation["status"] = "cancelled"
        if operation["status"] != "cancelled":
            raise Refused("operation_ended")

    def _meant(self, operation):
        if operation["left"] is not None:
            found = [self.tasks[task_id] for task_id in operation["left"] if task_id in self.tasks]
        else:
            found = [task for task in self.tasks.values() if task["id"] <= operation["up_to"]]
        of_dead_letters = operation["kind"] in ("requeue_dead_letters", "purge_dead_letters")
        found = [task for task in found if task["status"] in (("failed",) if of_dead_letters else UNFINISHED)]
        if of_dead_letters:
            found = [task for task in found if task["completed_at"] <= operation["begun_at"]]
        return [
            task
            for task in found
            if all(FILTERS[name](self, task, value) for name, value in operation["which"].items())
        ]

    def _do_slice(self, operation):
        """Change what is meant; tell whether the operation has moved on."""
        meant = self._meant(operation)
        changed = meant
        held = []
        if operation["kind"] == "requeue_dead_letters":
            self.requeue_all(meant, operation["extra_attempts"])
        elif operation["kind"] == "cancel_tasks":
            for task in meant:
                self.finish(task, "cancelled", attempt_ends_at=None)
        elif operation["kind"] == "purge_dead_letters":
            for task in meant:
                task["due_at"] = self.now
            held = [task["id"] for task in meant if task["is_followed"]]
            changed = [task for task in meant if task["id"] not in held]
            self.remove(changed)
        else:
            for task in meant:
                rank = self.waiting_rank(task)
                if self.has_its_turn(task) or rank == task["rank"]:
                    continue
                task["rank"] = rank
                if self.place_of(task["id"]) is not None:
                    self.place_of(task["id"])["rank"] = rank
        operation["changed"] += len(changed)
        walks_again = operation["kind"] == "cancel_tasks" and not set(DIRECT) & set(operation["which"])
        is_first = operation["left"] is None
        operation["left"] = held or None
        if not held and not (walks_again and changed):
            operation["status"] = "completed"
        return bool(is_first or changed or operation["status"] == "completed")
