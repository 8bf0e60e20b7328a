"""Faults in who waits for whom, and in what comes back: dependencies and requeueing."""

from tests.mutations.mutation import Mutation

_GUARDS_OF_WAITING = ("tests/queue/test_guards_of_waiting.py",)
_DEPENDENCIES = ("tests/queue/test_dependencies.py",)
_REQUEUE = ("tests/queue/test_requeue.py",)

FOLLOWERS = (
    Mutation(
        "A dependent is released by the first of those it waits for",
        "app/queue/follow.py",
        "for task_id, row in blocked.items() if task_id not in unmet])",
        "for task_id, row in blocked.items()])",
        _DEPENDENCIES,
    ),
    Mutation(
        "A dependent is released before the task has ended",
        "app/queue/follow.py",
        ".where(_ids, tasks.c.has_followers, tasks.c.status.in_([int(status) for status in FINISHED]))",
        ".where(_ids, tasks.c.has_followers)",
        _GUARDS_OF_WAITING,
    ),
    Mutation(
        "A dependent is released twice",
        "app/queue/follow.py",
        "    .where(_ids, tasks.c.status == int(TaskStatus.BLOCKED))\n    .order_by(tasks.c.id)\n",
        "    .where(_ids)\n    .order_by(tasks.c.id)\n",
        _GUARDS_OF_WAITING,
    ),
    Mutation(
        "A dependency is never met",
        "app/queue/follow.py",
        '    tx.execute(_MEET, {"ended_id": task["id"], "task_ids": dependents})\n',
        "",
        _DEPENDENCIES,
    ),
    Mutation(
        "A failure counts as a success for those that wait",
        "app/queue/follow.py",
        'if task["status"] != TaskStatus.COMPLETED:',
        "if False:",
        _DEPENDENCIES,
    ),
    Mutation(
        "Only one slice of the dependents is released",
        "app/queue/follow.py",
        "            if len(edges) < left:\n",
        "            if True:\n",
        _DEPENDENCIES,
    ),
    Mutation(
        "A task that comes while what it waits for ends waits for ever",
        "app/queue/dependencies.py",
        "    .order_by(tasks.c.id)\n    .with_for_update()\n",
        "    .order_by(tasks.c.id)\n",
        _DEPENDENCIES,
        on="mariadb",
    ),
    Mutation(
        "What is waited for does not know that it has followers",
        "app/queue/dependencies.py",
        '        tx.execute(_SET_FOLLOWED, {"task_ids": followed[start : start + _CHUNK], "at": tx.now})\n',
        "        pass\n",
        _DEPENDENCIES,
    ),
    Mutation(
        "What is only waiting is requeued",
        "app/queue/requeue.py",
        'if row is not None and row["status"] in (TaskStatus.FAILED, TaskStatus.CANCELLED):',
        "if row is not None:",
        _REQUEUE,
    ),
    Mutation(
        "A requeued task keeps the attempts that it has had",
        "app/queue/requeue.py",
        "_FROM_THE_START = _REQUEUE.values(attempts=0)",
        "_FROM_THE_START = _REQUEUE",
        _REQUEUE,
    ),
    Mutation(
        "The worker of a cancelled task completes it after it was requeued",
        "app/queue/requeue.py",
        '                "claimed_by",\n                "claimed_at",\n                "lease_token",\n',
        '                "claimed_at",\n',
        _REQUEUE,
    ),
    Mutation(
        "A requeued task keeps the time of its first attempt",
        "app/queue/requeue.py",
        '                "first_claimed_at",\n',
        "",
        _REQUEUE,
    ),
    Mutation(
        "A requeued task keeps a deadline that has passed",
        "app/queue/requeue.py",
        "        deadline_at=case((_is_ahead, tasks.c.deadline_at)),\n",
        "",
        _REQUEUE,
    ),
    Mutation(
        "A requeued task does not wait for what is not completed",
        "app/queue/requeue.py",
        '    blocked = _wait_for_prerequisites(tx, [row["id"] for row in rows])\n',
        "    blocked: set[int] = set()\n",
        _REQUEUE,
    ),
    Mutation(
        "A requeue that is run again says that there is nothing to requeue",
        "app/queue/requeue.py",
        '    if tx.is_rerun and task["available_at"] == tx.now:\n        return task\n',
        "",
        _GUARDS_OF_WAITING,
        on="mariadb",
    ),
)
