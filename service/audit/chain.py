"""The chain, link by link: every hash is computed here, from raw rows."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from heapq import merge
from uuid import UUID

from loradex.service.audit.batch import COMMITMENTS, HASH, Batch, as_bytes, batches
from loradex.service.audit.canonical import FIRST_PREVIOUS, chain_hash
from loradex.service.audit.evidence import ANSWERS, Table
from loradex.service.audit.finding import Finding
from loradex.service.audit.snapshot import Connection

NAMED = "answers"
"""Column of a note that names the answers it is about."""

ID = re.compile(r"[0-9a-f-]{36}")
STILL_THERE = "select id from loradex.answers where id = any (%s) and commitments is null order by position"


@dataclass(frozen=True)
class Link:
    """What a row says about its place in the chain, and the hash that its contents have.

    Attributes:
        answer: The answer it is; None for a note.
        erased: The answers whose texts are gone, by what it says: itself, or those that a note names.
    """

    position: int | None
    answer: UUID | None
    previous: bytes
    stored: bytes
    computed: bytes
    erased: frozenset[UUID]

    def broken(self, expected: int, before: bytes) -> Iterator[Finding]:
        """What is wrong with it, where a position is expected and the link before it has that hash."""
        reason = None
        if self.position is None:
            reason = "it has no position"
        elif self.position > expected:
            reason = f"{self.position - expected} link(s) before it are missing"
        elif self.position < expected:
            reason = "its position is taken, or lies before the first"
        elif self.previous != before:
            reason = "its previous_hash is not the chain_hash of the link before it"
        if reason is not None:
            yield Finding(self.position, self.answer, reason)
        if self.stored != self.computed:
            reason = "its chain_hash does not fit its columns: it was changed"
            yield Finding(self.position, self.answer, reason)

    @property
    def place(self) -> tuple[bool, int]:
        return self.position is None, self.position or 0


class Chain:
    """Walks the chain in a snapshot, once.

    Attributes:
        answers: How many have been read.
        erased: Those among them that hold no texts.
    """

    def __init__(self, connection: Connection, tables: Collection[Table]) -> None:
        self._connection = connection
        self._tables = tables
        self._noted: set[UUID] = set()
        self.answers = 0
        self.erased: set[UUID] = set()

    def findings(self, heads: Collection[bytes], passed: Callable[[int], None]) -> Iterator[Finding]:
        """Every broken link; then each head that no link hashes to, and what was erased without a note.

        `passed` is told how many answers further the walk is.
        """
        expected, before = 1, FIRST_PREVIOUS
        wanted = set(heads)
        for link in merge(*(self._links(table, passed) for table in self._tables), key=lambda one: one.place):
            yield from link.broken(expected, before)
            expected = (link.position or expected) + 1
            before = link.stored
            wanted.discard(link.computed)
        for head in sorted(wanted):
            reason = f"no link has the hash {head.hex()}: the chain was cut or rewritten since it was kept"
            yield Finding.of_database(reason)
        yield from self._erasures()

    def _links(self, table: Table, passed: Callable[[int], None]) -> Iterator[Link]:
        for batch in batches(self._connection, table):
            for link in links(table.name, batch):
                (self.erased if table.name == ANSWERS else self._noted).update(link.erased)
                yield link
            if table.name == ANSWERS:
                self.answers += len(batch.texts)
                passed(len(batch.texts))

    def _erasures(self) -> Iterator[Finding]:
        for answer in sorted(self.erased - self._noted):
            yield Finding(None, answer, "its texts were erased, and no note in the chain says so")
        doubtful = list(self._noted - self.erased)
        for (answer,) in self._connection.execute(STILL_THERE, (doubtful,)).fetchall() if doubtful else ():
            yield Finding(None, answer, "a note says that its texts were erased, and they are there")


def links(table: str, batch: Batch) -> Iterator[Link]:
    """The links of a batch, hashed."""
    columns = (batch.columns[name] for name in ("position", "id", "previous_hash", HASH))
    gone = batch.columns[COMMITMENTS if table == ANSWERS else NAMED]
    for position, name, previous, stored, text, erased in zip(*columns, batch.texts, gone, strict=True):
        before = as_bytes(previous)
        # Commitments say that the answer itself was erased; a note names those that it is about.
        names = name if table == ANSWERS and erased is not None else erased
        yield Link(
            None if position is None else int(position),
            None if name is None or table != ANSWERS else UUID(name),
            before,
            as_bytes(stored),
            chain_hash(before, text),
            frozenset(map(UUID, ID.findall(names or ""))),
        )
