"""Driver: the same work straight on the database with PyMySQL, without HTTP, keys, validation or SQLAlchemy.

It is the limit that a server on this database can come near to. Of the two ways to claim the faster one counts.
"""

import json
import multiprocessing
import secrets
import time
from collections.abc import Callable
from typing import Any

import pymysql
from sqlalchemy import make_url

from app.lifecycle import TaskStatus

_PENDING, _CLAIMED, _COMPLETED = (
    int(status) for status in (TaskStatus.PENDING, TaskStatus.CLAIMED, TaskStatus.COMPLETED)
)
_RESULT = json.dumps({"sha256": "0" * 64})
_TAKEN = (
    f"status={_CLAIMED}, claimed_by=%s, claimed_at=UTC_TIMESTAMP(6), lease_token=%s, attempts=attempts+1, "
    "due_at=UTC_TIMESTAMP(6) + INTERVAL 300 SECOND, updated_at=UTC_TIMESTAMP(6)"
)
_ENDED = (
    f"status={_COMPLETED}, progress=100, completed_at=UTC_TIMESTAMP(6), updated_at=UTC_TIMESTAMP(6), "
    "due_at=UTC_TIMESTAMP(6) + INTERVAL 30 DAY"
)
_CLAIM_AT_ONCE = (
    f"UPDATE tasks FORCE INDEX (ix_tasks_claim) SET id=LAST_INSERT_ID(id), {_TAKEN} "
    f"WHERE type_id=1 AND status={_PENDING} ORDER BY claim_rank, id LIMIT 1"
)
_READ = "SELECT id, params, attempts, max_attempts, created_at FROM tasks WHERE id=%s"
_HEAD = (
    "SELECT id, params, attempts, max_attempts, created_at FROM tasks FORCE INDEX (ix_tasks_claim) "
    f"WHERE type_id=1 AND status={_PENDING} ORDER BY claim_rank, id LIMIT "
)
_TAKE = f"UPDATE tasks SET {_TAKEN} WHERE id=%s AND status={_PENDING}"
_COMPLETE = (
    f"UPDATE tasks SET result=%s, {_ENDED} WHERE id=%s AND lease_token=%s AND claimed_by=%s AND status={_CLAIMED}"
)

Connection = Any


def claim_by_update(connection: Connection, worker: str) -> int:
    """Claim, read and complete one task: the claim is one update that says which row it chose."""
    with connection.cursor() as cursor:
        token = secrets.token_hex(16)
        cursor.execute(_CLAIM_AT_ONCE, (worker, token))
        task_id = cursor.lastrowid
        cursor.execute(_READ, task_id)
        json.loads(cursor.fetchone()[1])
        return int(cursor.execute(_COMPLETE, (_RESULT, task_id, token, worker)))


def claim_by_read(connection: Connection, worker: str) -> int:
    """Claim and complete one task: the head is read and then taken, if nobody was faster."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_HEAD} 1")
        task_id, params, *_ = cursor.fetchone()
        token = secrets.token_hex(16)
        if not cursor.execute(_TAKE, (worker, token, task_id)):
            return 0
        json.loads(params)
        return int(cursor.execute(_COMPLETE, (_RESULT, task_id, token, worker)))


def batch_of(size: int) -> Callable[[Connection, str], int]:
    """Return what claims and completes so many tasks at once: a locking read that skips, one update, one more."""

    def work(connection: Connection, worker: str) -> int:
        with connection.cursor() as cursor:
            token = secrets.token_hex(16)
            cursor.execute("START TRANSACTION")
            cursor.execute(f"{_HEAD} {size} FOR UPDATE SKIP LOCKED")
            rows = cursor.fetchall()
            ids = ",".join(str(row[0]) for row in rows)
            cursor.execute(f"UPDATE tasks SET {_TAKEN} WHERE id IN ({ids})", (worker, token))
            cursor.execute("COMMIT")
            for row in rows:
                json.loads(row[1])
            results = " ".join(f"WHEN {row[0]} THEN %s" for row in rows)
            return int(
                cursor.execute(
                    f"UPDATE tasks SET result=CASE id {results} END, {_ENDED} "
                    f"WHERE id IN ({ids}) AND lease_token=%s AND claimed_by=%s AND status={_CLAIMED}",
                    (*[_RESULT] * len(rows), token, worker),
                )
            )

    return work


def rate(url: str, work: Callable[[Connection, str], int], processes: int, seconds: float) -> float:
    """Return how many tasks per second so many processes get done."""
    counts: Any = multiprocessing.SimpleQueue()
    begin = time.monotonic() + 0.3
    started = [
        multiprocessing.Process(target=_work, args=(url, work, f"driver-{number}", begin, begin + seconds, counts))
        for number in range(processes)
    ]
    for process in started:
        process.start()
    done = sum(counts.get() for _ in started)
    for process in started:
        process.join()
        if process.exitcode:
            raise RuntimeError("a process of the driver failed")
    return float(done / seconds)


def _work(url: str, work: Callable[[Connection, str], int], worker: str, begin: float, end: float, counts: Any) -> None:
    parsed = make_url(url)
    connection = pymysql.connect(
        host=parsed.host, port=parsed.port or 3306, user=parsed.username, database=parsed.database,
        autocommit=True, ssl_disabled=True,
    )  # fmt: skip
    done = 0
    try:
        time.sleep(max(0.0, begin - time.monotonic()))
        while time.monotonic() < end:
            try:
                done += work(connection, worker)
            except pymysql.OperationalError as error:
                # A deadlock: the next one.
                if error.args[0] != 1213:
                    raise
                connection.rollback()
    finally:
        counts.put(done)
        connection.close()
