"""Brings a database to the newest revision, and says whether it is there."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from time import sleep

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from loradex.db.session import engine, translate_errors
from loradex.db.sqlfiles import frozen_digest
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
ANEW = (
    "and its rows cannot be brought over: keep it with that version, and start this one with an empty database "
    "(for the embedded one: `loradex down`, then set LORADEX_HOME to a new directory)"
)
DIGEST = text("select obj_description(to_regclass('loradex.alembic_version'), 'pg_class')")


@dataclass(frozen=True)
class SchemaState:
    """How far a database was brought.

    Attributes:
        revision: Its newest; None if it was never migrated.
        digest: SHA-256 in hex of the text that the revision ran, as it noted it; None if it noted none.
    """

    revision: str | None
    digest: str | None

    @property
    def amended(self) -> bool:
        """Whether its revision is another text by now: before a release the newest one may be written anew."""
        frozen = None if self.revision is None else frozen_digest(self.revision)
        return frozen is not None and self.digest != frozen


def alembic_config() -> Config:
    """Alembic's settings, without an address: that is handed in."""
    return Config(str(files("loradex.migrations") / "alembic.ini"))


def upgrade(url: str, revision: str = HEAD) -> None:
    """Run the missing revisions; nothing happens if there are none. Another migrator is waited for.

    Workers may go on meanwhile: a revision that meets a lock is undone and tried again, for about 2.5 minutes.

    Raises:
        SchemaOutdatedError: The database was made by a version this one knows nothing of.
    """
    require_known(schema_state(url))
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Undo revisions down to one (`-1`, `base` or an id)."""
    _run(url, lambda config: command.downgrade(config, revision))


def current_revision(url: str) -> str | None:
    """The revision a database is at; None if it was never migrated."""
    return schema_state(url).revision


def schema_state(url: str) -> SchemaState:
    """How far a database was brought."""
    with translate_errors(), engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
        return SchemaState(context.get_current_revision(), connection.execute(DIGEST).scalar())


def is_current(url: str) -> bool:
    """Whether a database is at the newest revision of this checkout."""
    state = schema_state(url)
    newest = ScriptDirectory.from_config(alembic_config()).get_current_head()
    return state.revision == newest and not state.amended


def require_known(state: SchemaState, holder: str = "this database") -> None:
    """See that this version can bring a schema up to date.

    Args:
        state: How far it was brought.
        holder: What has that schema, for the message.

    Raises:
        SchemaOutdatedError: It is of another version.
    """
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    revision = state.revision
    if state.amended:
        raise SchemaOutdatedError(
            f"{holder} was made by an earlier commit of Loradex, whose revision {revision} was another, {ANEW}"
        )
    if revision is None or revision in known:
        return
    if BEFORE_THE_BASELINE.fullmatch(revision):
        raise SchemaOutdatedError(
            f"{holder} is at revision {revision} of a Loradex before the first release, {ANEW}"
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
