"""Some hundred links of the chain, as Postgres prints them, with their canonical texts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import LiteralString, TypeVar

import psycopg
from psycopg import sql

from loradex.service.audit.canonical import commitment, objects, written
from loradex.service.audit.evidence import ANSWERS, ERASABLE, Table
from loradex.service.audit.snapshot import Connection, as_printed

LINKS_AT_ONCE = 300
BYTES_AT_ONCE = 16 << 20
"""A batch ends once it has as many characters, for what is printed of one link may be megabytes."""
FETCHED = 25
"""Links that are asked of Postgres together: by so many a batch may be larger."""
FIRST = -(2**63)
"""No link has a position before it."""

HASH = "chain_hash"
SALT = "salt"
COMMITMENTS = "commitments"
LEFT_OUT = frozenset({HASH, SALT, COMMITMENTS})
"""Columns that do not stand in the canonical text."""

IN_ORDER: LiteralString = """
    select {columns} from {table}
    where position is null or position >= %s and position <= coalesce(%s, position) order by position, id"""

T = TypeVar("T")
Row = tuple[str | None, ...]


@dataclass(frozen=True)
class Batch:
    """Links that follow one another.

    Attributes:
        columns: Name → what is printed in it, null as None, one value per link.
        texts: The canonical text of each.
    """

    columns: Mapping[str, Sequence[str | None]]
    texts: Sequence[str]


def batches(
    connection: Connection, table: Table, first: int = FIRST, last: int | None = None
) -> Iterator[Batch]:
    """The links that lie in a table, by position; the next batch is read while one is worked on."""
    return _ahead(_read(connection, table, first, last))


def _read(connection: Connection, table: Table, first: int, last: int | None) -> Iterator[Batch]:
    names = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    with connection.cursor(table.name) as cursor:
        as_printed(cursor, table.types)
        cursor.execute(
            sql.SQL(IN_ORDER).format(columns=names, table=sql.Identifier("loradex", table.name)),
            (first, last),
        )
        while rows := _some(cursor):
            columns = dict(zip(table.columns, zip(*rows, strict=True), strict=True))
            yield Batch(columns, canonical(table.name, table.columns, columns))


def _some(cursor: psycopg.ServerCursor[Row]) -> list[Row]:
    """The next rows of a cursor, not many more than a batch may have."""
    rows: list[Row] = []
    size = 0
    while len(rows) < LINKS_AT_ONCE and size < BYTES_AT_ONCE and (some := cursor.fetchmany(FETCHED)):
        rows += some
        size += sum(sum(map(len, filter(None, row))) for row in some)
    return rows


def canonical(table: str, kinds: Mapping[str, str], columns: Mapping[str, Sequence[str | None]]) -> list[str]:
    """The canonical text of each row of these columns (name → type, name → what is printed in it)."""
    texts = {name: written(kind, columns[name]) for name, kind in kinds.items() if name not in LEFT_OUT}
    if table == ANSWERS:
        salts = [as_bytes(salt) for salt in columns[SALT]]
        kept = [None if text is None else kept_commitments(text) for text in columns[COMMITMENTS]]
        for name in ERASABLE:
            texts[name] = [
                commitment(name, value, salt) if hashes is None else hashes.get(name, "null")
                for value, salt, hashes in zip(texts[name], salts, kept, strict=True)
            ]
    return objects(texts)


def kept_commitments(text: str) -> dict[str, str]:
    """The commitments that an erased answer keeps, column → JSON."""
    found = json.loads(text)
    return {name: json.dumps(value) for name, value in found.items()} if isinstance(found, dict) else {}


def as_bytes(printed: str | None) -> bytes:
    """What was printed with bytea_output = hex; nothing for null."""
    return bytes.fromhex((printed or "")[2:])


def _ahead(source: Iterator[T]) -> Iterator[T]:
    """What `source` gives, one step further than it is asked for: a thread takes the step."""
    with ThreadPoolExecutor(1) as reader:
        step = reader.submit(next, source, None)
        while (taken := step.result()) is not None:
            step = reader.submit(next, source, None)
            yield taken
