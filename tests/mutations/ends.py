"""Faults in how a worker ends an attempt: complete and fail, one by one and in batches."""

from tests.mutations.mutation import Mutation

_FINISH = ("tests/queue/test_finish.py",)
_REGRESSIONS = ("tests/queue/test_regressions.py",)
_BATCH = ("tests/queue/test_report_batch.py",)
_GUARDS = ("tests/queue/test_guards.py",)
_LINES = ("tests/queue/test_lines.py",)

ENDS = (
    Mutation(
        "A completion does not look at the token",
        "app/queue/complete.py",
        '.where(tasks.c.id == bindparam("task_id"), tasks.c.lease_token == bindparam("token"), *MAY_COMPLETE)',
        '.where(tasks.c.id == bindparam("task_id"), bindparam("token").is_not(None), *MAY_COMPLETE)',
        _FINISH,
    ),
    Mutation(
        "A completion does not look at the worker",
        "app/queue/complete.py",
        'tasks.c.claimed_by == bindparam("worker"),',
        'bindparam("worker").is_not(None),',
        _FINISH,
    ),
    Mutation(
        "A completion does not look at the status",
        "app/queue/complete.py",
        "        and_(\n            tasks.c.status == int(TaskStatus.FAILED),",
        "        and_(\n            tasks.c.status.is_not(None),",
        _FINISH,
    ),
    Mutation(
        "A dead letter that died of time may not be completed any more",
        "app/queue/complete.py",
        "or_(*(tasks.c.failure_reason == reason for reason in DIED_OF_TIME))",
        "tasks.c.failure_reason.is_(None)",
        _FINISH,
    ),
    Mutation(
        "An expired task in line may not be completed by its worker",
        "app/queue/complete.py",
        "(TaskStatus.CLAIMED, TaskStatus.PENDING, TaskStatus.BLOCKED)",
        "(TaskStatus.CLAIMED, TaskStatus.PENDING)",
        _LINES,
    ),
    Mutation(
        "An expired task that was put back may not be completed by its worker",
        "app/queue/complete.py",
        "(TaskStatus.CLAIMED, TaskStatus.PENDING, TaskStatus.BLOCKED)",
        "(TaskStatus.CLAIMED, TaskStatus.BLOCKED)",
        _FINISH,
    ),
    Mutation(
        "The result is not checked against its schema",
        "app/queue/complete.py",
        "            check_result(task_type.result_schema, result)\n",
        "",
        _FINISH,
    ),
    Mutation(
        "A completion forgets those that wait for it",
        "app/queue/complete.py",
        "                if lease.has_followers:\n                    follow_up(tx, [task_id])\n",
        "",
        ("tests/queue/test_dependencies.py",),
    ),
    Mutation(
        "A second completion counts as the first, whatever its token",
        "app/queue/complete.py",
        'task["lease_token"] == token or (tx.is_rerun',
        'task["lease_token"] is not None or (tx.is_rerun',
        _FINISH,
    ),
    Mutation(
        "A rerun takes any completion of its worker for its own",
        "app/queue/complete.py",
        '(tx.is_rerun and task["completed_at"] == tx.now)',
        "tx.is_rerun",
        (*_REGRESSIONS, *_GUARDS),
    ),
    Mutation(
        "A completion keeps the reason and the error of the attempts before",
        "app/queue/complete.py",
        '    "error_message": null(),\n    "failure_reason": null(),\n',
        "",
        _FINISH,
    ),
    Mutation(
        "A batch of completions does not look at the tokens",
        "app/queue/end_batch.py",
        "tasks.c.lease_token == token,",
        "tasks.c.lease_token.is_not(None),",
        _BATCH,
    ),
    Mutation(
        "A batch of completions does not look at statuses and workers",
        "app/queue/end_batch.py",
        ", *MAY_COMPLETE)",
        ', bindparam("worker").is_not(None))',
        _BATCH,
    ),
    Mutation(
        "A batch of failures does not write down the attempts",
        "app/queue/end_batch.py",
        "    add_ends(tx, [(failure.task, failure.error, failure.error_details) for failure in failures], FAILED)\n",
        "",
        _BATCH,
    ),
    Mutation(
        "A batch that misses one task takes all for completed",
        "app/queue/report_batch.py",
        "if complete_batch(tx, find_type_by_id(tx, type_id), worker_id, successes) == len(successes):",
        "if complete_batch(tx, find_type_by_id(tx, type_id), worker_id, successes):",
        _BATCH,
    ),
    Mutation(
        "Of two reports of one batch that contradict each other the last counts",
        "app/queue/report_batch.py",
        "first.setdefault(report.task_id, report)",
        "first[report.task_id] = report",
        _BATCH,
    ),
    Mutation(
        "A failure does not look at the status",
        "app/queue/fail.py",
        '    tasks.c.status == int(TaskStatus.CLAIMED),\n    tasks.c.lease_token == bindparam("token"),\n)',
        '    tasks.c.lease_token == bindparam("token"),\n)',
        (*_FINISH, *_GUARDS),
    ),
    Mutation(
        "A failure does not look at the token",
        "app/queue/fail.py",
        '    tasks.c.lease_token == bindparam("token"),\n)',
        '    bindparam("token").is_not(None),\n)',
        (*_FINISH, *_GUARDS),
    ),
    Mutation(
        "A failure does not look at the number of attempts",
        "app/queue/fail.py",
        'elif task["attempts"] >= task["max_attempts"]:',
        "elif False:",
        _FINISH,
    ),
    Mutation(
        "A task gets one attempt too many",
        "app/queue/fail.py",
        'elif task["attempts"] >= task["max_attempts"]:',
        'elif task["attempts"] > task["max_attempts"]:',
        _FINISH,
    ),
    Mutation(
        "A retry may begin at the deadline",
        "app/queue/fail.py",
        'begin_at >= task["deadline_at"]',
        'begin_at > task["deadline_at"]',
        _FINISH,
    ),
    Mutation(
        "A failure is not written down as an attempt",
        "app/queue/fail.py",
        "                add_attempt(tx, task, FAILED, error, error_details)\n",
        "",
        _FINISH,
    ),
    Mutation(
        "The same failure said twice counts twice",
        "app/queue/fail.py",
        "        if was_said_before(tx, task, worker_id, lease_token, FAILED):\n            return task\n",
        "",
        _FINISH,
    ),
    Mutation(
        "A failure reported after the expiry counts a second time",
        "app/queue/fail.py",
        "        if was_not_taken_over(task, worker_id, lease_token):\n",
        "        if False:\n",
        _FINISH,
    ),
    Mutation(
        "A task that waits for its retry keeps its place in line",
        "app/queue/fail.py",
        'leave_line(tx, [task["id"] for task in scheduled])',
        "pass",
        _LINES,
    ),
    Mutation(
        "A task that waits for its retry has no alarm",
        "app/queue/fail.py",
        '        available_at: datetime = values["available_at"]\n        return available_at\n',
        "        return None\n",
        _FINISH,
    ),
)
