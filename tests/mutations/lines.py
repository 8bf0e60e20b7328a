"""Faults in how many get one: limits of types, and the lines of concurrency keys."""

from tests.mutations.mutation import Mutation

_GUARDS_OF_WAITING = ("tests/queue/test_guards_of_waiting.py",)
_CLAIM = ("tests/queue/test_claim.py",)
_BATCH = ("tests/queue/test_claim_batch.py",)
_LINES = ("tests/queue/test_lines.py",)
_COMBINATIONS = ("tests/queue/test_combinations.py",)

LINES = (
    Mutation(
        "One task more than the limit is claimed at once",
        "app/queue/limits.py",
        'tx.execute(_CLAIMED, {"type_id": task_type.id}).scalar_one())',
        'tx.execute(_CLAIMED, {"type_id": task_type.id}).scalar_one() + 1)',
        _CLAIM,
    ),
    Mutation(
        "One claim more than the rate is given",
        "app/queue/limits.py",
        "claims - len(recent))",
        "claims - len(recent) + 1)",
        _CLAIM,
    ),
    Mutation(
        "The window of a rate is a moment too long",
        "app/queue/limits.py",
        "if claimed_at > since]",
        "if claimed_at >= since]",
        _CLAIM,
    ),
    Mutation(
        "Claims are not counted against the rate",
        "app/queue/limits.py",
        '"recent": [*recent, *[now] * number]',
        '"recent": recent',
        _CLAIM,
    ),
    Mutation(
        "A batch counts as one claim against the rate",
        "app/queue/limits.py",
        "[*recent, *[now] * number]",
        "[*recent, now]",
        _BATCH,
    ),
    Mutation(
        "Limits are looked at without holding them",
        "app/queue/limits.py",
        'task_type_limits.c.type_id == bindparam("type_id")).with_for_update()',
        'task_type_limits.c.type_id == bindparam("type_id"))',
        ("tests/race/test_many_workers.py",),
        on="mariadb",
    ),
    Mutation(
        "One task more of a key than its limit is admitted",
        "app/queue/line.py",
        "rooms[key_id] = policies.key_max_concurrency - admitted[key_id]",
        "rooms[key_id] = policies.key_max_concurrency - admitted[key_id] + 1",
        _LINES,
    ),
    Mutation(
        "What waits unclaimed does not count against the rate of its key",
        "app/queue/line.py",
        "_recent_claims(tx, policies, keys[key_id])) - pending",
        "_recent_claims(tx, policies, keys[key_id]))",
        _LINES,
    ),
    Mutation(
        "Who leaves a line lets nobody in",
        "app/queue/line.py",
        '        tx.execute(_LEAVE, {"task_ids": task_ids})\n        admit(tx, key_ids)\n',
        '        tx.execute(_LEAVE, {"task_ids": task_ids})\n',
        _LINES,
    ),
    Mutation(
        "Who leaves a line keeps the place there",
        "app/queue/line.py",
        '        tx.all(_LOCK_KEYS, {"key_ids": key_ids})\n        tx.execute(_LEAVE, {"task_ids": task_ids})\n',
        '        tx.all(_LOCK_KEYS, {"key_ids": key_ids})\n',
        _LINES,
    ),
    Mutation(
        "A task is admitted from its line though it was cancelled there",
        "app/queue/line.py",
        '.where(tasks.c.id.in_(bindparam("task_ids", expanding=True)), tasks.c.status == int(TaskStatus.BLOCKED))\n'
        "    .with_for_update()",
        '.where(tasks.c.id.in_(bindparam("task_ids", expanding=True)))\n    .with_for_update()',
        _GUARDS_OF_WAITING,
    ),
    Mutation(
        "A claim of a key is not counted against its rate",
        "app/queue/line.py",
        '"recent": [*recent, *claims]',
        '"recent": recent',
        _LINES,
    ),
    Mutation(
        "The window of a key's rate is a second too short",
        "app/queue/line.py",
        'for claimed_at in key["recent_claims"] if claimed_at > since]',
        'for claimed_at in key["recent_claims"] if claimed_at > since + 10**6]',
        _LINES,
    ),
    Mutation(
        "A lowered limit calls back what is claimed",
        "app/queue/line.py",
        "        tasks.c.status == int(TaskStatus.PENDING),\n    )\n    .order_by(line_places.c.claim_rank.desc()",
        "        tasks.c.status != int(TaskStatus.BLOCKED),\n    )\n    .order_by(line_places.c.claim_rank.desc()",
        _LINES,
    ),
    Mutation(
        "A lowered limit is known only to the process that lowered it",
        "app/queue/line.py",
        "stored = {type_id: read_type_by_id(tx, type_id)",
        "stored = {type_id: find_type_by_id(tx, type_id)",
        _COMBINATIONS,
    ),
    Mutation(
        "Where keys take turns, a key gets two at once",
        "app/queue/line.py",
        "min(rooms[key_id], 1 - pending)",
        "min(rooms[key_id], 2 - pending)",
        _LINES,
    ),
    Mutation(
        "The row of a key is not held while somebody is admitted",
        "app/queue/line.py",
        "    .order_by(concurrency_keys.c.id)\n    .with_for_update()\n",
        "    .order_by(concurrency_keys.c.id)\n",
        ("tests/race/test_keys_at_once.py",),
        on="mariadb",
    ),
    Mutation(
        "A change of the priority overtakes a claim",
        "app/queue/change.py",
        '        tasks.c.status == bindparam("seen_status"),\n',
        "",
        ("tests/queue/test_change.py",),
    ),
    Mutation(
        "A claim that slept on its way counts as if it had been made before",
        "app/queue/limits.py",
        "        tx.catch_up(EPOCH + timedelta(microseconds=max(recent, default=0)))\n",
        "",
        _CLAIM,
    ),
    Mutation(
        "A claim of a key that slept on its way counts as if it had been made before",
        "app/queue/line.py",
        '            tx.catch_up(EPOCH + timedelta(microseconds=max(key["recent_claims"], default=0)))\n',
        "",
        _LINES,
    ),
)
