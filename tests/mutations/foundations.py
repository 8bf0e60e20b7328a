"""Faults below and around the rules: transactions, reruns, clocks, keys and scopes."""

from tests.mutations.mutation import Mutation

_STORAGE = ("tests/storage/test_database.py",)
_NOUNS = ("tests/queue/test_nouns.py",)
_SCOPES = ("tests/rest/test_scopes.py",)
_SIGNALS = ("tests/queue/test_signals.py",)

FOUNDATIONS = (
    Mutation(
        "The commit is left out",
        "app/storage/database.py",
        '                self._connection.exec_driver_sql("COMMIT")\n',
        "",
        ("tests/queue/test_finish.py",),
    ),
    Mutation(
        "What failed is committed instead of rolled back",
        "app/storage/database.py",
        'self._connection.exec_driver_sql("ROLLBACK")',
        'self._connection.exec_driver_sql("COMMIT")',
        _STORAGE,
    ),
    Mutation(
        "After an error there is no rollback",
        "app/storage/database.py",
        "                self._roll_back()\n                raise\n",
        "                raise\n",
        _STORAGE,
    ),
    Mutation(
        "An inner transaction commits the outer one",
        "app/storage/database.py",
        "            if self._depth > 1:\n                yield\n                return\n            self._connection",
        "            if self._depth > 1:\n                yield\n"
        '                self._connection.exec_driver_sql("COMMIT")\n                return\n'
        "            self._connection",
        _STORAGE,
    ),
    Mutation(
        "A part of a transaction that fails is kept",
        "app/storage/database.py",
        'self._connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {name}")',
        "pass",
        _STORAGE,
    ),
    Mutation(
        "A rerun does not know that it is one",
        "app/storage/database.py",
        "return self.run > 1",
        "return False",
        _STORAGE,
        on="mariadb",
    ),
    Mutation(
        "A rerun has other random bits than the first run",
        "app/storage/database.py",
        "                        nonce=nonce,\n",
        "                        nonce=token_hex(16),\n",
        _STORAGE,
        on="mariadb",
    ),
    Mutation(
        "A rerun has another instant than the first run",
        "app/storage/database.py",
        "now = now or present()",
        "now = present()",
        _STORAGE,
    ),
    Mutation(
        "A deadlock is the caller's problem",
        "app/storage/dialects/mysql.py",
        "frozenset({1213, 1053,",
        "frozenset({1053,",
        _STORAGE,
        on="mariadb",
    ),
    Mutation(
        "A lost connection is the caller's problem",
        "app/storage/dialects/mysql.py",
        "2003, 2006, 2013, 2014,",
        "2003, 2006, 2014,",
        _STORAGE,
        on="mariadb",
    ),
    Mutation(
        "On SQLite a transaction begins without the lock for writing",
        "app/storage/dialects/sqlite.py",
        'begin = "BEGIN IMMEDIATE"',
        'begin = "BEGIN"',
        _STORAGE,
    ),
    Mutation(
        "The web host's clock decides",
        "app/storage/dialects/mysql.py",
        "        return told.replace(tzinfo=UTC)\n",
        "        return datetime.now(UTC)\n",
        _STORAGE,
        on="mariadb",
    ),
    Mutation(
        "An expired key is accepted",
        "app/queue/keys.py",
        "and (self.expires_at is None or self.expires_at > now)",
        "",
        _NOUNS,
    ),
    Mutation(
        "A key is good at the instant at which it expires",
        "app/queue/keys.py",
        "self.expires_at > now)",
        "self.expires_at >= now)",
        _NOUNS,
    ),
    Mutation(
        "A revoked key is accepted",
        "app/queue/keys.py",
        "return self.revoked_at is None and (",
        "return (",
        _NOUNS,
    ),
    Mutation(
        "A kept key is accepted though it has expired or was revoked",
        "app/queue/keys.py",
        "return key if key is not None and key.expires_at is None and key.revoked_at is None else None",
        "return key",
        ("tests/rest/test_scopes.py",),
    ),
    Mutation(
        "Scopes are not checked",
        "app/web/auth.py",
        "        if not key.may(scope):\n",
        "        if False:\n",
        _SCOPES,
    ),
    Mutation(
        "A key of a worker may do what needs an admin",
        "app/queue/keys.py",
        "return scope is Scope.READ or Scope.ADMIN in self.scopes or scope in self.scopes",
        "return scope in (Scope.READ, Scope.ADMIN) or Scope.ADMIN in self.scopes or scope in self.scopes",
        _SCOPES,
    ),
    Mutation(
        "The last admin key can be revoked",
        "app/queue/keys.py",
        '    if not any(admin["id"] != row["id"] for admin in admins):\n        raise LastAdminKey\n',
        "",
        _NOUNS,
    ),
    Mutation(
        "Two admins who revoke each other at once are both gone",
        "app/queue/keys.py",
        'admins = tx.all(_ADMINS.with_for_update(), {"now": tx.now})',
        'admins = tx.all(_ADMINS, {"now": tx.now})',
        ("tests/queue/test_regressions.py",),
        on="mariadb",
    ),
    Mutation(
        "The key itself is stored",
        "app/queue/keys.py",
        "    return hashlib.sha256(secret.encode()).hexdigest()\n",
        "    return secret\n",
        _NOUNS,
    ),
    Mutation(
        "A draining queue takes new tasks",
        "app/queue/signals.py",
        "    if find_signals(tx).is_draining:\n",
        "    if False:\n",
        _SIGNALS,
    ),
    Mutation(
        "A paused queue is not known to be paused",
        "app/queue/signals.py",
        "return Signals(_PAUSED in switches, _DRAINING in switches, commands)",
        "return Signals(False, _DRAINING in switches, commands)",
        _SIGNALS,
    ),
    Mutation(
        "The clock runs ahead of the database's where the answer was slow",
        "app/storage/clock.py",
        "shortest, best = after - before, (told, after)",
        "shortest, best = after - before, (told, before)",
        ("tests/unit/test_database_clock.py",),
    ),
    Mutation(
        "A full disk ends an operation",
        "app/queue/operate.py",
        "        if tx.may_succeed_later(error):\n            raise\n",
        "",
        ("tests/queue/test_operations.py",),
    ),
)
