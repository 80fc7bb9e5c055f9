"""`loradex archive`: answers of months that are over, as Parquet files instead of rows."""

from pathlib import Path
from typing import Annotated

import typer

from loradex import terminal


def archive(
    directory: Annotated[Path, typer.Argument(help="Where archives lie; each gets a directory of its own.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write answers of months that are over to Parquet files, and take them and their jobs out of the database.

    Months stay for as long as the setting retention_months says. Each archive holds its part of the chain and is
    verified before anything is taken out: `loradex audit verify --archive DIRECTORY` does so again. The chain in the
    database then begins where the last archive ended. If texts are erased meanwhile, the archive is written anew
    without them. Needs the role of an administrator, and pyarrow.

    Example: loradex archive /srv/loradex-archives
    """
    from loradex.addresses import database_address
    from loradex.service.audit.archiving import archive_next
    from loradex.service.settings import ServiceSettings

    written = []
    while (done := archive_next(database_address(ServiceSettings()), directory)) is not None:
        written.append(done)
        if not as_json:
            terminal.say(f"{done.answers} answers are in {done.directory} now")
    if as_json:
        terminal.as_json([{"directory": str(one.directory), "answers": one.answers} for one in written])
    elif not written:
        terminal.say("nothing to archive: no month is over for longer than retention_months says")
