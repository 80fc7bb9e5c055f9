"""A dump of a database that can be restored on another server, with what Postgres' own dump leaves out."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import psycopg

from loradex.db.migrate import SchemaState, require_known, schema_state, upgrade
from loradex.db.restored import Login, adopt, logins, owners, prepare, take_back
from loradex.db.session import connect, translate_errors
from loradex.embedded import programs
from loradex.errors import InvalidArgumentError, LoradexError, SchemaOutdatedError, StackError

DATABASE, FACTS = "database.dump", "facts.json"
MAX_FACTS_BYTES = 64 << 20
PATIENT = """
    select set_config(name, '0', true) from pg_settings
    where name in ('idle_in_transaction_session_timeout', 'transaction_timeout')"""
"""A dump may take hours, in which this session only waits."""
EMPTY = "nothing of the dump is in the database, so begin again once that is mended"
AGAIN = (
    "not everybody's rows are theirs yet: empty the database with "
    '`loradex db psql -c "drop schema loradex cascade"`, mend that, and restore again'
)
OUTDATED = "all that is left is to bring the schema up to date: run `loradex db upgrade`"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Facts:
    """What a dump says about itself.

    Attributes:
        revision: That of the schema.
        digest: Of what that revision ran, as it noted it.
        head: Newest link of the chain when the dump began; None without answers.
        logins: Members of Loradex' groups; they belong to the server, and a dump has no passwords.
        owners: Ids of the owners whose logins were there.
    """

    revision: str
    digest: str | None
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
                str(told["revision"]),
                told.get("digest"),
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
    state = schema_state(url)
    if state.revision is None:
        raise SchemaOutdatedError("this database holds no Loradex: run `loradex db upgrade`")
    try:
        draft = Path(mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise InvalidArgumentError(f"{directory} cannot be made: {error.strerror}") from error
    try:
        newest = head()  # before the dump, which then holds at least that
        with _one_moment(url) as (connection, moment):
            facts = Facts(state.revision, state.digest, newest, logins(connection), owners(connection))
            programs.run(
                "pg_dump", url, ["--format=custom", f"--snapshot={moment}", f"--file={draft / DATABASE}"]
            )
        (draft / FACTS).write_text(facts.as_json(), encoding="utf-8")
        draft.rename(directory)
    except OSError as error:
        raise StackError(f"the dump was not kept: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return facts


@contextmanager
def _one_moment(url: str) -> Iterator[tuple[Connection, str]]:
    """A transaction, and the name under which `pg_dump` sees just what it sees."""
    with translate_errors(), connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            connection.execute(PATIENT)
            row = connection.execute("select pg_export_snapshot()").fetchone()
            yield connection, "" if row is None else str(row[0])


def restore(url: str, directory: Path) -> tuple[Facts, list[str]]:
    """Bring a dump into an empty database, up to date; returns its facts and the logins without a password.

    Raises:
        InvalidArgumentError: It is not a dump, or the database is not empty.
        SchemaOutdatedError: The dump is of another version than this one can bring up to date.
        PermissionRefusedError: This user may not make the groups and logins.
        StackError: A step failed; the text says what is in the database then, and how to go on. It is as empty as
            before unless the rows were restored.
    """
    facts = Facts.read(directory / FACTS)
    if not (directory / DATABASE).is_file():
        raise InvalidArgumentError(f"{directory} is not a dump: {DATABASE} is missing")
    require_known(SchemaState(facts.revision, facts.digest), f"the dump in {directory}")
    with connect(url) as connection:
        silent = prepare(connection, facts.logins)
    try:
        _fill(url, directory / DATABASE)
    except BaseException as error:
        with suppress(LoradexError), connect(url) as connection:
            take_back(connection, silent)
        if isinstance(error, LoradexError):
            raise StackError(f"{error}; {EMPTY}") from error
        raise
    with _or_say(AGAIN), connect(url) as connection:
        adopt(connection, facts.owners)
    with _or_say(OUTDATED):
        upgrade(url)
    return facts, silent


@contextmanager
def _or_say(cure: str) -> Iterator[None]:
    try:
        yield
    except (LoradexError, psycopg.Error) as error:
        raise StackError(f"the rows were restored, and then: {error}; {cure}") from error


def _fill(url: str, dumped: Path) -> None:
    """Restore all but comments on extensions, which only who made the extension may write, and which it brings."""
    listed = programs.run("pg_restore", url, ["--list", dumped]).splitlines()
    with TemporaryDirectory(prefix="loradex-") as place:
        wanted = Path(place) / "wanted"
        wanted.write_text(
            "\n".join(line for line in listed if " COMMENT - EXTENSION " not in line), encoding="utf-8"
        )
        programs.run(
            "pg_restore",
            url,
            ["--no-owner", "--exit-on-error", "--single-transaction", f"--use-list={wanted}", dumped],
        )
