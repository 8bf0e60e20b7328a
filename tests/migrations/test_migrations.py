"""Up, down and up again; one head; no drift from the models; the SQL for pasting leads to the same tables."""

import re
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pymysql.constants import CLIENT
from sqlalchemy import Connection, Engine, inspect, select, text

from app.settings import ROOT, Settings
from app.setup.failures import SetupError
from app.setup.migrations import current_revision, downgrade, head_revision, migrate, migration_sql
from app.storage.dialects import connect
from app.storage.models import counters, metadata, tasks

VERSIONS = ROOT / "migrations" / "versions"


@pytest.fixture
def empty(database_url: str) -> Settings:
    """Settings with a database that has no tables."""
    return Settings(database_url=database_url)


@pytest.fixture
def engine(empty: Settings) -> Iterator[Engine]:
    engine, _ = connect(empty)
    yield engine
    engine.dispose()


def tables_of(engine: Engine) -> dict[str, list[str]]:
    """Return what makes each table and its indexes, as the database itself tells it."""
    describe = describe_sqlite if engine.dialect.name == "sqlite" else describe_mariadb
    with engine.connect() as connection:
        return {table: sorted(describe(connection, table)) for table in metadata.tables}


def describe_mariadb(connection: Connection, table: str) -> list[str]:
    lines = connection.exec_driver_sql(f"SHOW CREATE TABLE {table}").one()[1].splitlines()
    return [re.sub(r" AUTO_INCREMENT=\d+", "", line).strip(" ,\t") for line in lines]


def describe_sqlite(connection: Connection, table: str) -> list[str]:
    # Not the text of CREATE TABLE: to that, ALTER TABLE appends its columns in a form of its own.
    told = [str(row[1:]) for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")]
    told += [str(row[2:]) for row in connection.exec_driver_sql(f"PRAGMA foreign_key_list({table})")]
    for row in connection.exec_driver_sql(f"PRAGMA index_list({table})").all():
        columns = connection.exec_driver_sql(f"PRAGMA index_info({row[1]})").all()
        told.append(f"{row[1:]} {[column[2] for column in columns]}")
    sql = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = :table"), {"table": table}).scalar_one()
    told += re.findall(r"AUTOINCREMENT|CONSTRAINT \w+", sql)
    return told


def run_script(engine: Engine, sql: str) -> None:
    """Run many statements at once, as phpMyAdmin and the sqlite3 program do."""
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        if engine.dialect.name == "sqlite":
            driver.executescript(sql)
            return
    url = engine.url
    where = {"unix_socket": url.query["unix_socket"]} if "unix_socket" in url.query else {}
    pasted = pymysql.connect(
        host=url.host or "localhost",
        port=url.port or 3306,
        user=url.username,
        password=url.password or "",
        database=url.database,
        client_flag=CLIENT.MULTI_STATEMENTS,
        **where,
    )
    with pasted, pasted.cursor() as cursor:
        cursor.execute(sql)
        while cursor.nextset():
            pass
        pasted.commit()


def test_migrations_lead_to_the_tables_of_the_models(empty: Settings, engine: Engine):
    migrate(empty)
    migrated = tables_of(engine)
    downgrade(empty, "base")
    metadata.create_all(engine)
    assert migrated == tables_of(engine)


def test_alembic_finds_no_difference_between_models_and_migrations(empty: Settings, engine: Engine):
    migrate(empty)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": metadata}
        )
        assert compare_metadata(context, metadata) == []


def test_up_down_and_up_again_ends_with_the_same_tables(empty: Settings, engine: Engine):
    migrate(empty)
    once = tables_of(engine)
    downgrade(empty, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version", "sqlite_sequence"}
    assert current_revision(empty) is None
    migrate(empty)
    assert tables_of(engine) == once
    assert current_revision(empty) == head_revision()


def test_each_step_down_is_the_reverse_of_the_step_up(empty: Settings, engine: Engine):
    migrate(empty)
    newest = tables_of(engine)
    for _ in VERSIONS.glob("[0-9]*.py"):
        downgrade(empty, "-1")
    assert current_revision(empty) is None
    migrate(empty)
    assert tables_of(engine) == newest


def test_migrating_twice_changes_nothing_and_keeps_rows(empty: Settings, engine: Engine):
    migrate(empty)
    with engine.connect() as connection:
        connection.execute(counters.insert().values(name="kept", value=1))
    assert migrate(empty) == head_revision()
    with engine.connect() as connection:
        assert connection.execute(counters.select()).all() == [("kept", 1)]


def test_the_printed_sql_pasted_into_an_empty_database_gives_the_same_tables(empty: Settings, engine: Engine):
    migrate(empty)
    migrated = tables_of(engine)
    downgrade(empty, "base")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
    sql = migration_sql(empty)
    assert current_revision(empty) is None, "printing the SQL must not change the database"

    run_script(engine, sql)

    assert tables_of(engine) == migrated
    assert current_revision(empty) == head_revision()
    assert "nothing to do" in migration_sql(empty)


@pytest.mark.parametrize(
    ("revision", "missing"),
    [
        ("0001", ["DROP TABLE counters", "DROP INDEX ix_tasks_due_at ON tasks"]),
        ("0002", ["ALTER TABLE task_types DROP COLUMN key_order"]),
        ("0003", ["ALTER TABLE tasks DROP COLUMN extras", "ALTER TABLE attempts DROP COLUMN error_details"]),
        ("0006", ["DROP INDEX ix_tasks_type_id ON tasks"]),
        ("0005", ["DROP INDEX ix_tasks_status ON tasks"]),
        ("0004", ["DROP TABLE duties", "DROP INDEX ix_schedules_due_at ON schedules"]),
    ],
)
def test_an_interrupted_migration_can_be_run_again(empty: Settings, engine: Engine, revision: str, missing: list[str]):
    migrate(empty)
    whole = tables_of(engine)
    downgrade(empty, revision)
    with engine.connect() as connection:
        # What a connection that was lost on the way leaves behind, since MySQL cannot roll DDL back.
        for statement in missing:
            is_index_of_sqlite = engine.dialect.name == "sqlite" and "INDEX" in statement
            connection.exec_driver_sql(statement.partition(" ON ")[0] if is_index_of_sqlite else statement)
        connection.exec_driver_sql("DELETE FROM alembic_version")
        if revision != "0001":
            connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{int(revision) - 1:04}')")
    migrate(empty)
    assert tables_of(engine) == whole


def test_the_rows_of_an_older_database_are_kept_and_filled_in(empty: Settings, engine: Engine):
    migrate(empty)
    downgrade(empty, "0001")
    second = "1000000" if engine.dialect.name == "sqlite" else "'1970-01-01 00:00:01'"
    columns = "id, type_id, status, claim_rank, params, progress, attempts, max_attempts, available_at, created_at"
    with engine.connect() as connection:
        for task_id, status in ((1, 3), (2, 5)):
            connection.exec_driver_sql(
                f"INSERT INTO tasks ({columns}, updated_at, claimed_at, completed_at) VALUES "
                f"({task_id}, 1, {status}, -7, '{{}}', 0, 1, 3, {second}, {second}, {second}, {second}, {second})"
            )
    migrate(empty)
    with engine.connect() as connection:
        rows = connection.execute(select(tasks).order_by(tasks.c.id)).mappings().all()
    assert [(row["priority"], row["claim_rank"], row["has_followers"]) for row in rows] == [
        (7, -7, False),
        (7, 1000, False),
    ]
    assert rows[0]["first_claimed_at"] == rows[0]["claimed_at"]
    downgrade(empty, "0001")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT claim_rank FROM tasks ORDER BY id").scalars().all() == [-7, -7]


def test_a_table_of_another_application_stops_the_migration_and_is_kept(empty: Settings, engine: Engine):
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE tasks (id INTEGER, wish VARCHAR(20))")
        connection.exec_driver_sql("INSERT INTO tasks VALUES (1, 'stay')")
    with pytest.raises(SetupError, match="already has a table tasks"):
        migrate(empty)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT wish FROM tasks").scalars().all() == ["stay"]
    assert current_revision(empty) is None


def test_on_sqlite_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path):
    # MySQL cannot roll DDL back.
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'half.db'}")
    engine, _ = connect(settings)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE counters (other INTEGER)")
    with pytest.raises(SetupError):
        migrate(settings)
    assert inspect(engine).get_table_names() == ["counters"]
    engine.dispose()


def test_there_is_one_head_and_the_numbers_have_no_gap():
    script = ScriptDirectory(str(ROOT / "migrations"))
    assert len(script.get_heads()) == 1
    numbers = sorted(revision.revision for revision in script.walk_revisions())
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    for revision in script.walk_revisions():
        assert re.match(revision.revision + "_[a-z_]+", revision.module.__file__.rsplit("/", 1)[1])
        assert len(revision.doc) > 5


def test_no_index_is_longer_than_the_databases_allow():
    bytes_per_character = 4
    for table in metadata.sorted_tables:
        for index in [*table.indexes, *table.constraints]:
            length = sum(getattr(column.type, "length", None) or 2 for column in index.columns)
            assert length * bytes_per_character <= 3072, f"{index.name} of {table.name}"
