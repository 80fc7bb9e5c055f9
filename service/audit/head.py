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
    """The newest link: kept elsewhere, its hash shows when the chain was cut or rewritten since."""

    position: int
    answer_id: UUID
    chain_hash: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "answer_id": str(self.answer_id)}


def newest(connection: Connection) -> Head | None:
    """The head; None while there is no answer."""
    with connection.cursor(row_factory=class_row(Head)) as cursor:
        return cursor.execute(
            "select position, id as answer_id, encode(chain_hash, 'hex') as chain_hash "
            "from loradex.answers order by position desc nulls last limit 1"
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
