"""What the notes of archives say: where the chain in the database begins, and which of them cannot be believed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from loradex.service.audit.batch import batches
from loradex.service.audit.canonical import FIRST_PREVIOUS
from loradex.service.audit.evidence import Table
from loradex.service.audit.finding import Finding
from loradex.service.audit.link import Link, links
from loradex.service.audit.snapshot import Connection

NOTES = """
    select position, first_position, last_position, last_hash from loradex.archives
    order by first_position, position"""


@dataclass
class Archived:
    """What is in archives, by the notes that may be believed.

    A note lies in the chain behind what it speaks of. So the newest is itself a link in the database, and whoever
    forges one has to write every later link anew.

    Attributes:
        first: Position of the first link in the database.
        before: Hash of the link before it, which an archive ends with.
        findings: Notes that cannot be believed.
    """

    first: int = 1
    before: bytes = FIRST_PREVIOUS
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def noted(cls, connection: Connection) -> "Archived":
        """What the notes in a database say."""
        found = cls()
        for note in connection.execute(NOTES).fetchall():
            found._read(note)
        return found

    def _read(self, note: Sequence[object]) -> None:
        position, first, last, last_hash = note
        if not (isinstance(position, int) and isinstance(first, int) and isinstance(last, int)):
            self._doubt(None, "a note of an archive does not say what was archived")
        elif position <= last:
            self._doubt(
                position, f"it says that links up to {last} were archived, and does not come after them"
            )
        elif last < first:
            self._doubt(position, f"it says that an archive begins with link {first} and ends with {last}")
        else:
            if first != self.first:
                reason = f"it says that an archive begins with link {first}, and {self.first} was expected"
                self._doubt(position, reason)
            if last >= self.first:
                self.first, self.before = last + 1, bytes(last_hash) if isinstance(last_hash, bytes) else b""

    def _doubt(self, position: int | None, reason: str) -> None:
        self.findings.append(Finding(position, None, reason))

    def older(self, connection: Connection, notes: Table) -> Iterator[Link]:
        """Notes of this table that were archived themselves, and are in the database all the same."""
        for batch in batches(connection, notes, last=self.first - 1):
            yield from (link for link in links(notes.name, batch) if link.position is not None)
