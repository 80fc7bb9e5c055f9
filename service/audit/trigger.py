"""The triggers that keep evidence from being changed, against the live files of this release."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from loradex.service.audit.finding import Finding
from loradex.service.audit.snapshot import Connection

TRIGGER = re.compile(
    r"^\s*create (?:or replace )?trigger (?P<name>\w+)\s+before (?P<events>[^;]*?)\s+on (?P<table>loradex\.\w+)\s+"
    r"for each (?P<each>row|statement) execute function (?P<function>loradex\.\w+\(\))",
    re.IGNORECASE | re.MULTILINE,
)
"""As we write it, and as Postgres does; one with a condition is not of this shape."""

TRIGGERS = """
    select c.oid::regclass::text, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled in ('O', 'A')
    from pg_trigger t
    join pg_class c on c.oid = t.tgrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'loradex' and not t.tgisinternal
    order by 1, 2"""


# Partitions have the triggers of their table.
PARTITIONS = """
    select i.inhparent::regclass::text, i.inhrelid::regclass::text
    from pg_inherits i
    join pg_class c on c.oid = i.inhparent and c.relkind = 'p'
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'loradex'"""


@dataclass(frozen=True, order=True)
class Trigger:
    """On what a trigger calls a function, before each statement or row."""

    table: str
    name: str
    events: frozenset[str]
    each: str
    function: str

    def __str__(self) -> str:
        return f"trigger {self.name} on {self.table}"


def triggers_in(text: str) -> list[Trigger]:
    """The triggers that a text makes."""
    return [
        Trigger(
            found["table"],
            found["name"],
            frozenset(
                re.sub(r'[\s"]', "", event)
                for event in re.split(r"\s+or\s+", found["events"], flags=re.IGNORECASE)
            ),
            found["each"],
            found["function"],
        )
        for found in TRIGGER.finditer(text.lower())
    ]


def differences(connection: Connection, expected: frozenset[Trigger]) -> Iterator[Finding]:
    """Where the triggers of the schema's tables are not those expected, or are switched off."""
    for whole, part in connection.execute(PARTITIONS).fetchall():
        expected |= {replace(one, table=part) for one in expected if one.table == whole}
    missing = set(expected)
    names = {(one.table, one.name) for one in expected}
    for table, name, definition, enabled in connection.execute(TRIGGERS).fetchall():
        same = expected.intersection(triggers_in(definition))
        missing -= same
        if not enabled:
            yield Finding.of_database(f"trigger {name} on {table} is switched off")
        if not same and (table, name) not in names:
            yield Finding.of_database(f"trigger {name} on {table} does not belong to this release")
    for one in sorted(missing, key=str):
        yield Finding.of_database(f"{one} is missing, or not the one of this release")
