"""What all parts of the model share: words, an error, and the clock's beginning."""

from tests.support.clock import START

WAITING = ("blocked", "scheduled", "pending")
UNFINISHED = (*WAITING, "claimed")
FINISHED = ("completed", "failed", "cancelled")
# The model counts whole seconds from the beginning of the example; only ranks by deadline are milliseconds since 1970.
START_MILLISECONDS = round(START.timestamp() * 1000)
LATEST_RANK = 2**62
# What is younger is removed a minute later.
YOUNG = 60

STATUSES = {
    "invalid_request": 400,
    "invalid_parameters": 400,
    "instant_passed": 400,
    "dependency_not_found": 400,
    "batch_refused": 400,
    "cyclic_workflow": 400,
    "task_type_inactive": 400,
    "task_not_claimed": 400,
    "task_cancelled": 400,
    "invalid_result": 400,
    "claimed_by_another_worker": 403,
    "task_not_found": 404,
    "task_type_not_found": 404,
    "no_available_tasks": 404,
    "schedule_not_found": 404,
    "workflow_not_found": 404,
    "operation_not_found": 404,
    "worker_not_found": 404,
    "commanded_quiet": 404,
    "commanded_terminate": 404,
    "duplicate_task": 409,
    "idempotency_key_reused": 409,
    "lease_lost": 409,
    "limit_below_running": 409,
    "not_a_dead_letter": 409,
    "operation_ended": 409,
    "task_finished": 409,
    "task_not_requeuable": 409,
    "task_not_waiting": 409,
    "try_again": 409,
    "queue_draining": 503,
}


class Refused(Exception):
    """The request is to be refused with this code."""

    def __init__(self, code):
        self.code = code
        self.status = STATUSES[code]
        super().__init__(code)


def first_of(*instants):
    """Return the earliest of those instants that there are, or None."""
    return min((instant for instant in instants if instant is not None), default=None)
