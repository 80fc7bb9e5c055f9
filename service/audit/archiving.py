"""Moving the oldest part of the chain out of the database: written, verified, only then dropped."""

from datetime import datetime
from pathlib import Path

from psycopg.types.json import Jsonb

from loradex.db.session import connect, translate_errors
from loradex.errors import ArchiveError, InvalidArgumentError
from loradex.service.audit.archive import Archive, Part, write
from loradex.service.audit.archived import Archived
from loradex.service.audit.chain import Chain
from loradex.service.audit.draft import alone, draft, take_away, take_place
from loradex.service.audit.snapshot import Connection, snapshot

DROP = "select loradex.drop_archived(%s, %s, %s, %s, coalesce(%s, now()))"
TRIES = 3


def archive_next(url: str, directory: Path, now: datetime | None = None) -> Archive | None:
    """Archive what may be archived next; None if that is nothing.

    Texts that are erased while an archive is written would survive in it, so it is written anew then.

    Raises:
        ArchiveError: The chain is broken in it; the directory cannot be written to, or holds another archive; or texts
            were erased meanwhile again and again. The database is as it was.
        QueueFullError: Answers were read or written all the time. The archive is kept, and taken up by the next call.
    """
    try:
        with alone(directory):
            return _archived(url, directory, now)
    except OSError as error:
        raise ArchiveError(f"{directory} cannot be written to: {error.strerror or error}") from error


def _archived(url: str, directory: Path, now: datetime | None) -> Archive | None:
    for _ in range(TRIES):
        with snapshot(url) as connection:
            part = Part.next(connection, now)
            if part is None:
                return None
            archive = _archive(connection, part, directory / part.name)
        if _dropped(url, part, archive, now):
            return archive
    raise ArchiveError(
        "texts were erased each time an archive was written, and it must not keep them: run `loradex archive` again "
        "when nothing is erased"
    )


def _archive(connection: Connection, part: Part, place: Path) -> Archive:
    """The archive of a part, under its name: one of before, if it still is what it must be, or a new one."""
    archived = Archived.noted(connection)
    if place.exists():
        kept = _kept(place, part)
        if not _broken(kept, part, archived):
            return kept
    with draft(place.parent) as directory:
        write(connection, part, archived.before, directory)
        broken = _broken(Archive.at(directory), part, archived)
        if broken:
            raise ArchiveError(f"the chain is broken in what was to be archived: {broken[0]}")
        take_place(directory, place)
    return Archive.at(place)


def _kept(place: Path, part: Part) -> Archive:
    """What lies under the name of a part's archive.

    Raises:
        ArchiveError: It is something else, which stays as it is.
    """
    try:
        kept = Archive.at(place)
    except InvalidArgumentError as error:
        raise ArchiveError(f"{error}; move it away, or name another directory") from error
    if kept.end != (part.last_position + 1, part.last_hash):
        raise ArchiveError(
            f"{place} holds the archive of another chain, and stays as it is: name another directory"
        )
    return kept


def _broken(archive: Archive, part: Part, archived: Archived) -> list[str]:
    """Why files are not the archive of a part, read again and hashed."""
    broken = [one.reason for one in archived.findings]
    if archive.erased != part.erased:
        broken.append("texts were erased since it was written")
    if not broken:
        broken = [one.reason for one in archive.walk(Chain(archived.first, archived.before))]
    return broken


def _dropped(url: str, part: Part, archive: Archive, now: datetime | None) -> bool:
    """Take a part out of the database; false if texts of it were erased, and the archive was taken away."""
    files = Jsonb(archive.files)
    try:
        with translate_errors(), connect(url) as connection:
            connection.execute(DROP, (part.before, part.last_hash, part.erased, files, now))
    except InvalidArgumentError:
        with snapshot(url) as connection:
            found = Part.next(connection, now)
        # Only what is whole in the database may go: if it is another part, somebody else has dropped this one.
        if found is None or found.erased == part.erased or found.last_hash != part.last_hash:
            raise
        take_away(archive.directory)
        return False
    return True
