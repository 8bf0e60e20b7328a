"""Faults in what time does: waking and removal, operations slice by slice, schedules."""

from tests.mutations.mutation import Mutation

_GUARDS_OF_WAITING = ("tests/queue/test_guards_of_waiting.py",)
_CLAIM = ("tests/queue/test_claim.py",)
_FINISH = ("tests/queue/test_finish.py",)
_FIRE = ("tests/queue/test_fire.py",)
_OPERATIONS = ("tests/queue/test_operations.py",)
_GUARDS = ("tests/queue/test_guards.py",)
_DEAD = ("tests/queue/test_dead_letters.py",)

UPKEEP = (
    Mutation(
        "A scheduled task is woken before its time",
        "app/queue/wake.py",
        '    tasks.c.due_at <= bindparam("now", type_=Instant),\n',
        '    bindparam("now", type_=Instant).is_not(None),\n',
        _GUARDS,
    ),
    Mutation(
        "What is no longer scheduled is woken",
        "app/queue/wake.py",
        "    tasks.c.status == int(TaskStatus.SCHEDULED),\n",
        "",
        _GUARDS,
    ),
    Mutation(
        "What is due now is not due",
        "app/queue/due.py",
        'tasks.c.due_at <= bindparam("now", type_=Instant)',
        'tasks.c.due_at < bindparam("now", type_=Instant)',
        _FINISH,
    ),
    Mutation(
        "What becomes claimable keeps the alarm of its sleep",
        "app/queue/enter.py",
        '        due_at=bindparam("alarm", type_=Instant),\n',
        "",
        _CLAIM,
    ),
    Mutation(
        "A dependent is released before its own time",
        "app/queue/enter.py",
        'if task["available_at"] > tx.now and not is_overdue:',
        "if False:",
        ("tests/queue/test_dependencies.py",),
    ),
    Mutation(
        "Unfinished tasks are removed",
        "app/queue/remove.py",
        "    tasks.c.status.in_([int(status) for status in FINISHED]),\n",
        "",
        _GUARDS,
    ),
    Mutation(
        "Finished tasks are removed before their time is over",
        "app/queue/remove.py",
        '    tasks.c.due_at <= bindparam("now", type_=Instant),\n',
        '    bindparam("now", type_=Instant).is_not(None),\n',
        _GUARDS,
    ),
    Mutation(
        "A task is removed before its followers are seen to",
        "app/queue/remove.py",
        "    tasks.c.has_followers == false(),\n",
        "",
        _GUARDS_OF_WAITING,
    ),
    Mutation(
        "A task is removed before it is counted",
        "app/queue/remove.py",
        "counted = [task_id for task_id in due if task_id <= watermark]",
        "counted = due",
        ("tests/queue/test_nouns.py",),
    ),
    Mutation(
        "What is not a dead letter can be purged",
        "app/queue/dead_letters.py",
        '            if row["status"] != TaskStatus.FAILED:\n                raise NotADeadLetter\n',
        "",
        _DEAD,
    ),
    Mutation(
        "An operation counts its slice twice",
        "app/queue/operate.py",
        'changed=operations.c.changed + bindparam("more_changed")',
        'changed=operations.c.changed + 2 * bindparam("more_changed")',
        _OPERATIONS,
    ),
    Mutation(
        "A cancelled operation goes on",
        "app/queue/operate.py",
        '_ONE = select(operations).where(operations.c.id == bindparam("operation_id"), operations.c.status == RUNNING)',
        '_ONE = select(operations).where(operations.c.id == bindparam("operation_id"))',
        _GUARDS_OF_WAITING,
    ),
    Mutation(
        "Two processes do the same slice of an operation",
        "app/queue/operate.py",
        "locking = _ONE.with_for_update(skip_locked=tx.skips_locked_rows)",
        "locking = _ONE",
        _OPERATIONS,
        on="mariadb",
    ),
    Mutation(
        "A purge does not wait for the followers of a dead letter",
        "app/queue/operate.py",
        '[row["id"] for row in rows if not row["has_followers"]]',
        '[row["id"] for row in rows]',
        _OPERATIONS,
    ),
    Mutation(
        "An ended operation can be cancelled",
        "app/queue/operations.py",
        '.where(operations.c.id == bindparam("operation_id"), operations.c.status == RUNNING)',
        '.where(operations.c.id == bindparam("operation_id"))',
        _OPERATIONS,
    ),
    Mutation(
        "Operations that still run are removed after a month",
        "app/queue/operations.py",
        "        operations.c.status.in_((COMPLETED, CANCELLED, FAILED)),\n"
        '        operations.c.ended_at < bindparam("before", type_=Instant),\n',
        '        operations.c.created_at < bindparam("before", type_=Instant),\n',
        _OPERATIONS,
    ),
    Mutation(
        "A schedule fires before its time",
        "app/queue/fire.py",
        '    .where(schedules.c.due_at <= bindparam("now", type_=Instant))\n',
        '    .where(bindparam("now", type_=Instant).is_not(None))\n',
        _FIRE,
    ),
    Mutation(
        "A schedule does not look at whether it was fired meanwhile",
        "app/queue/fire.py",
        '    schedules.c.next_at == bindparam("seen_next", type_=Instant),\n'
        '    schedules.c.due_at == bindparam("seen_due", type_=Instant),\n'
        '    schedules.c.updated_at == bindparam("seen_update", type_=Instant),\n',
        '    bindparam("seen_next", type_=Instant).is_not(None) | bindparam("seen_due", type_=Instant).is_not(None)\n'
        '    | bindparam("seen_update", type_=Instant).is_not(None),\n',
        _FIRE,
        on="mariadb",
    ),
    Mutation(
        "A schedule stays where it was after it has fired",
        "app/queue/fire.py",
        '        next_at=bindparam("then_next", type_=Instant),\n'
        '        due_at=bindparam("then_due", type_=Instant),\n',
        "",
        _FIRE,
    ),
    Mutation(
        "An instant of a schedule may have two tasks",
        "app/queue/fire.py",
        "{schedule['id']} {instant.isoformat()}\".encode()",
        "{schedule['id']} {instant.isoformat()} {schedule['created_count']}\".encode()",
        _FIRE,
    ),
    Mutation(
        "All instants of a schedule are one task",
        "app/queue/fire.py",
        "{schedule['id']} {instant.isoformat()}\".encode()",
        "{schedule['id']}\".encode()",
        _FIRE,
    ),
    Mutation(
        "A schedule that is to skip begins a second task",
        "app/queue/fire.py",
        "instants = [] if _is_unfinished(tx, previous_id) else instants[:1]",
        "instants = instants[:1]",
        _FIRE,
    ),
    Mutation(
        "A draining queue still fires its schedules",
        "app/queue/fire.py",
        "if not due or find_signals(tx).is_draining:",
        "if not due:",
        ("tests/rest/test_workers.py",),
    ),
)
