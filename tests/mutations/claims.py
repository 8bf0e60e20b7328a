"""Faults in who gets which task: claims one by one and in batches."""

from tests.mutations.mutation import Mutation

_GUARDS_OF_WAITING = ("tests/queue/test_guards_of_waiting.py",)
_CLAIM = ("tests/queue/test_claim.py",)
_BATCH = ("tests/queue/test_claim_batch.py",)
_OPEN = ("tests/race/test_open_claims.py",)
_REGRESSIONS = ("tests/queue/test_regressions.py",)
_STORAGE = ("tests/storage/test_database.py",)
_SIGNALS = ("tests/queue/test_signals.py",)
_OLD_SNAPSHOT = ("tests/queue/test_old_snapshot.py",)

CLAIMS = (
    Mutation(
        "Whatever its status, a task may be claimed",
        "app/queue/claim.py",
        "return select(*columns).where(tasks.c.status == _PENDING).with_hint",
        "return select(*columns).where(tasks.c.status.is_not(None)).with_hint",
        _CLAIM,
    ),
    Mutation(
        "The newest task comes first",
        "app/queue/claim.py",
        "IN_ORDER = (tasks.c.claim_rank, tasks.c.id)",
        "IN_ORDER = (tasks.c.claim_rank, tasks.c.id.desc())",
        _CLAIM,
    ),
    Mutation(
        "A paused type still gives tasks",
        "app/queue/claim.py",
        " if not task_type.is_paused}",
        "}",
        _CLAIM,
    ),
    Mutation(
        "Signals are ignored by claims",
        "app/queue/claim.py",
        "    if find_signals(tx).refuses_claims_of(order.worker_id):\n        return {}\n",
        "",
        _SIGNALS,
    ),
    Mutation(
        "A claim that is run again claims a second task",
        "app/queue/claim.py",
        "    if own := recover_claims(tx, types, order):\n        return own[0]\n",
        "",
        _STORAGE,
        on="mariadb",
    ),
    Mutation(
        "A batch that is claimed again after a lost answer is claimed twice",
        "app/queue/claim_batch.py",
        "    if own := recover_claims(tx, types, order):\n        return own\n",
        "",
        _BATCH,
        on="mariadb",
    ),
    Mutation(
        "A claim takes what was cancelled since it was looked at",
        "app/queue/take.py",
        "        tasks.c.status == _PENDING,\n        tasks.c.attempts ==",
        "        tasks.c.attempts ==",
        _GUARDS_OF_WAITING,
    ),
    Mutation(
        "A claim takes a task as it was seen, though it has been claimed and has failed since",
        "app/queue/take.py",
        '        tasks.c.attempts == bindparam("seen_attempts"),\n',
        "",
        _REGRESSIONS,
    ),
    Mutation(
        "A claim does not count the attempt",
        "app/queue/take.py",
        '    "attempts": tasks.c.attempts + 1,\n',
        "",
        _CLAIM,
    ),
    Mutation(
        "A claim keeps the lease's alarm of the attempt before",
        "app/queue/take.py",
        '    "due_at": bindparam("lease_ends", type_=Instant),\n',
        "",
        _CLAIM,
    ),
    Mutation(
        "A lease reaches beyond the time of the attempt",
        "app/queue/take.py",
        "        lease_ends = min(lease_ends, attempt_ends)\n",
        "",
        _CLAIM,
    ),
    Mutation(
        "What should have been started by now is claimed all the same",
        "app/queue/take.py",
        'return task["due_at"] is not None and task["due_at"] <= tx.now',
        "return False",
        _CLAIM,
    ),
    Mutation(
        "A task is overdue only after its instant",
        "app/queue/take.py",
        'task["due_at"] <= tx.now',
        'task["due_at"] < tx.now',
        _CLAIM,
    ),
    Mutation(
        "The next claim has the token of the one before",
        "app/queue/take.py",
        "make_token(task_type.id, seconds, tx.nonces[-1], has_followers=has_followers)",
        'make_token(task_type.id, seconds, "0" * 32, has_followers=has_followers)',
        ("tests/queue/test_finish.py",),
    ),
    Mutation(
        "A claim that is run again gives the token that it gave before",
        "app/queue/take.py",
        "tx.nonces[-1]",
        "tx.nonce",
        _STORAGE,
        on="mariadb",
    ),
    Mutation(
        "A claim that is run again looks for what its first run took, not its second",
        "app/queue/take.py",
        "for nonce in tx.nonces\n",
        "for nonce in tx.nonces[:1]\n",
        _STORAGE,
        on="mariadb",
    ),
    Mutation(
        "A claim that begins anew counts its lease from the instant of the first run",
        "app/queue/take.py",
        "    if not found:\n        tx.catch_up(tx.now)\n",
        "",
        _STORAGE,
        on="mariadb",
    ),
    Mutation(
        "Behind the end of a type is looked for tasks",
        "app/queue/claim.py",
        'return [] if place["rank"] == _END_RANK else tx.all(statement, place)',
        "return tx.all(statement, place)",
        ("tests/queue/test_old_snapshot.py",),
    ),
    Mutation(
        "A token does not say that others wait for the task",
        "app/queue/take.py",
        "make_token(task_type.id, seconds, tx.nonces[-1], has_followers=has_followers)",
        "make_token(task_type.id, seconds, tx.nonce)",
        ("tests/queue/test_dependencies.py",),
    ),
    Mutation(
        "A batch takes what others have claimed meanwhile",
        "app/queue/take_batch.py",
        "    tasks.c.status == int(TaskStatus.PENDING),\n",
        "",
        _GUARDS_OF_WAITING,
    ),
    Mutation(
        "A batch hands out what was cancelled after it was taken",
        "app/queue/claim_batch.py",
        "        tasks.c.status == int(TaskStatus.CLAIMED),\n",
        "",
        _BATCH,
    ),
    Mutation(
        "A batch hands out what others have claimed",
        "app/queue/claim_batch.py",
        '        tasks.c.lease_token.in_(bindparam("tokens", expanding=True)),\n',
        "",
        _BATCH,
    ),
    Mutation(
        "A batch waits for rows that somebody else holds",
        "app/queue/take_batch.py",
        "_FREE = _WAITING.with_for_update(skip_locked=True)",
        "_FREE = _WAITING.with_for_update()",
        _OPEN,
        on="mariadb",
    ),
    Mutation(
        "A claim waits for rows that somebody else holds",
        "app/queue/take.py",
        "locking = which.with_for_update(skip_locked=tx.skips_locked_rows)",
        "locking = which.with_for_update()",
        _OPEN,
        on="mariadb",
    ),
    Mutation(
        "A claim takes a task as it was seen, though it has been replaced since",
        "app/queue/take.py",
        '        tasks.c.updated_at == bindparam("seen_update", type_=Instant),\n',
        "",
        ("tests/queue/test_duplicates.py",),
    ),
    Mutation(
        "A claim with a floor misses what has come to stand below it",
        "app/queue/claim.py",
        "return _claim_first(tx, task_type, order, None) if claimed is None else claimed",
        "return _claim_first(tx, task_type, order, None) if floor is None else claimed",
        _OLD_SNAPSHOT,
    ),
    Mutation(
        "A batch with a floor takes less than there is",
        "app/queue/claim_batch.py",
        "if floor is not None and len(found := look(floor)) == number:",
        "if floor is not None and (found := look(floor)):",
        _OLD_SNAPSHOT,
    ),
)
