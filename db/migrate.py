"""Brings a database to the newest revision, and says whether it is there."""

import re
from collections.abc import Callable
from importlib.resources import files
from time import sleep

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from loradex.db.session import engine, translate_errors
from loradex.errors import SchemaOutdatedError

SCHEMA = "loradex"
HEAD = "head"
LOCK_TIMEOUT = "5s"
"""How long a revision holds up everybody behind it while it waits for one session."""
HELD = {"55P03", "40P01"}
"""A lock was not had in that time, or was waited for in a circle."""
ATTEMPTS, PAUSE_SECONDS = 20, 3.0
"""If every attempt waits for its lock, that is 157 s."""
BEFORE_THE_BASELINE = re.compile(r"\d{4}")
"""Ids of revisions that were squashed into the baseline."""


def alembic_config() -> Config:
    """Alembic's settings, without an address: that is handed in."""
    return Config(str(files("loradex.migrations") / "alembic.ini"))


def upgrade(url: str, revision: str = HEAD) -> None:
    """Run the missing revisions; nothing happens if there are none. Another migrator is waited for.

    Workers may go on meanwhile: a revision that meets a lock is undone and tried again, for about 2.5 minutes.

    Raises:
        SchemaOutdatedError: The database was made by a version this one knows nothing of.
    """
    require_known(current_revision(url))
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Undo revisions down to one (`-1`, `base` or an id)."""
    _run(url, lambda config: command.downgrade(config, revision))


def current_revision(url: str) -> str | None:
    """The revision a database is at; None if it was never migrated."""
    with translate_errors(), engine(url).connect() as connection:
        return MigrationContext.configure(
            connection, opts={"version_table_schema": SCHEMA}
        ).get_current_revision()


def is_current(url: str) -> bool:
    """Whether a database is at the newest revision of this checkout."""
    return current_revision(url) == ScriptDirectory.from_config(alembic_config()).get_current_head()


def require_known(revision: str | None, holder: str = "this database") -> None:
    """See that this version can bring a revision up to date; None is a database that was never migrated.

    Args:
        revision: The id of one.
        holder: What is at that revision, for the message.

    Raises:
        SchemaOutdatedError: It is of another version.
    """
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if revision is None or revision in known:
        return
    if BEFORE_THE_BASELINE.fullmatch(revision):
        raise SchemaOutdatedError(
            f"{holder} is at revision {revision} of a Loradex before the first release, and its rows "
            "cannot be brought over: keep it with that version, and start this one with an empty database "
            "(for the embedded one: `loradex down`, then set LORADEX_HOME to a new directory)"
        )
    raise SchemaOutdatedError(
        f"{holder} is at revision {revision}, which this version of Loradex does not know: "
        "install a newer one"
    )


def _run(url: str, action: Callable[[Config], None]) -> None:
    with translate_errors():
        for left in reversed(range(ATTEMPTS)):
            try:
                _run_once(url, action)
            except DBAPIError as error:
                if left == 0 or getattr(error.orig, "sqlstate", None) not in HELD:
                    raise
                sleep(PAUSE_SECONDS)
            else:
                return


def _run_once(url: str, action: Callable[[Config], None]) -> None:
    config = alembic_config()
    with engine(url).connect() as connection:
        config.attributes |= {"connection": connection, "lock_timeout": LOCK_TIMEOUT}
        action(config)
