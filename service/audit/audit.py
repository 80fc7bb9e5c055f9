"""The check of everything that makes answers evidence, which calls no function of the database it checks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from loradex.service.audit import evidence, head
from loradex.service.audit.anchors import Kept
from loradex.service.audit.archived import Archived
from loradex.service.audit.batch import batches
from loradex.service.audit.chain import Chain
from loradex.service.audit.finding import Finding
from loradex.service.audit.head import Head
from loradex.service.audit.release import Release
from loradex.service.audit.snapshot import Connection, snapshot

if TYPE_CHECKING:
    from loradex.service.audit.archive import Archive


@dataclass
class Checked:
    """How much has been looked at.

    Attributes:
        answers: Answers whose hashes were computed.
        erased: How many of them hold no texts any more.
        functions, triggers: Those of the release, which the database's were compared with.
        heads_in_archives: Heads that were not looked for, since they lie in archives that were not given.
    """

    answers: int = 0
    erased: int = 0
    functions: int = 0
    triggers: int = 0
    heads_in_archives: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class Audit:
    """Checks the evidence in one snapshot; needs a login that may read all of it, such as `loradex_reader`'s.

    Attributes:
        checked: What `breaks` has looked at.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.checked = Checked()

    @classmethod
    @contextmanager
    def at(cls, url: str) -> "Iterator[Audit]":
        """An audit of the database at `url`, as it is now.

        Raises:
            DatabaseUnavailableError: Nothing answers at the address, or it refuses this user.
            PermissionRefusedError: The login does not see all evidence.
            SchemaOutdatedError: A table of evidence is missing, or made by another version.
        """
        with snapshot(url) as connection:
            evidence.require_all_rows(connection)
            yield cls(connection)

    def head(self) -> Head | None:
        """The newest link; None while there is no answer."""
        return head.newest(self._connection)

    def length(self) -> int:
        """How many answers the chain has."""
        row = self._connection.execute("select count(*) from loradex.answers").fetchone()
        return int(row[0]) if row is not None else 0

    def breaks(
        self,
        heads: Sequence[str] = (),
        passed: Callable[[int], None] = lambda _: None,
        archives: "Sequence[Archive]" = (),
        kept: Sequence[Kept] = (),
    ) -> Iterator[Finding]:
        """Everything that is wrong, as it is found: with tables, functions, triggers and grants, then the chain.

        Args:
            heads: Hashes that were kept elsewhere; each must be the hash of a link.
            passed: Told how many answers further the walk is.
            archives: Parts of the chain that were archived, oldest first, without a gap.
            kept: Heads of anchors. Those that lie before the walk begins are counted, and not looked for.

        Raises:
            InvalidArgumentError: A head is not a hash.
        """
        placed = [(head.hash_of(one.chain_hash), one.position) for one in kept]
        tables = {name: evidence.table(self._connection, name) for name in evidence.LINKS}
        release = Release.installed()
        self.checked = Checked(0, 0, len(release.functions), len(release.triggers))
        wanted = head.wanted(map(head.hash_of, heads), placed)
        for table in tables.values():
            yield from evidence.doubts(self._connection, table)
        yield from release.findings(self._connection)
        archived = Archived.noted(self._connection)
        yield from archived.findings
        first, before = archived.first, archived.before
        for table in tables.values():
            if table.name == evidence.ANSWERS:
                continue
            for note in archived.older(self._connection, table):
                yield from note.broken(note.position or 0, note.previous)
                wanted.setdefault(note.computed, note.position)
        chain = Chain(first, before, wanted)
        if archives:
            chain = Chain(archives[0].first_position, archives[0].previous_hash, wanted)
        self.checked.heads_in_archives = sum(one in chain.unlooked for one, _ in placed)
        for archive in archives:
            yield from archive.walk(chain, passed)
        if (chain.expected, chain.before) != (first, before):
            yield Finding.of_database("the archives do not end where the chain in the database begins")
        parts = [
            # Notes of before the last archive are in it; an answer of before should be gone.
            (
                table.name,
                batches(self._connection, table, *([] if table.name == evidence.ANSWERS else [first])),
            )
            for table in tables.values()
        ]
        yield from chain.walk(parts, passed)
        for archive in archives:
            yield from archive.unlike(
                chain.files_of(archive.first_position, archive.end[0] - 1), complete=True
            )
        yield from chain.left(self._connection)
        self.checked.answers, self.checked.erased = chain.answers, len(chain.erased)
