"""Faults in what comes into the queue: creation, duplicates, repeated requests."""

from tests.mutations.mutation import Mutation

_GUARDS_OF_WAITING = ("tests/queue/test_guards_of_waiting.py",)
_CREATE = ("tests/queue/test_create.py",)
_MANY = ("tests/queue/test_create_many.py",)
_NOUNS = ("tests/queue/test_nouns.py",)
_COMBINATIONS = ("tests/queue/test_combinations.py",)
_REGRESSIONS = ("tests/queue/test_regressions.py",)

CREATION = (
    Mutation(
        "A task gets in under a schema that was replaced",
        "app/queue/create.py",
        ', task_types.c.revision == bindparam("revision"))',
        ', bindparam("revision").is_not(None))',
        _CREATE,
    ),
    Mutation(
        "A batch gets in under a schema that was replaced",
        "app/queue/create_many.py",
        "            raise _Stale\n",
        "            pass\n",
        _MANY,
    ),
    Mutation(
        "A create that is run again takes any equal task for its own",
        "app/queue/create.py",
        'if tx.is_rerun and existing["created_at"] == row["created_at"]:',
        "if tx.is_rerun:",
        _GUARDS_OF_WAITING,
    ),
    Mutation(
        "The hash of equal tasks is ignored",
        "app/queue/create.py",
        '_EQUAL = select(tasks).where(tasks.c.dedupe_hash == bindparam("hash"))',
        '_EQUAL = select(tasks).where(tasks.c.dedupe_hash != bindparam("hash"))',
        _CREATE,
    ),
    Mutation(
        "Equal parameters make no duplicate",
        "app/queue/new_task.py",
        "hashed = dedupe_hash(task_type.id, new.params, new.dedupe_key, policies.dedupe_on)",
        "hashed = unique_hash",
        _CREATE,
    ),
    Mutation(
        "Equal parameters of two types make a duplicate",
        "app/queue/new_task.py",
        "dedupe_hash(task_type.id, ",
        "dedupe_hash(0, ",
        _CREATE,
    ),
    Mutation(
        "A finished task goes on standing in the way of an equal one",
        "app/queue/duplicates.py",
        'existing["status"] in FINISHED and policies.dedupe != "forever"',
        "False",
        _CREATE,
    ),
    Mutation(
        "The window of duplicates is ignored",
        "app/queue/duplicates.py",
        "return not is_over and not is_old",
        "return not is_over",
        _CREATE,
    ),
    Mutation(
        "The window of duplicates ends a moment too late",
        "app/queue/duplicates.py",
        'existing["created_at"] <= tx.now',
        'existing["created_at"] < tx.now',
        _CREATE,
    ),
    Mutation(
        "A task that was claimed meanwhile is replaced under its worker",
        "app/queue/duplicates.py",
        'tasks.c.status == bindparam("seen_status"),\n'
        "        # It may have been claimed and have failed since it was seen, and wait again.\n"
        '        tasks.c.attempts == bindparam("seen_attempts"),',
        'bindparam("seen_status").is_not(None), bindparam("seen_attempts").is_not(None),',
        _GUARDS_OF_WAITING,
    ),
    Mutation(
        "A late result completes the task that has replaced another",
        "app/queue/duplicates.py",
        '            "lease_token": null(),\n',
        "",
        _COMBINATIONS,
    ),
    Mutation(
        "A task for later is claimable at once",
        "app/queue/new_task.py",
        "is_scheduled = available_at > tx.now",
        "is_scheduled = False",
        ("tests/queue/test_claim.py",),
    ),
    Mutation(
        "A deadline may pass before the task is available",
        "app/queue/new_task.py",
        "new.deadline_at <= max(available_at, tx.now)",
        "new.deadline_at <= tx.now",
        _REGRESSIONS,
    ),
    Mutation(
        "A task with a deadline has no alarm",
        "app/queue/new_task.py",
        '"due_at": available_at if is_scheduled else first_alarm(policies, tx.now, new.deadline_at),',
        '"due_at": available_at if is_scheduled else first_alarm(policies, tx.now, None),',
        ("tests/queue/test_claim.py",),
    ),
    Mutation(
        "The answer to a key is not stored in the transaction of the work",
        "app/queue/idempotency.py",
        "        return database.write(do)\n",
        "        return database.write(do, atomic=False)\n",
        _NOUNS,
    ),
    Mutation(
        "A key that comes with another request gets the first answer",
        "app/queue/idempotency.py",
        'found["request_hash"] != request.request_hash',
        "False",
        _NOUNS,
    ),
    Mutation(
        "Keys of two callers are the same",
        "app/queue/idempotency.py",
        '    idempotency_keys.c.api_key_id == bindparam("api_key_id"),\n',
        "",
        _NOUNS,
    ),
    Mutation(
        "Kept answers are removed too early",
        "app/queue/idempotency.py",
        'idempotency_keys.c.created_at <= bindparam("before", type_=Instant)',
        'idempotency_keys.c.created_at >= bindparam("before", type_=Instant)',
        _NOUNS,
    ),
    Mutation(
        "A replacement that is run again says that nothing was replaced",
        "app/queue/duplicates.py",
        "        return Created(existing, True, True)\n",
        "        return Created(existing, True)\n",
        ("tests/queue/test_duplicates.py",),
        on="mariadb",
    ),
)
