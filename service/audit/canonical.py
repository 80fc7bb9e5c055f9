"""The canonical text of an answer, built from what Postgres prints of its raw row (docs/audit-format.md).

It is the text of the `jsonb` that `loradex.answer_canonical` builds, made without any function of the database.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from itertools import repeat
from json.encoder import encode_basestring as string

Encode = Callable[[str], str]
Row = Sequence[str | None]

FIRST_PREVIOUS = bytes(32)
"""What stands in `previous_hash` of the first answer."""

SPECIAL = {"-0": "0", "NaN": '"NaN"', "Infinity": '"Infinity"', "-Infinity": '"-Infinity"'}
TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([{},])|([^"{},]+)', re.DOTALL)
PLAIN = re.compile(r'\{[^"{}\\]+\}')
"""An array of one dimension, not empty, in which nothing is quoted."""
BRACKETS = {"{": "[", "}": "]", ",": ", "}
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def number(text: str) -> str:
    """A float8 as `numeric` prints it: never with an exponent; NaN and infinities are strings."""
    if "e" in text:
        return format(Decimal(text), "f")
    return SPECIAL.get(text, text)


def boolean(text: str) -> str:
    return "true" if text == "t" else "false"


def timestamp(text: str) -> str:
    """A timestamptz in UTC: `T` for the blank, and minutes in its offset."""
    return string(text.replace(" ", "T", 1).replace("+00", "+00:00", 1))


def unchanged(text: str) -> str:
    return text


def array_of(element: Encode) -> Encode:
    """How an array of such elements is written; it may be nested.

    An array that does not begin at 1 is printed with its bounds. Loradex writes none, so that it becomes a
    string here, which fits no hash.
    """

    def array(text: str) -> str:
        if text.startswith("["):
            return string(text)
        if PLAIN.fullmatch(text) and "NULL" not in text:
            return f"[{', '.join(map(element, text[1:-1].split(',')))}]"
        return TOKEN.sub(token, text)

    def token(found: re.Match[str]) -> str:
        quoted, bracket, bare = found.groups()
        if bracket is not None:
            return BRACKETS[bracket]
        if quoted is not None:
            return element(ESCAPED.sub(r"\1", quoted))
        return "null" if bare == "NULL" else element(bare)

    return array


SCALARS: Mapping[str, Encode] = {
    "bigint": unchanged,
    "boolean": boolean,
    "bytea": string,
    "character": string,
    "double precision": number,
    "integer": unchanged,
    "jsonb": unchanged,
    "public.vector": string,
    "text": string,
    "timestamp with time zone": timestamp,
    "uuid": string,
}
ENCODERS = dict(SCALARS) | {
    f"{kind}[]": array_of(encode) for kind, encode in SCALARS.items() if kind != "jsonb"
}
"""Type of a column, as `format_type` names it → how its text is written as JSON."""


def in_order(names: Iterable[str]) -> list[str]:
    """Keys as `jsonb` sorts them: shorter ones first, then by their bytes."""
    return sorted(names, key=lambda name: (len(name.encode()), name.encode()))


def written(kind: str, texts: Sequence[str | None]) -> list[str]:
    """The values of a column of that type, as JSON.

    A chain has millions of values, so that it is done column by column: nearly all of the time is spent in C.
    """
    encode = ENCODERS[kind]
    present = [text for text in texts if text is not None]
    if len(present) < len(texts):
        return ["null" if text is None else encode(text) for text in texts]
    return present if encode is unchanged else list(map(encode, present))


def objects(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """JSON objects, one per row, of columns whose values are written already."""
    pieces: list[Iterable[str]] = []
    for name in in_order(columns):
        pieces += [repeat(f"{', ' if pieces else '{'}{string(name)}: "), columns[name]]
    return list(map("".join, zip(*pieces, repeat("}"))))


def commitment(name: str, value: str, salt: bytes) -> str:
    """What stands for a value that can be erased: a salted hash of an object of the column alone."""
    return string(sha256(salt + f"{{{string(name)}: {value}}}".encode()).hexdigest())


def chain_hash(previous: bytes, text: str) -> bytes:
    """The hash of a link: over the hash before it and the canonical text."""
    return sha256(previous + text.encode()).digest()
