"""The chain, link by link: every hash is computed here, from raw rows."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import LiteralString
from uuid import UUID

from psycopg import sql

from loradex.service.audit.batch import OWNER, Batch, batches
from loradex.service.audit.canonical import FIRST_PREVIOUS, canonical, chain_hash, list_of, rows_written
from loradex.service.audit.evidence import CHILDREN, Table
from loradex.service.audit.finding import Finding
from loradex.service.audit.snapshot import Connection

ORPHANS: LiteralString = """
    select distinct c.answer_id from {table} c
    where not exists (select from loradex.answers a where a.id = c.answer_id)"""


@dataclass(frozen=True)
class Link:
    """What an answer says about its place in the chain, and the hash that its contents have."""

    position: int | None
    answer: UUID | None
    previous: bytes
    stored: bytes
    computed: bytes

    def broken(self, expected: int, before: bytes) -> Iterator[Finding]:
        """What is wrong with it, where a position is expected and the answer before it has that hash."""
        reason = None
        if self.position is None:
            reason = "it has no position"
        elif self.position > expected:
            reason = f"{self.position - expected} answer(s) before it are missing"
        elif self.position < expected:
            reason = "its position is taken, or lies before the first"
        elif self.previous != before:
            reason = "its previous_hash is not the chain_hash of the answer before it"
        if reason is not None:
            yield Finding(self.position, self.answer, reason)
        if self.stored != self.computed:
            reason = (
                "its chain_hash does not fit its columns: the answer or a row that belongs to it was changed"
            )
            yield Finding(self.position, self.answer, reason)


class Chain:
    """Walks the chain in a snapshot, once.

    Attributes:
        answers, rows: How many answers, and rows of their child tables, have been read.
    """

    def __init__(self, connection: Connection, tables: Mapping[str, Table]) -> None:
        self._connection = connection
        self._tables = tables
        self.answers = 0
        self.rows = 0

    def findings(self, heads: Collection[bytes], passed: Callable[[int], None]) -> Iterator[Finding]:
        """Every broken link; then each head that no answer hashes to, and child rows without an answer.

        `passed` is told how many answers further the walk is.
        """
        expected, before = 1, FIRST_PREVIOUS
        wanted = set(heads)
        for batch in batches(self._connection, self._tables):
            for link in self._links(batch):
                yield from link.broken(expected, before)
                expected = (link.position or expected) + 1
                before = link.stored
                wanted.discard(link.computed)
            self.answers += len(batch.answers)
            self.rows += sum(map(len, batch.children.values()))
            passed(len(batch.answers))
        for head in sorted(wanted):
            reason = f"no answer has the hash {head.hex()}: the chain was cut or rewritten since it was kept"
            yield Finding.of_database(reason)
        yield from self._orphans()

    def _links(self, batch: Batch) -> Iterator[Link]:
        children = {place: self._owned(place, batch) for place in CHILDREN}
        answer, position, previous = map(list(batch.hashed).index, ("id", "position", "previous_hash"))
        written = rows_written(batch.hashed, [row[:-1] for row in batch.answers])
        for row, own in zip(batch.answers, written, strict=True):
            parts = {place: list_of(owned.get(row[answer], ())) for place, owned in children.items()}
            before = _bytes(row[previous])
            yield Link(
                None if (place := row[position]) is None else int(place),
                None if (name := row[answer]) is None else UUID(name),
                before,
                _bytes(row[-1]),
                chain_hash(before, canonical({"answer": own, **parts})),
            )

    def _owned(self, place: str, batch: Batch) -> dict[str | None, list[str]]:
        """Answer → its child rows there, as they stand in the canonical text."""
        columns, rows = self._tables[CHILDREN[place]].columns, batch.children[place]
        owners = map(itemgetter(list(columns).index(OWNER)), rows)
        pairs = zip(owners, rows_written(columns, rows), strict=True)
        return {owner: [text for _, text in own] for owner, own in groupby(pairs, key=itemgetter(0))}

    def _orphans(self) -> Iterator[Finding]:
        for name in CHILDREN.values():
            select = sql.SQL(ORPHANS).format(table=sql.Identifier("loradex", name))
            for (answer,) in self._connection.execute(select).fetchall():
                yield Finding(None, answer, f"loradex.{name} holds rows of it, but there is no such answer")


def _bytes(printed: str | None) -> bytes:
    """What was printed with bytea_output = hex; nothing for null."""
    return bytes.fromhex((printed or "")[2:])
