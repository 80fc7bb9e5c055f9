"""The chain, link by link: every hash is computed here, from raw rows."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from uuid import UUID

from loradex.service.audit.batch import HASH, Batch, as_bytes, batches
from loradex.service.audit.canonical import FIRST_PREVIOUS, chain_hash
from loradex.service.audit.evidence import Table
from loradex.service.audit.finding import Finding
from loradex.service.audit.snapshot import Connection


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
            reason = "its chain_hash does not fit its columns: it was changed"
            yield Finding(self.position, self.answer, reason)


class Chain:
    """Walks the chain in a snapshot, once.

    Attributes:
        answers: How many have been read.
    """

    def __init__(self, connection: Connection, table: Table) -> None:
        self._connection = connection
        self._table = table
        self.answers = 0

    def findings(self, heads: Collection[bytes], passed: Callable[[int], None]) -> Iterator[Finding]:
        """Every broken link; then each head that no answer hashes to.

        `passed` is told how many answers further the walk is.
        """
        expected, before = 1, FIRST_PREVIOUS
        wanted = set(heads)
        for batch in batches(self._connection, self._table):
            for link in links(batch):
                yield from link.broken(expected, before)
                expected = (link.position or expected) + 1
                before = link.stored
                wanted.discard(link.computed)
            self.answers += len(batch.texts)
            passed(len(batch.texts))
        for head in sorted(wanted):
            reason = f"no answer has the hash {head.hex()}: the chain was cut or rewritten since it was kept"
            yield Finding.of_database(reason)


def links(batch: Batch) -> Iterator[Link]:
    """The links of a batch, hashed."""
    columns = (batch.columns[name] for name in ("position", "id", "previous_hash", HASH))
    for position, answer, previous, stored, text in zip(*columns, batch.texts, strict=True):
        before = as_bytes(previous)
        yield Link(
            None if position is None else int(position),
            None if answer is None else UUID(answer),
            before,
            as_bytes(stored),
            chain_hash(before, text),
        )
