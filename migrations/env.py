"""Runs revisions under production rules: timeouts, one migrator at a time, one transaction a revision."""

import os

from alembic import context
from sqlalchemy import Connection, text

from loradex.db.migrate import LOCK_TIMEOUT, SCHEMA
from loradex.db.session import engine

STATEMENT_TIMEOUT = "15min"
# Two migrators may try this at once: whoever comes second finds it made.
SCHEMA_AND_LOCK = f"""
do $$
begin
    create schema if not exists {SCHEMA};
    create table if not exists {SCHEMA}.migration_lock ();
    comment on table {SCHEMA}.migration_lock is 'Locked while revisions run: one migrator at a time.';
exception
    when unique_violation or duplicate_schema or duplicate_table then null;
end
$$
"""
# Those of the server, the database or the login would end a long revision, or who waits for another migrator.
WITHOUT_LIMITS = """
    select set_config(name, '0', false) from pg_settings where name in (
        'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout',
        'idle_session_timeout')"""
# A table nobody has a right on: an advisory lock could be held by every login.
MIGRATION_LOCK = f"lock table {SCHEMA}.migration_lock in exclusive mode"


def migrate(connection: Connection) -> None:
    """Bring one database to the wanted revision; a second migrator waits for the first."""
    # A user called loradex has our schema first in its path; Alembic would take it for the default one.
    connection.execute(text("set search_path = public"))
    connection.dialect.default_schema_name = "public"
    connection.execute(text(WITHOUT_LIMITS))
    connection.execute(text(f"set statement_timeout = '{STATEMENT_TIMEOUT}'"))
    lock_timeout = context.config.attributes.get("lock_timeout", LOCK_TIMEOUT)
    connection.execute(text(f"set lock_timeout = '{lock_timeout}'"))
    connection.commit()
    connection.execute(text(SCHEMA_AND_LOCK))
    connection.commit()
    # A connection of its own holds the lock, since each revision is a transaction.
    with connection.engine.connect() as holder:
        # The first migrator may take longer than a lock may: waiting for it has no timeout.
        holder.execute(text(WITHOUT_LIMITS))
        holder.execute(text(MIGRATION_LOCK))
        context.configure(
            connection=connection,
            version_table_schema=SCHEMA,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    connection.rollback()


def run() -> None:
    """Use the connection that was handed in, else one to LORADEX_DATABASE_URL."""
    if context.is_offline_mode():
        raise SystemExit("revisions look at the database they change: run them online")
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        migrate(given)
        return
    url = os.environ.get("LORADEX_DATABASE_URL")
    if not url:
        raise SystemExit("set LORADEX_DATABASE_URL, or use `loradex db upgrade`")
    with engine(url).connect() as connection:
        migrate(connection)


run()
