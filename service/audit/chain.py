"""The chain, link by link: every hash is computed here, from raw rows."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from heapq import merge
from uuid import UUID

from loradex.service.audit.batch import Batch
from loradex.service.audit.canonical import FIRST_PREVIOUS
from loradex.service.audit.evidence import ANSWERS, ARCHIVES
from loradex.service.audit.finding import Finding
from loradex.service.audit.link import Link, links
from loradex.service.audit.snapshot import Connection

STILL_THERE = "select id from loradex.answers where id = any (%s) and commitments is null order by position"
NO_HEADS: Mapping[bytes, int | None] = {}


class Chain:
    """Walks the chain, in one part or in several that follow one another.

    Attributes:
        expected, before: The next link's position, and the hash of the link before it.
        answers: How many have been read.
        erased: Those among them that hold no texts.
        unlooked: Those of `heads` (hash → position, None where unknown) that lie before the part that is walked.
    """

    def __init__(
        self,
        expected: int = 1,
        before: bytes = FIRST_PREVIOUS,
        heads: Mapping[bytes, int | None] = NO_HEADS,
    ) -> None:
        self.expected = expected
        self.before = before
        self._archived = expected > 1
        self.unlooked = {
            one for one, position in heads.items() if position is not None and position < expected - 1
        }
        # The hash of the last link before this part is known.
        found = self.unlooked | ({before} if self._archived else set())
        self._heads = {one: heads[one] for one in heads.keys() - found}
        self._noted: set[UUID] = set()
        self._files: dict[tuple[int, int], set[str]] = defaultdict(set)
        self.answers = 0
        self.erased: set[UUID] = set()

    def walk(
        self, parts: Collection[tuple[str, Iterator[Batch]]], passed: Callable[[int], None] = lambda _: None
    ) -> Iterator[Finding]:
        """Every broken link of one part: table → its links. `passed` is told how many answers further it is."""
        for link in merge(*(self._links(*part, passed) for part in parts), key=lambda one: one.place):
            yield from link.broken(self.expected, self.before)
            self.expected = (link.position or self.expected) + 1
            self.before = link.stored
            self._heads.pop(link.computed, None)

    def _links(self, table: str, source: Iterator[Batch], passed: Callable[[int], None]) -> Iterator[Link]:
        for batch in source:
            if table == ARCHIVES:
                self._note_files(batch)
            for link in links(table, batch):
                (self.erased if table == ANSWERS else self._noted).update(link.erased)
                yield link
            if table == ANSWERS:
                self.answers += len(batch.texts)
                passed(len(batch.texts))

    def _note_files(self, batch: Batch) -> None:
        columns = (batch.columns[name] for name in ("first_position", "last_position", "files"))
        for first, last, files in zip(*columns, strict=True):
            place = int(first or 0), int(last or 0)
            self._files[place].add(json.dumps(json.loads(files or "null"), sort_keys=True))

    def files_of(self, first: int, last: int) -> Collection[str]:
        """What the notes that were walked say of the archive of these links: its files, as JSON with sorted keys."""
        return self._files.get((first, last), ())

    def missing_heads(self) -> Iterator[Finding]:
        """At the end: each head that no link hashes to."""
        for head in sorted(self._heads):
            reason = f"no link has the hash {head.hex()}: the chain was cut or rewritten since it was kept"
            if self._archived and self._heads[head] is None:
                reason += ", or it lies in an archive: name all of them with --archive"
            yield Finding.of_database(reason)

    def left(self, connection: Connection) -> Iterator[Finding]:
        """At the end: missing heads, and what was erased without a note, or not at all."""
        yield from self.missing_heads()
        for answer in sorted(self.erased - self._noted):
            yield Finding(None, answer, "its texts were erased, and no note in the chain says so")
        doubtful = list(self._noted - self.erased)
        for (answer,) in connection.execute(STILL_THERE, (doubtful,)).fetchall() if doubtful else ():
            yield Finding(None, answer, "a note says that its texts were erased, and they are there")
