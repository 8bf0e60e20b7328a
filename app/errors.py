"""Every error that the queue can raise, sorted by meaning; nothing here knows of HTTP.

The docstring of an error is shown to callers in the API's documentation. `code` is stable; `sentence` is the short
human text, some of which older clients look for word by word.
"""

from typing import ClassVar

Detail = dict[str, str]


class QueueError(Exception):
    """The request could not be served."""

    code: ClassVar[str] = "error"
    sentence: ClassVar[str] = "The request could not be served"

    def __init__(
        self,
        detail: str | None = None,
        *,
        sentence: str | None = None,
        details: list[Detail] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.shown_sentence = sentence or self.sentence
        self.detail = detail or " ".join((type(self).__doc__ or "").split())
        self.details = details or []
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{self.code}: {self.shown_sentence}: {self.detail}")


class Invalid(QueueError):
    """The request says something that cannot be right; repeating it unchanged will not help."""

    code = "invalid_request"
    sentence = "Validation failed"


class NotFound(QueueError):
    """What the request names does not exist."""

    code = "not_found"
    sentence = "Not found"


class Forbidden(QueueError):
    """The caller may not do this."""

    code = "forbidden"
    sentence = "Forbidden"


class Conflict(QueueError):
    """The request contradicts what has happened meanwhile."""

    code = "conflict"
    sentence = "Conflict"


class Unavailable(QueueError):
    """The service cannot answer now; try again after the stated seconds."""

    code = "unavailable"
    sentence = "Service temporarily unavailable"


class MissingField(Invalid):
    """A field that the request needs is missing; `details` names every one."""

    code = "missing_field"
    sentence = "Missing required field"


class InvalidSchema(Invalid):
    """The JSON Schema is not valid, refers to something outside itself, or would cost too much to check."""

    code = "invalid_schema"
    sentence = "Invalid JSON Schema"


class InvalidParameters(Invalid):
    """The parameters do not fit the task type's `param_schema`; `details` names every fault."""

    code = "invalid_parameters"
    sentence = "Parameter validation failed"


class InvalidResult(Invalid):
    """The result does not fit the task type's `result_schema`; the task is still claimed by its worker."""

    code = "invalid_result"
    sentence = "Result validation failed"


class InstantPassed(Invalid):
    """An instant lies in the past, or before another one that it must follow; `details` names it."""

    code = "instant_passed"
    sentence = "An instant has passed"


class InvalidSchedule(Invalid):
    """Nothing follows from the schedule: its cron expression, time zone or end cannot be; `details` names the field."""

    code = "invalid_schedule"
    sentence = "Invalid schedule"


class InvalidCursor(Invalid):
    """The cursor was not made by this server; begin again without one."""

    code = "invalid_cursor"
    sentence = "Invalid cursor"


class DependencyNotFound(Invalid):
    """A task that is to be waited for does not exist; `details` names every one."""

    code = "dependency_not_found"
    sentence = "A dependency does not exist"


class BatchRefused(Invalid):
    """Nothing of the batch was done, because it was to be done as a whole; `details` names the faults by item."""

    code = "batch_refused"
    sentence = "The batch was refused"


class InvalidWorkflow(Invalid):
    """The tasks of a workflow must have different names and wait only for each other; `details` names every fault."""

    code = "invalid_workflow"
    sentence = "Invalid workflow"


class CyclicWorkflow(Invalid):
    """Some tasks of the workflow wait for each other in a circle, which `detail` names."""

    code = "cyclic_workflow"
    sentence = "The workflow has a cycle"


class TaskTypeInactive(Invalid):
    """The task type does not accept new tasks; an admin can activate it again."""

    code = "task_type_inactive"
    sentence = "Task type is not active"


class TaskNotClaimed(Invalid):
    """The task is not being worked on, so there is nothing to report on; stop working on it."""

    code = "task_not_claimed"
    sentence = "Task is not in claimed state"


class TaskCancelled(TaskNotClaimed):
    """The task was cancelled while this worker had it, so its result is not wanted any more; stop working on it."""

    code = "task_cancelled"


class TaskNotFound(NotFound):
    """No task has this id; finished tasks are removed after the retention time of their type."""

    code = "task_not_found"
    sentence = "Task not found"


class TaskTypeNotFound(NotFound):
    """No task type has this name or id; register it first."""

    code = "task_type_not_found"
    sentence = "Task type not found"


class ScheduleNotFound(NotFound):
    """No schedule has this id."""

    code = "schedule_not_found"
    sentence = "Schedule not found"


class NoAvailableTasks(NotFound):
    """No task that fits this claim can be claimed now; ask again after `Retry-After` seconds."""

    code = "no_available_tasks"
    sentence = "No available tasks"


class WorkflowNotFound(NotFound):
    """No workflow has this id; a workflow is removed with the last of its tasks."""

    code = "workflow_not_found"
    sentence = "Workflow not found"


class OperationNotFound(NotFound):
    """No operation has this id; those that have ended are removed after 30 days."""

    code = "operation_not_found"
    sentence = "Operation not found"


class CommandedQuiet(NoAvailableTasks):
    """An admin told this worker to be quiet: it gets no tasks until the command is taken back; go on asking."""

    code = "commanded_quiet"


class CommandedTerminate(NoAvailableTasks):
    """An admin told this worker to terminate: it gets no tasks until the command is taken back; end the program."""

    code = "commanded_terminate"


class WorkerNotFound(NotFound):
    """No worker of this id was heard of within the last seven days."""

    code = "worker_not_found"
    sentence = "Worker not found"


class KeyNotFound(NotFound):
    """No API key has this id."""

    code = "key_not_found"
    sentence = "API key not found"


class ClaimedByAnother(Forbidden):
    """Another worker has claimed the task; stop working on it."""

    code = "claimed_by_another_worker"
    sentence = "Task is claimed by another worker"


class LeaseLost(Conflict):
    """The lease token is not that of the task's present claim: the lease ran out and the task has moved on, or the
    token belongs to another task or claim; stop working on it.
    """

    code = "lease_lost"
    sentence = "The lease was lost"


class TaskFinished(Conflict):
    """The task has already ended, so it cannot be cancelled."""

    code = "task_finished"
    sentence = "Task is already finished"


class DuplicateTask(Conflict):
    """An equal task is there already, and the type or the request says that a duplicate is to be rejected."""

    code = "duplicate_task"
    sentence = "An equal task exists"


class LimitBelowRunning(Conflict):
    """The limit is lower than the number of tasks that are claimed now; pause the type, or wait until fewer are."""

    code = "limit_below_running"
    sentence = "The limit is below what is running"


class TaskNotRequeuable(Conflict):
    """Only a task that has failed or was cancelled can be requeued; this one still waits, is claimed, or is done."""

    code = "task_not_requeuable"
    sentence = "Task cannot be requeued"


class NotADeadLetter(Conflict):
    """The task has not failed, so it is no dead letter."""

    code = "not_a_dead_letter"
    sentence = "Task is not a dead letter"


class OperationEnded(Conflict):
    """The operation has already ended, so it cannot be cancelled; what it has done stays done."""

    code = "operation_ended"
    sentence = "Operation has already ended"


class TaskNotWaiting(Conflict):
    """The task is being worked on or has ended; only one that still waits can be changed."""

    code = "task_not_waiting"
    sentence = "Task does not wait any more"


class IdempotencyKeyReused(Conflict):
    """This Idempotency-Key came with a different request before; use a new key for a new request."""

    code = "idempotency_key_reused"
    sentence = "Idempotency-Key was used for another request"


class LastAdminKey(Conflict):
    """This is the last usable admin key; create another before you revoke it, or nobody can administer the server."""

    code = "last_admin_key"
    sentence = "The last admin key cannot be revoked"


class TryAgain(Conflict):
    """Others kept changing the same row at the same moment; send the request again."""

    code = "try_again"
    sentence = "Too much contention"


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached or is overloaded; try again after `Retry-After` seconds."""

    code = "database_unavailable"
    sentence = "Database temporarily unavailable"


class QueueDraining(Unavailable):
    """The whole queue takes no new tasks for now; try again after `Retry-After` seconds."""

    code = "queue_draining"
    sentence = "The queue is draining"
