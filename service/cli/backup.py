"""`loradex db psql`, `dump` and `restore`: Postgres' own programs, without a password on a command line."""

from pathlib import Path
from typing import Annotated

import typer

from loradex import terminal
from loradex.service.settings import ServiceSettings


def psql(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="What psql is told besides the address.")
    ] = None,
) -> None:
    """Open the database in psql; ends with psql's exit code.

    psql is taken from the embedded Postgres, or from this machine's path. Address and password are handed to it in a
    file that only you can read.

    Example: loradex db psql -c "select * from loradex.queue_health"
    """
    from loradex.addresses import database_address
    from loradex.embedded.programs import run_in_terminal

    raise typer.Exit(run_in_terminal("psql", database_address(ServiceSettings()), arguments or []))


def dump(
    directory: Annotated[Path, typer.Argument(help="A new directory.")],
) -> None:
    """Dump the database into a new directory, with its logins and the head of its chain.

    Nothing half-written is left behind. Passwords are not dumped, and prompts and answers are in clear: keep it where
    the database could be kept.

    Example: loradex db dump /backups/loradex-monday
    """
    from loradex.addresses import database_address
    from loradex.embedded import backup
    from loradex.service.audit import Audit

    url = database_address(ServiceSettings())

    def head() -> str | None:
        with Audit.at(url) as audit:
            newest = audit.head()
        return None if newest is None else newest.chain_hash

    with terminal.waiting("dumping"):
        facts = backup.dump(url, directory, head)
    size = sum(path.stat().st_size for path in directory.iterdir())
    terminal.say(f"dumped into {directory}: {size / (1 << 20):.1f} MiB, schema {facts.revision}")
    if facts.head is not None:
        terminal.say(f"head of the chain: {facts.head}")


def restore(
    directory: Annotated[Path, typer.Argument(help="What `loradex db dump` wrote.")],
) -> None:
    """Bring a dump into an empty database: rows, rights, logins, and whose rows are whose.

    Logins that this server does not have are made; they can log in once they have a password. A dump of an older
    version is brought up to date. Needs a user that may create roles. If it fails, it says whether the database is
    still empty, and how to begin again.

    Example: loradex db restore /backups/loradex-monday
    """
    from loradex.addresses import database_address
    from loradex.embedded import backup

    with terminal.waiting("restoring"):
        facts, silent = backup.restore(database_address(ServiceSettings()), directory)
    terminal.say(f"restored from {directory}")
    if silent:
        terminal.say(
            f"made, without a password: {', '.join(silent)}; "
            "set passwords with `loradex db roles` or `loradex db login`"
        )
    if facts.head is not None:
        terminal.say(f"now check it: loradex audit verify --head {facts.head}")
