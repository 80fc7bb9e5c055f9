"""Brings a database to the newest revision, and says whether it is there."""

from collections.abc import Callable

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from db.models.base import SCHEMA
from db.session import engine, translated
from db.settings import REPOSITORY

HEAD = "head"


def alembic_config() -> Config:
    """Alembic's settings, without an address: that is handed in."""
    return Config(REPOSITORY / "alembic.ini")


def upgrade(url: str, revision: str = HEAD) -> None:
    """Run the missing revisions; nothing happens if there are none. Another migrator is waited for."""
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Undo revisions down to one (`-1`, `base` or an id)."""
    _run(url, lambda config: command.downgrade(config, revision))


def check(url: str) -> None:
    """Compare the declared tables with the database; `alembic.util.CommandError` names what differs."""
    _run(url, command.check)


def current_revision(url: str) -> str | None:
    """The revision a database is at; None if it was never migrated."""
    with translated(), engine(url).connect() as connection:
        return MigrationContext.configure(
            connection, opts={"version_table_schema": SCHEMA}
        ).get_current_revision()


def is_current(url: str) -> bool:
    """Whether a database is at the newest revision of this checkout."""
    return current_revision(url) == ScriptDirectory.from_config(alembic_config()).get_current_head()


def _run(url: str, action: Callable[[Config], None]) -> None:
    config = alembic_config()
    with translated(), engine(url).connect() as connection:
        config.attributes["connection"] = connection
        action(config)
