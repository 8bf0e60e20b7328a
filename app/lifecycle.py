"""The states of a task, and which state may follow which."""

from enum import IntEnum


class TaskStatus(IntEnum):
    """Where a task stands; the number is what the table holds, the word is what the API says."""

    BLOCKED = 1
    SCHEDULED = 2
    PENDING = 3
    CLAIMED = 4
    COMPLETED = 5
    FAILED = 6
    CANCELLED = 7

    @property
    def word(self) -> str:
        """The name of the status on the wire."""
        return self.name.lower()

    @classmethod
    def from_word(cls, word: str) -> "TaskStatus | None":
        """Return the status that the API calls `word`, or None."""
        return _BY_WORD.get(word)


_BY_WORD = {status.word: status for status in TaskStatus}


class FailureReason:
    """Why a dead letter died, as the table and the API say it."""

    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    NOT_RETRYABLE = "not_retryable"
    DEADLINE_PASSED = "deadline_passed"
    LEASE_EXPIRED = "lease_expired"
    DEPENDENCY_FAILED = "dependency_failed"


# What waits: for other tasks or in the line of its concurrency key, for its time, or for a worker.
WAITING = (TaskStatus.BLOCKED, TaskStatus.SCHEDULED, TaskStatus.PENDING)
UNFINISHED = (*WAITING, TaskStatus.CLAIMED)
FINISHED = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED)

# An expired attempt leaves its token in the row, so that its worker may still complete the task until somebody
# else claims it: that is why a waiting task, and a dead letter that died of time, may become completed.
# A person may requeue what has failed or was cancelled.
_REQUEUED = frozenset({TaskStatus.BLOCKED, TaskStatus.PENDING})
TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.BLOCKED: frozenset(
        {TaskStatus.SCHEDULED, TaskStatus.PENDING, TaskStatus.COMPLETED, TaskStatus.CANCELLED, TaskStatus.FAILED}
    ),
    TaskStatus.SCHEDULED: frozenset({TaskStatus.BLOCKED, TaskStatus.PENDING, TaskStatus.CANCELLED, TaskStatus.FAILED}),
    TaskStatus.PENDING: frozenset(
        {
            TaskStatus.BLOCKED,
            TaskStatus.SCHEDULED,
            TaskStatus.CLAIMED,
            TaskStatus.COMPLETED,
            TaskStatus.CANCELLED,
            TaskStatus.FAILED,
        }
    ),
    TaskStatus.CLAIMED: frozenset(
        {
            TaskStatus.BLOCKED,
            TaskStatus.COMPLETED,
            TaskStatus.SCHEDULED,
            TaskStatus.PENDING,
            TaskStatus.FAILED,
            TaskStatus.CANCELLED,
        }
    ),
    TaskStatus.COMPLETED: frozenset(),
    TaskStatus.FAILED: frozenset({TaskStatus.COMPLETED}) | _REQUEUED,
    TaskStatus.CANCELLED: _REQUEUED,
}
