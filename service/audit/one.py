"""One link of the chain, verified by itself: for whoever looks at a single answer."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from psycopg import sql

from loradex.service.audit.batch import Batch, as_bytes, canonical
from loradex.service.audit.evidence import ANSWERS, LINKS, Table, described
from loradex.service.audit.finding import Finding
from loradex.service.audit.link import links

PRINTED: LiteralString = "case when {column} is not null then format('%s', {column}) end as {column}"
"""A column as Postgres prints it, by its output function: a cast to text would write `true` for `t`."""

BEFORE: LiteralString = "select chain_hash from {table} where position = {position}"


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The table of answers, from the rows of `evidence.COLUMNS`.

    Raises:
        SchemaOutdatedError: It has not the columns and types that this version knows.
    """
    return described(ANSWERS, [tuple(row.values()) for row in rows])


def reading(table: Table, answer: str) -> sql.Composed:
    """The statement that reads the raw row of an answer, in a session of Loradex, which settles how values print."""
    columns = sql.SQL(", ").join(sql.SQL(PRINTED).format(column=sql.Identifier(one)) for one in table.columns)
    return sql.SQL("select {columns} from loradex.answers where id = {id}").format(
        columns=columns, id=sql.Literal(answer)
    )


def reading_before(position: int, *, everything: bool) -> sql.Composed:
    """The statement that reads the hash of the link before a position; no row: it is not there, or not to be seen.

    Notes of erasures and archives are links too; a login that does not see everything may not read them.
    """
    return sql.SQL(" union all ").join(
        sql.SQL(BEFORE).format(table=sql.Identifier("loradex", name), position=sql.Literal(position - 1))
        for name in (LINKS if everything else (ANSWERS,))
    )


def findings(table: Table, row: Mapping[str, str | None], before: bytes | None) -> list[Finding]:
    """What is wrong with a link.

    Args:
        table: What `columns_of` gave.
        row: What `reading` gave.
        before: The hash of the link before it; None where it could not be read, and is not compared.
    """
    columns = {name: [row[name]] for name in table.columns}
    batch = Batch(columns, canonical(table.name, table.columns, columns))
    (link,) = links(ANSWERS, batch)
    told = as_bytes(row["previous_hash"]) if before is None else before
    return list(link.broken(link.position or 0, told))
