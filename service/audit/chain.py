"""The chain, link by link: every hash is computed here, from raw rows."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from heapq import merge
from uuid import UUID

from loradex.service.audit.batch import COMMITMENTS, HASH, Batch, as_bytes
from loradex.service.audit.canonical import FIRST_PREVIOUS, chain_hash
from loradex.service.audit.evidence import ANSWERS, ERASURES
from loradex.service.audit.finding import Finding
from loradex.service.audit.snapshot import Connection

ERASED = {ANSWERS: COMMITMENTS, ERASURES: "answers"}
"""Table → its column that says of which answers the texts are gone."""

ID = re.compile(r"[0-9a-f-]{36}")
BEGINNING = "select last_position + 1, last_hash from loradex.archives order by last_position desc limit 1"
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
    """Walks the chain, in one part or in several that follow one another.

    Attributes:
        expected, before: The next link's position, and the hash of the link before it.
        answers: How many have been read.
        erased: Those among them that hold no texts.
    """

    def __init__(
        self, expected: int = 1, before: bytes = FIRST_PREVIOUS, heads: Collection[bytes] = ()
    ) -> None:
        self.expected = expected
        self.before = before
        self._heads = set(heads)
        self._archived = expected > 1
        self._noted: set[UUID] = set()
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
            self._heads.discard(link.computed)

    def _links(self, table: str, source: Iterator[Batch], passed: Callable[[int], None]) -> Iterator[Link]:
        for batch in source:
            for link in links(table, batch):
                (self.erased if table == ANSWERS else self._noted).update(link.erased)
                yield link
            if table == ANSWERS:
                self.answers += len(batch.texts)
                passed(len(batch.texts))

    def missing_heads(self) -> Iterator[Finding]:
        """At the end: each head that no link hashes to."""
        for head in sorted(self._heads):
            reason = f"no link has the hash {head.hex()}: the chain was cut or rewritten since it was kept"
            if self._archived:
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


def beginning(connection: Connection) -> tuple[int, bytes]:
    """Position of the first link in the database, and the hash before it: where the last archive ended."""
    row = connection.execute(BEGINNING).fetchone()
    return (1, FIRST_PREVIOUS) if row is None else (int(row[0]), bytes(row[1]))


def links(table: str, batch: Batch) -> Iterator[Link]:
    """The links of a batch, hashed."""
    columns = (batch.columns[name] for name in ("position", "id", "previous_hash", HASH))
    gone = batch.columns[ERASED[table]] if table in ERASED else [None] * len(batch.texts)
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
