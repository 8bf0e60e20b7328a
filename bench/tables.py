"""Tables: new databases for measurements, and tasks in them by the thousand."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, func, make_url, select, text

from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.register import register_type
from app.storage.database import Database, Row, Transaction
from app.storage.models import metadata, tasks

_CHUNK = 1_000
# From so many rows on the indexes are made afterwards.
_MANY = 500_000
_COLUMNS = [column.name for column in tasks.c if column.name != "id"]


@contextmanager
def temporary_url(kind: str, server: str | None, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty database, which is removed afterwards."""
    name = f"tm_bench_{secrets.token_hex(6)}"
    if kind == "sqlite":
        yield f"sqlite:///{folder / name}.db"
        return
    _on_server(str(server), f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    try:
        yield make_url(str(server)).set(database=name).render_as_string(hide_password=False)
    finally:
        _on_server(str(server), f"DROP DATABASE IF EXISTS {name}")


def _on_server(url: str, statement: str) -> None:
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def create_tables(database: Database, schema: dict[str, Any] | None = None, **policies: Any) -> None:
    """Create the tables and the task type `bench`, whose id is 1."""
    metadata.create_all(database.engine)
    of_type: dict[str, Any] = {
        "name": "bench",
        "version": "1",
        "param_schema": schema or {"type": "object"},
        "policies": policies,
    }

    def register(tx: Transaction) -> None:
        register_type(tx, **of_type, defaults=Policies())

    database.write(register)


def add_tasks(database: Database, number: int, status: TaskStatus) -> None:
    """Insert tasks: a thousand as rows, then thousands at once as copies of these."""
    with _without_indexes(database) if number >= _MANY else nullcontext():
        _insert_tasks(database, number, status)


@contextmanager
def _without_indexes(database: Database) -> Iterator[None]:
    """Make the indexes of the tasks when all rows are there, which takes a tenth of the time."""
    indexes = sorted(tasks.indexes, key=lambda index: str(index.name))
    with database.engine.connect() as connection:
        for index in indexes:
            index.drop(connection)
    yield
    with database.engine.connect() as connection:
        for index in indexes:
            index.create(connection)


def _insert_tasks(database: Database, number: int, status: TaskStatus) -> None:
    if number == 0:
        return
    first = min(number, _CHUNK)
    database.write(lambda tx: tx.execute(tasks.insert(), [make_row(tx.now, status) for _ in range(first)]))
    before = database.read(lambda tx: tx.all(select(func.max(tasks.c.id).label("id"))))[0]["id"] - first
    columns = ", ".join(_COLUMNS)
    is_mysql = database.engine.dialect.name == "mysql"
    done, batch, salt = first, 0, secrets.token_hex(4)
    while done < number:
        more = min(done, number - done, 50 * _CHUNK)
        batch += 1
        # The unique hash must differ: a number, and what makes it another one at each call, as wide as a hash.
        distinct = f"{batch} * 1000000000000 + id"
        hashed = (
            f"CONCAT('{salt}', LPAD({distinct}, 56, '0'))" if is_mysql else f"'{salt}' || printf('%056d', {distinct})"
        )
        copied = ", ".join(
            f"CASE WHEN dedupe_hash IS NULL THEN NULL ELSE {hashed} END" if name == "dedupe_hash" else name
            for name in _COLUMNS
        )
        statement = text(
            # MariaDB first makes a copy of all that is in this range, in which every second id may be missing.
            f"INSERT INTO tasks ({columns}) SELECT {copied} FROM tasks "
            f"WHERE id > {before} AND id <= {before + 2 * more} ORDER BY id LIMIT {more}"
        )
        done += database.write(lambda tx, statement=statement: tx.changes(statement))


def make_row(now: datetime, status: TaskStatus) -> Row:
    """Return the values of one task."""
    is_finished = status == TaskStatus.COMPLETED
    return {
        "type_id": 1,
        "status": int(status),
        "claim_rank": 0,
        "due_at": now + timedelta(days=30) if is_finished else None,
        "params": {"path": "data/chapter-0001.txt", "algorithm": "sha256"},
        "result": {"sha256": secrets.token_hex(32)} if is_finished else None,
        "error_message": None,
        "failure_reason": None,
        "progress": 100 if is_finished else 0,
        "progress_message": None,
        "attempts": int(is_finished),
        "max_attempts": 3,
        "claimed_by": "bench" if is_finished else None,
        "claimed_at": now if is_finished else None,
        "lease_token": f"1-300-{secrets.token_hex(16)}" if is_finished else None,
        "attempt_ends_at": None,
        "available_at": now,
        "deadline_at": None,
        "completed_at": now if is_finished else None,
        "created_at": now,
        "updated_at": now,
        "dedupe_key": None,
        "dedupe_hash": None if is_finished else secrets.token_hex(32),
        "dedupe_forever": 0,
        "parent_task_id": None,
    }
