"""What both ends of a stream agree on: where Redis has the pieces of an answer's text, and what a message says.

A worker appends to a stream of the job's own and rings at a channel of the same name. Whoever listens reads the stream,
from its beginning too. It may be lost, cut off or forged at any time: the answer of record is in Postgres alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

PREFIX = "loradex:pieces:"
MOST_MESSAGES = 4096
"""Of one job that Redis keeps, or some more: it drops them by the hundred."""

LONGEST_PIECE = 16_384
"""Characters of one message; what is longer is not read."""

KEPT_SECONDS = 300
"""How long the pieces of a text stay after the last of them."""

KEPT_AFTER_END_SECONDS = 60
"""How long they stay once the answer is in Postgres."""

_NUMBER = re.compile(rb"[0-9]{1,9}")
_BYTES_OF_A_CHARACTER = 4


@dataclass(frozen=True)
class Piece:
    """Some of a text.

    Attributes:
        attempt: The job's attempt that writes it: a later one begins anew.
        at: Its place in the text, in characters from the beginning.
        text: The characters from there on.
    """

    attempt: int
    at: int
    text: str


@dataclass(frozen=True)
class End:
    """Nothing more comes of this attempt.

    Attributes:
        attempt: The job's attempt.
        answer_id: The answer that was recorded; None: there is none.
    """

    attempt: int
    answer_id: UUID | None


Message = Piece | End


def place_of(pieces_key: UUID) -> str:
    """The name of a job's stream in Redis, and of the channel that says when there is more in it.

    Args:
        pieces_key: The job's own, from `loradex.jobs`: whoever knows it can read.
    """
    return f"{PREFIX}{pieces_key}"


def fields_of(message: Message) -> dict[str, str | int]:
    """The message as Redis keeps it."""
    if isinstance(message, Piece):
        return {"attempt": message.attempt, "at": message.at, "text": message.text}
    return {"attempt": message.attempt, "answer": "" if message.answer_id is None else str(message.answer_id)}


def message_of(fields: Mapping[bytes, bytes]) -> Message | None:
    """What Redis said, if it is a message; None for anything else."""
    attempt = _number(fields.get(b"attempt"))
    if attempt is None:
        return None
    at, raw = _number(fields.get(b"at")), fields.get(b"text")
    if at is not None and raw is not None:
        text = _text(raw)
        return None if text is None else Piece(attempt, at, text)
    answer = _text(fields.get(b"answer"))
    if answer is None:
        return None
    try:
        return End(attempt, UUID(answer) if answer else None)
    except ValueError:
        return None


def _number(raw: bytes | None) -> int | None:
    return int(raw) if raw is not None and _NUMBER.fullmatch(raw) else None


def _text(raw: bytes | None) -> str | None:
    if raw is None or len(raw) > _BYTES_OF_A_CHARACTER * LONGEST_PIECE:
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text) <= LONGEST_PIECE else None
