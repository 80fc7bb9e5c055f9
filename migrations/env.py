"""Runs revisions under production rules: timeouts, one migrator at a time, one transaction a revision."""

import os

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.base import ischema_names

from db.models import SCHEMA, Base
from db.models.base import Vector
from db.session import engine

LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "15min"
MIGRATION_LOCK = "select pg_advisory_lock(hashtext('loradex migrations'))"
MIGRATION_UNLOCK = "select pg_advisory_unlock(hashtext('loradex migrations'))"


def include_name(name: str | None, kind: str, _: dict[str, str | None]) -> bool:
    """Our schema only, without Alembic's own table and the indexes that `register_encoder` makes."""
    if kind == "schema":
        return name == SCHEMA
    if kind == "table":
        return name != "alembic_version"
    return not (kind == "index" and (name or "").startswith("example_embeddings_hnsw_"))


def migrate(connection: Connection) -> None:
    """Bring one database to the wanted revision; a second migrator waits for the first."""
    # A user called loradex has our schema first in its path; Alembic would take it for the default one.
    connection.execute(text("set search_path = public"))
    connection.dialect.default_schema_name = "public"
    connection.execute(text(f"set statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.commit()
    # The first migrator may take longer than a lock may: waiting for it has no timeout.
    connection.execute(text("set lock_timeout = 0"))
    connection.execute(text(MIGRATION_LOCK))
    connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.commit()
    try:
        # Alembic's own table lies in our schema, so the schema comes first.
        connection.execute(text(f"create schema if not exists {SCHEMA}"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            version_table_schema=SCHEMA,
            include_schemas=True,
            include_name=include_name,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    finally:
        connection.rollback()
        connection.execute(text(MIGRATION_UNLOCK))
        connection.commit()


def run() -> None:
    """Use the connection that was handed in, else one to LORADEX_DATABASE_URL."""
    if context.is_offline_mode():
        raise SystemExit("revisions look at the database they change: run them online")
    ischema_names["vector"] = Vector  # so that the comparison knows the columns' type
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
