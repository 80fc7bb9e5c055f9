"""A dump of a database that can be restored on another server, with what Postgres' own dump leaves out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp

from loradex.db.migrate import current_revision, upgrade
from loradex.db.restored import Login, adopt, logins, owners, require_empty
from loradex.db.session import connect
from loradex.embedded import programs
from loradex.errors import InvalidArgumentError, SchemaOutdatedError, StackError

DATABASE, FACTS = "database.dump", "facts.json"
MAX_FACTS_BYTES = 64 << 20


@dataclass(frozen=True)
class Facts:
    """What a dump says about itself.

    Attributes:
        revision: That of the schema.
        head: Newest link of the chain when the dump began; None without answers.
        logins: Members of Loradex' groups; they belong to the server, and a dump has no passwords.
        owners: Ids of the owners whose logins were there.
    """

    revision: str
    head: str | None
    logins: list[Login]
    owners: list[int]

    def as_json(self) -> str:
        """One document, as `facts.json` holds it."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Facts":
        """What a file says; `InvalidArgumentError` where it is not one that `dump` wrote."""
        try:
            with path.open("rb") as file:
                told = json.loads(file.read(MAX_FACTS_BYTES))
            facts = cls(
                told["revision"],
                told["head"],
                [Login(**login) for login in told["logins"]],
                [*map(int, told["owners"])],
            )
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InvalidArgumentError(
                f"{path.parent} is not a dump: name a directory that `loradex db dump` wrote"
            ) from error
        return facts


def dump(url: str, directory: Path, head: Callable[[], str | None]) -> Facts:
    """Write a dump into a new directory, whole or not at all.

    Raises:
        InvalidArgumentError: The directory is there already, or its parent is not.
        SchemaOutdatedError: The database holds no Loradex.
        StackError: `pg_dump` failed.
    """
    if directory.exists() or directory.is_symlink():
        raise InvalidArgumentError(f"{directory} is there already: name a new directory")
    revision = current_revision(url)
    if revision is None:
        raise SchemaOutdatedError("this database holds no Loradex: run `loradex db upgrade`")
    try:
        draft = Path(mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise InvalidArgumentError(f"{directory} cannot be made: {error.strerror}") from error
    try:
        with connect(url) as connection:
            # Before the dump, which then holds at least that.
            facts = Facts(revision, head(), logins(connection), owners(connection))
        programs.run("pg_dump", url, ["--format=custom", f"--file={draft / DATABASE}"])
        (draft / FACTS).write_text(facts.as_json(), encoding="utf-8")
        draft.rename(directory)
    except OSError as error:
        raise StackError(f"the dump was not kept: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return facts


def restore(url: str, directory: Path) -> tuple[Facts, list[str]]:
    """Bring a dump into an empty database, up to date; returns its facts and the logins without a password.

    Raises:
        InvalidArgumentError: It is not a dump, or the database is not empty.
        StackError: `pg_restore` failed; nothing of it is left in the database.
    """
    facts = Facts.read(directory / FACTS)
    if not (directory / DATABASE).is_file():
        raise InvalidArgumentError(f"{directory} is not a dump: {DATABASE} is missing")
    with connect(url) as connection:
        require_empty(connection)
    programs.run(
        "pg_restore",
        url,
        ["--no-owner", "--exit-on-error", "--single-transaction", directory / DATABASE],
    )
    with connect(url) as connection:
        silent = adopt(connection, facts.logins, facts.owners)
    upgrade(url)
    return facts, silent
