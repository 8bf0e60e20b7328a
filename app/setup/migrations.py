"""The schema's revisions: which one the database has, which one this code needs, and the way from one to the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from app.settings import ROOT, Settings
from app.setup.connection import connect_to, is_missing_file
from app.setup.failures import NO_DDL_CODES, USE_SQL, SetupError, database_code, explain


def head_revision() -> str:
    """Return the revision that this code needs."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def current_revision(settings: Settings) -> str | None:
    """Return the revision of the database, or None when it has none yet; an absent SQLite file is not created."""
    engine, _ = connect_to(settings)
    try:
        if is_missing_file(engine):
            return None
        with engine.connect() as connection:
            return revision_of(connection)
    finally:
        engine.dispose()


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the connected database, or None when it has none yet."""
    return MigrationContext.configure(connection).get_current_revision()


def is_known(revision: str) -> bool:
    """Tell whether this code has a migration to `revision`; it has none when a newer version set the database up."""
    script = ScriptDirectory.from_config(_config())
    return any(migration.revision == revision for migration in script.walk_revisions())


def migrate(settings: Settings) -> str:
    """Bring the database to this code's revision and return it; does nothing when it is there already.

    Raises SetupError when the user may not change the schema, or when a newer version of the code made it.
    """
    head = head_revision()
    with _migrating(settings) as connection:
        current = revision_of(connection)
        if current is not None and not is_known(current):
            raise SetupError(
                f"The database was set up by a newer version of TaskManager (revision {current}, here {head}): "
                "update this code; nothing was changed."
            )
        if current != head:
            try:
                command.upgrade(_config(connection=connection), "head")
            except DBAPIError as error:
                if database_code(error) in NO_DDL_CODES:
                    raise SetupError(f"The database user may not create or change tables: {USE_SQL}.") from error
                raise
    return head


def downgrade(settings: Settings, revision: str) -> None:
    """Take the database back to `revision`; whatever only newer revisions can hold is lost."""
    with _migrating(settings) as connection:
        command.downgrade(_config(connection=connection), revision)


def migration_sql(settings: Settings) -> str:
    """Return the SQL that leads from the database's revision to this code's; nothing is changed.

    From nothing, when the database cannot be asked; a comment at the top then says so.
    """
    engine, _ = connect_to(settings)
    head = head_revision()
    try:
        current = current_revision(settings)
        reason = "The database has no tables of TaskManager yet."
    except (DBAPIError, OSError, RuntimeError) as error:
        current = None
        reason = f"The database could not be asked for its revision. {explain(error)}"
    if current == head:
        return f"-- The database has revision {head} already: there is nothing to do.\n"
    if current is not None and not is_known(current):
        raise SetupError(f"The database was set up by a newer version of TaskManager ({current}): update this code.")
    buffer = StringIO()
    command.upgrade(
        _config(output=buffer, dialect_name=engine.dialect.name),
        "head" if current is None else f"{current}:head",
        sql=True,
    )
    start = f"-- {reason}\n-- From nothing" if current is None else f"-- From revision {current}"
    return f"{start} to revision {head}.\n\n{buffer.getvalue()}"


def _config(output: StringIO | None = None, **attributes: Any) -> Config:
    config = Config(output_buffer=output) if output else Config()
    config.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config


@contextmanager
def _migrating(settings: Settings) -> Iterator[Connection]:
    """Hold a connection on which one process at a time migrates; on SQLite all of it is done, or nothing."""
    engine, dialect = connect_to(settings)
    is_sqlite = engine.dialect.name == "sqlite"

    @event.listens_for(engine, "do_connect", insert=True)
    def wait(_dialect: Any, _record: Any, _positional: Any, named: dict[str, Any]) -> None:
        # An ALTER of a large table takes longer than any request may.
        if not is_sqlite:
            named.update(read_timeout=None, write_timeout=None)

    try:
        with engine.connect() as connection:
            if is_sqlite:
                # SQLite changes a table by copying and dropping it; with foreign keys on, a drop deletes what
                # refers to it. Inside a transaction this cannot be switched any more.
                connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            else:
                # NULL where a cluster knows no such locks; then two at a time meet an error, not a wrong schema.
                if connection.exec_driver_sql("SELECT GET_LOCK('taskmanager_migration', 60)").scalar() == 0:
                    raise SetupError("Another setup has been running for a minute: wait for its end, then try again.")
            connection.exec_driver_sql(dialect.begin)
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                if not connection.invalidated:
                    connection.exec_driver_sql("ROLLBACK")
                raise
    finally:
        engine.dispose()
