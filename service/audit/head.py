"""The newest link of the chain, to be kept where the database's owner cannot write."""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from loradex.errors import InvalidArgumentError
from loradex.service.audit.snapshot import Connection

HEX_DIGITS = 64


@dataclass(frozen=True)
class Head:
    """The newest link: kept elsewhere, its hash shows when the chain was cut or rewritten since.

    `answer_id` is None where the link is the note of an erasure or of an archive.
    """

    position: int
    answer_id: UUID | None
    chain_hash: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "answer_id": None if self.answer_id is None else str(self.answer_id)}


def newest(connection: Connection) -> Head | None:
    """The head; None while the chain is empty."""
    with connection.cursor(row_factory=class_row(Head)) as cursor:
        return cursor.execute(
            """
            select l.position, l.answer_id, encode(l.chain_hash, 'hex') as chain_hash from (
                (select position, id as answer_id, chain_hash from loradex.answers order by 1 desc nulls last limit 1)
                union all
                (select position, null, chain_hash from loradex.erasures order by 1 desc nulls last limit 1)
                union all
                (select position, null, chain_hash from loradex.archives order by 1 desc nulls last limit 1)
            ) l order by 1 desc nulls last limit 1"""
        ).fetchone()


def hash_of(text: str) -> bytes:
    """The hash that `loradex audit head` printed.

    Raises:
        InvalidArgumentError: It is not 64 hex digits.
    """
    digits = text.strip().lower()
    if len(digits) != HEX_DIGITS or set(digits) - set("0123456789abcdef"):
        raise InvalidArgumentError(f"a head is {HEX_DIGITS} hex digits, as `loradex audit head` prints it")
    return bytes.fromhex(digits)
