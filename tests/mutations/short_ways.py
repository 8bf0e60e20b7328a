"""Faults of the short ways: prepared statements, the reading of rows, the checking of requests, lists."""

from tests.mutations.mutation import Mutation

_PREPARED = ("tests/storage/test_prepared.py",)
_READING = ("tests/storage/test_mysql_connection.py",)
_REQUESTS = ("tests/rest/test_request_schemas.py",)

SHORT_WAYS = (
    Mutation(
        "The driver's errors are passed on as they are",
        "app/storage/prepared.py",
        "            connection._handle_dbapi_exception(error, text, values, cursor, None)\n",
        "            raise\n",
        _PREPARED,
    ),
    Mutation(
        "An empty list is bound as if it were nothing",
        "app/storage/prepared.py",
        '                raise ValueError(f"the list {name} is empty, which SQL cannot write")\n',
        "                listed = [None]\n",
        _PREPARED,
    ),
    Mutation(
        "Columns pass for those that came before",
        "app/storage/dialects/mysql_connection.py",
        "if came.startswith(seen.packets):",
        "if came:",
        _READING,
        on="mariadb",
    ),
    Mutation(
        "A long value is cut at the length of a short one",
        "app/storage/dialects/mysql_connection.py",
        "_LENGTHS = {252: 2, 253: 3, 254: 8}",
        "_LENGTHS = {252: 1, 253: 3, 254: 8}",
        _READING,
        on="mariadb",
    ),
    Mutation(
        "A request in which something is missing is let in",
        "app/rest/schemas/base.py",
        "if not self._required <= loaded.keys():",
        "if False:",
        _REQUESTS,
    ),
    Mutation(
        "A request's values are not looked at",
        "app/rest/schemas/base.py",
        "                for validate in field.validators:\n                    validate(value)\n",
        "",
        _REQUESTS,
    ),
    Mutation(
        "The end of a lease is told as it is when the whole batch is taken",
        "app/queue/claim_batch.py",
        '"updated_at": row["claimed_at"]}',
        '"updated_at": tx.now}',
        ("tests/queue/test_claim_batch.py",),
    ),
)
