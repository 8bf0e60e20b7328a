"""Runs the migrations on the connection, or into the buffer, that `app/setup/migrations.py` hands over.

There is no alembic.ini: everything that Alembic must know comes from that module.
"""

from alembic import context

if context.is_offline_mode():
    context.configure(dialect_name=context.config.attributes["dialect_name"], literal_binds=True)
else:
    context.configure(connection=context.config.attributes["connection"])

with context.begin_transaction():
    context.run_migrations()
