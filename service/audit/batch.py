"""Some hundred answers of the chain with all their evidence, as Postgres prints them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import LiteralString, TypeVar

from psycopg import sql

from loradex.service.audit.canonical import Row
from loradex.service.audit.evidence import ANSWERS, CHILDREN, Table
from loradex.service.audit.snapshot import Connection, as_printed

ANSWERS_AT_ONCE = 300
HASH = "chain_hash"
OWNER = "answer_id"
"""Column of a child row that names its answer."""

IN_ORDER: LiteralString = "select {columns} from {table} order by position, id"
OF_ANSWERS: LiteralString = "select {columns} from {table} where {owner} = any (%s::uuid[]) order by {order}"

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Answers that follow one another, and their child rows.

    Attributes:
        answers: Rows of `loradex.answers`, by position; `chain_hash` comes last, after `hashed`.
        hashed: The other columns, name → type, in the order of the canonical text.
        children: Place in the canonical text → rows there; those of one answer come together, by rank.
    """

    answers: Sequence[Row]
    hashed: Mapping[str, str]
    children: Mapping[str, Sequence[Row]]


def batches(connection: Connection, tables: Mapping[str, Table]) -> Iterator[Batch]:
    """All answers, by position; the next batch is read while one is worked on."""
    return _ahead(_read(connection, tables))


def _read(connection: Connection, tables: Mapping[str, Table]) -> Iterator[Batch]:
    table = tables[ANSWERS]
    hashed = {name: kind for name, kind in table.columns.items() if name != HASH}
    place = list(hashed).index("id")
    with connection.cursor("answers") as cursor:
        as_printed(cursor, table.types)
        cursor.execute(
            sql.SQL(IN_ORDER).format(
                columns=_names([*hashed, HASH]), table=sql.Identifier("loradex", ANSWERS)
            )
        )
        while answers := cursor.fetchmany(ANSWERS_AT_ONCE):
            ids = [row[place] for row in answers]
            children = {key: _owned(connection, tables[name], ids) for key, name in CHILDREN.items()}
            yield Batch(answers, hashed, children)


def _owned(connection: Connection, table: Table, answers: list[str]) -> Sequence[Row]:
    """The rows of a child table that belong to these answers."""
    order = [column for column in (OWNER, "rank") if column in table.columns]
    select = sql.SQL(OF_ANSWERS).format(
        columns=_names(table.columns),
        table=sql.Identifier("loradex", table.name),
        owner=sql.Identifier(OWNER),
        order=_names(order),
    )
    with connection.cursor() as cursor:
        as_printed(cursor, table.types)
        return cursor.execute(select, (answers,)).fetchall()


def _names(columns: Collection[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _ahead(source: Iterator[T]) -> Iterator[T]:
    """What `source` gives, one step further than it is asked for: a thread takes the step."""
    with ThreadPoolExecutor(1) as reader:
        step = reader.submit(next, source, None)
        while (taken := step.result()) is not None:
            step = reader.submit(next, source, None)
            yield taken
