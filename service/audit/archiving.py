"""Moving the oldest part of the chain out of the database: written, verified, only then dropped."""

import shutil
from datetime import datetime
from pathlib import Path

from psycopg.types.json import Jsonb

from loradex.db.session import connect, translate_errors
from loradex.errors import ArchiveError
from loradex.service.audit.archive import Archive, Part, write
from loradex.service.audit.archived import Archived
from loradex.service.audit.chain import Chain
from loradex.service.audit.snapshot import Connection, snapshot

DROP = "select loradex.drop_archived(%s, %s, %s, coalesce(%s, now()))"


def archive_next(url: str, directory: Path, now: datetime | None = None) -> Archive | None:
    """Archive what may be archived next; None if that is nothing.

    Raises:
        ArchiveError: The chain is broken in it. The files are gone again, and the database is as it was.
    """
    with snapshot(url) as connection:
        part = Part.next(connection, now)
        if part is None:
            return None
        place = directory / part.name
        # Written before, and not taken out of the database: it is still whole there.
        shutil.rmtree(place, ignore_errors=True)
        try:
            archive = _written(connection, part, place)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
    with translate_errors(), connect(url) as connection:
        connection.execute(DROP, (part.before, part.last_hash, Jsonb(archive.told["files"]), now))
    return archive


def _written(connection: Connection, part: Part, place: Path) -> Archive:
    """The archive of a part, read again from its files and verified."""
    archived = Archived.noted(connection)
    write(connection, part, archived.before, place)
    archive = Archive.at(place)
    chain = Chain(archived.first, archived.before)
    broken = [one.reason for one in (*archived.findings, *chain.walk(archive.batches()))]
    if (chain.expected, chain.before) != (part.last_position + 1, part.last_hash):
        broken.append("it does not end where it should")
    if broken:
        raise ArchiveError(f"the chain is broken in what was to be archived: {broken[0]}")
    return archive
