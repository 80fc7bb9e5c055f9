"""The tables that the chain covers: their columns, and whether they are what they seem."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from loradex.errors import PermissionRefusedError, SchemaOutdatedError
from loradex.service.audit.canonical import ENCODERS, in_order
from loradex.service.audit.finding import Finding
from loradex.service.audit.snapshot import Connection

ANSWERS = "answers"
ERASURES = "erasures"
ARCHIVES = "archives"
ERASABLE = (
    "prompt",
    "messages",
    "choices",
    "stop",
    "held_to",
    "text",
    "choice",
    "token_ids",
    "logprobs",
    "query",
)
"""Columns of an answer that stand in its canonical text by a commitment."""

LINK = {"id": "uuid", "position": "bigint", "previous_hash": "bytea", "chain_hash": "bytea"}
LINKS: Mapping[str, Mapping[str, str]] = {
    ANSWERS: LINK
    | {"salt": "bytea", "commitments": "jsonb", "prompt": "text", "choices": "text[]", "text": "text"}
    | {"stop": "text[]", "choice": "text", "token_ids": "integer[]", "logprobs": "jsonb", "held_to": "jsonb"}
    | {"query": "public.vector", "messages": "jsonb"},
    ERASURES: LINK | {"answers": "uuid[]"},
    ARCHIVES: LINK
    | {"first_position": "bigint", "last_position": "bigint", "last_hash": "bytea"}
    | {"files": "jsonb"},
}
"""Table of the chain → columns that make the chain, and those that can be erased, with their types.

All other columns may differ by version.
"""

COLUMNS: LiteralString = """
    select a.attname,
           -- By its schema, wherever the session looks for names.
           case when t.typnamespace = 'pg_catalog'::regnamespace then format_type(a.atttypid, null)
                else format('%%s.%%s', t.typnamespace::regnamespace, t.typname) end,
           a.atttypid::bigint, a.attgenerated <> ''
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    join pg_class c on c.oid = a.attrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'loradex' and c.relname = %s and a.attnum > 0 and not a.attisdropped"""

# The table itself, and what is read with it: its partitions, and tables that inherit from it.
RELATIONS = """
    with recursive tree as (
        select c.oid, c.relkind as root, true as top
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'loradex' and c.relname = %s
        union all
        select i.inhrelid, t.root, false from tree t join pg_inherits i on i.inhparent = t.oid
    )
    select c.oid::regclass::text,
           c.relkind in ('r', 'p') and c.relpersistence = 'p' and (c.relkind = 'p' or h.amname = 'heap')
               and (t.top or t.root = 'p') as ordinary,
           c.relowner = n.nspowner as owned,
           exists (select from pg_rewrite w where w.ev_class = c.oid) as ruled
    from tree t
    join pg_class c on c.oid = t.oid
    join pg_namespace n on n.nspname = 'loradex'
    left join pg_am h on h.oid = c.relam"""

# Tables of which this login may not see every row.
HIDDEN = """
    select c.oid::regclass::text
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'loradex' and c.relname = any (%s) and row_security_active(c.oid)
      and (exists (select from pg_policy p where p.polrelid = c.oid and not p.polpermissive)
           or not exists (
               select from pg_policy p
               where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('r', '*')
                 and pg_get_expr(p.polqual, p.polrelid) = 'true'
                 and exists (select from unnest(p.polroles) r
                             where r = 0 or pg_has_role(current_user, r, 'usage'))))
    order by 1"""


@dataclass(frozen=True)
class Table:
    """One table of evidence.

    Attributes:
        name: Such as `answers`.
        columns: Name → type, as `format_type` names it, in the order of the canonical text.
        types: Their ids.
        computed: Columns that are not stored.
    """

    name: str
    columns: Mapping[str, str]
    types: frozenset[int]
    computed: tuple[str, ...]


def table(connection: Connection, name: str) -> Table:
    """The table of that name, as the catalogue describes it.

    Raises:
        SchemaOutdatedError: It is missing, or has not the columns and types that this version knows.
    """
    return described(name, connection.execute(COLUMNS, (name,)).fetchall())


def described(name: str, rows: Sequence[tuple[Any, ...]]) -> Table:
    """The table of that name, as the rows of `COLUMNS` describe it.

    Raises:
        SchemaOutdatedError: It is missing, or has not the columns and types that this version knows.
    """
    found = {row[0]: row[1:] for row in rows}
    if not found:
        raise SchemaOutdatedError(f"there is no table loradex.{name}: run `loradex db upgrade`")
    needed = LINKS.get(name, {})
    kinds = {column: kind for column, (kind, *_) in found.items()}
    for column, kind in (dict.fromkeys(needed, "missing") | kinds).items():
        if kind != needed.get(column, kind) or kind not in ENCODERS:
            raise SchemaOutdatedError(
                f"loradex.{name}.{column}, which is {kind}, cannot be verified by this version of Loradex: "
                "install the version that the database was made by"
            )
    return Table(
        name,
        {column: kinds[column] for column in in_order(kinds)},
        frozenset(oid for _, oid, _ in found.values()),
        tuple(column for column, (_, _, computed) in found.items() if computed),
    )


def require_all_rows(connection: Connection) -> None:
    """Refuse a login from which row-level security hides evidence.

    Raises:
        PermissionRefusedError: It does not see every row of every table.
    """
    hidden = connection.execute(HIDDEN, (list(LINKS),)).fetchall()
    if hidden:
        raise PermissionRefusedError(
            f"row-level security hides rows of {', '.join(name for (name,) in hidden)} from this login: connect as "
            "a login of loradex_reader (see SECURITY.md); if this is one, look at the policies of these tables"
        )


def doubts(connection: Connection, one: Table) -> Iterator[Finding]:
    """Why a table is not what it seems: a view, somebody else's, rewritten by rules, or computed."""
    for relation, ordinary, owned, ruled in connection.execute(RELATIONS, (one.name,)).fetchall():
        if not ordinary:
            yield Finding.of_database(f"{relation} is not an ordinary table")
        if not owned:
            yield Finding.of_database(f"{relation} does not belong to the owner of the schema loradex")
        if ruled:
            yield Finding.of_database(f"{relation} has rules")
    for column in one.computed:
        yield Finding.of_database(f"loradex.{one.name}.{column} is computed, not stored")
