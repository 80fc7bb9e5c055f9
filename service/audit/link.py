"""One link of the chain, hashed here, and what is wrong with it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from loradex.service.audit.batch import COMMITMENTS, HASH, SALT, Batch, as_bytes, kept_commitments
from loradex.service.audit.canonical import chain_hash, objects
from loradex.service.audit.evidence import ANSWERS, ERASABLE, ERASURES
from loradex.service.audit.finding import Finding

ERASED = {ANSWERS: COMMITMENTS, ERASURES: "answers"}
"""Table → its column that says of which answers the texts are gone."""

ID = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True)
class Link:
    """What a row says about its place in the chain, and the hash that its contents have.

    Attributes:
        answer: The answer it is; None for a note.
        erased: The answers whose texts are gone, by what it says: itself, or those that a note names.
        uncovered: Whether it is an erased answer and holds what no hash covers.
    """

    position: int | None
    answer: UUID | None
    previous: bytes
    stored: bytes
    computed: bytes
    erased: frozenset[UUID]
    uncovered: bool

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
        if self.uncovered:
            reason = "it says that its texts were erased, and holds some: no hash covers them"
            yield Finding(self.position, self.answer, reason)

    @property
    def place(self) -> tuple[bool, int]:
        return self.position is None, self.position or 0


def links(table: str, batch: Batch) -> Iterator[Link]:
    """The links of a batch, hashed."""
    columns = (batch.columns[name] for name in ("position", "id", "previous_hash", HASH))
    gone = batch.columns[ERASED[table]] if table in ERASED else [None] * len(batch.texts)
    held = _uncovered(batch) if table == ANSWERS else [False] * len(batch.texts)
    for position, name, previous, stored, text, erased, uncovered in zip(
        *columns, batch.texts, gone, held, strict=True
    ):
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
            uncovered,
        )


def _uncovered(batch: Batch) -> list[bool]:
    """Of each answer whether it has commitments, and beside them something that could be taken for its texts.

    Where there are commitments they stand in the canonical text, so that no hash tells what lies in the columns, nor
    what else an object of commitments holds.
    """
    columns = [batch.columns[name] for name in (*ERASABLE, SALT)]
    return [
        text is not None and (any(column[row] is not None for column in columns) or not _pure(text))
        for row, text in enumerate(batch.columns[COMMITMENTS])
    ]


def _pure(text: str) -> bool:
    """Whether commitments, as Postgres prints them, are those to what can be erased and nothing else."""
    kept = kept_commitments(text)
    return kept.keys() == set(ERASABLE) and objects({name: [one] for name, one in kept.items()}) == [text]
