"""The newest link of the chain, to be kept where the database's owner cannot write."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from loradex.errors import InvalidArgumentError
from loradex.service.audit.evidence import ANSWERS, LINKS
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


NEWEST: LiteralString = """
    (select position, {answer_id} as answer_id, encode(chain_hash, 'hex') as chain_hash from {table}
     order by 1 desc nulls last limit 1)"""


def newest(connection: Connection) -> Head | None:
    """The head; None while the chain is empty."""
    ends = (
        sql.SQL(NEWEST).format(
            answer_id=sql.SQL("id" if table == ANSWERS else "null::uuid"),
            table=sql.Identifier("loradex", table),
        )
        for table in LINKS
    )
    with connection.cursor(row_factory=class_row(Head)) as cursor:
        return cursor.execute(
            sql.SQL("{} order by 1 desc nulls last limit 1").format(sql.SQL(" union all ").join(ends))
        ).fetchone()


def wanted(anywhere: Iterable[bytes], placed: Iterable[tuple[bytes, int]]) -> dict[bytes, int | None]:
    """Heads to look for: hash → position, None where it is not known.

    One that was kept with several positions is looked for where it must be found soonest, or whoever may add to an
    anchor could say that it lies in an archive.
    """
    found: dict[bytes, int] = {}
    for head, position in placed:
        found[head] = max(position, found.get(head, position))
    return found | dict.fromkeys(anywhere)


def hash_of(text: str) -> bytes:
    """The hash that `loradex audit head` printed.

    Raises:
        InvalidArgumentError: It is not 64 hex digits.
    """
    digits = text.strip().lower()
    if len(digits) != HEX_DIGITS or set(digits) - set("0123456789abcdef"):
        raise InvalidArgumentError(f"a head is {HEX_DIGITS} hex digits, as `loradex audit head` prints it")
    return bytes.fromhex(digits)
