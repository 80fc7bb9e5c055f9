"""The hash chain of answers, seen from outside: its head to keep, its truth to check."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from loradex.db.session import connect, translated
from loradex.errors import InvalidArgumentError

HEX_DIGITS = 64
FETCHED_AT_ONCE = 1000


@dataclass(frozen=True)
class Head:
    """The newest link: kept elsewhere, its hash shows when the chain was cut or rewritten since."""

    position: int
    answer_id: UUID
    chain_hash: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "answer_id": str(self.answer_id)}


@dataclass(frozen=True)
class Break:
    """A broken link and why; `position` is None where the answer itself is missing."""

    position: int | None
    answer_id: UUID | None
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "answer_id": None if self.answer_id is None else str(self.answer_id)}


class Audit:
    """Reads the chain over one connection; needs a role that sees all answers, such as `loradex_reader`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def at(cls, url: str) -> "Iterator[Audit]":
        """An audit of the database at `url`."""
        with translated(), connect(url) as connection:
            yield cls(connection)

    def head(self) -> Head | None:
        """The newest link; None while there is no answer."""
        with self._connection.cursor(row_factory=class_row(Head)) as cursor:
            return cursor.execute(
                "select position, answer_id, chain_hash from loradex.audit_head()"
            ).fetchone()

    def length(self) -> int:
        """How many answers the chain has."""
        row = self._connection.execute("select count(*) from loradex.answers").fetchone()
        return int(row[0]) if row is not None else 0

    def breaks(self) -> Iterator[Break]:
        """Every broken link, as the walk finds it; nothing is held in memory."""
        with (
            self._connection.transaction(),
            self._connection.cursor("breaks", row_factory=class_row(Break)) as cursor,
        ):
            cursor.itersize = FETCHED_AT_ONCE
            yield from cursor.execute("select position, answer_id, reason from loradex.verify_audit_chain()")

    def missing(self, head: str) -> Break | None:
        """The break that a head kept elsewhere shows: its link is no longer in the chain.

        Raises:
            InvalidArgumentError: `head` is no hash.
        """
        text = head.strip().lower()
        if len(text) != HEX_DIGITS or set(text) - set("0123456789abcdef"):
            raise InvalidArgumentError(
                f"a head is {HEX_DIGITS} hex digits, as `loradex audit head` prints it"
            )
        found = self._connection.execute(
            "select 1 from loradex.answers where chain_hash = decode(%s, 'hex')", (text,)
        ).fetchone()
        if found is not None:
            return None
        return Break(
            None, None, f"no answer has the hash {text}: the chain was cut or rewritten since it was kept"
        )
