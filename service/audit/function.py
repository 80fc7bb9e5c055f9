"""The functions of the database, against the live files of this release."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from loradex.service.audit.finding import Finding
from loradex.service.audit.snapshot import Connection

GENERATED = frozenset({"search_vectors"})
"""Made in the database from the encoders that are there (build_search); no evidence depends on its text."""

FUNCTION = re.compile(
    r"^create or replace function loradex\.\w+\(.*?^language (?P<language>\w+) (?P<attributes>[^\n]*)\n"
    r"(?P<settings>(?:set [^\n]*\n)*)as \$\$(?P<body>.*?)\$\$;"
    r".*?^comment on function\s+(?P<signature>loradex\.\w+\([^)]*\)) is",
    re.DOTALL | re.MULTILINE,
)
GRANT = re.compile(r"^grant execute on function\s+(loradex\.\w+\([^)]*\))\s+to ([\w,\s]+);", re.MULTILINE)
SETTING = re.compile(r"^set (\S+) = (.*)$", re.MULTILINE)
VOLATILITY = {"i": "immutable", "s": "stable", "v": "volatile"}

FUNCTIONS = """
    select s.signature, p.oid::regprocedure::text, p.proname, p.proowner = n.nspowner, p.prosrc, l.lanname,
           p.provolatile::text, p.prosecdef, p.proisstrict, coalesce(p.proconfig, '{}'),
           array(select coalesce(r.rolname::text, 'public')
                 from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                 left join pg_roles r on r.oid = a.grantee where a.grantee <> p.proowner)
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    join pg_language l on l.oid = p.prolang
    left join (select u.signature, to_regprocedure(u.signature) as oid from unnest(%s::text[]) u(signature)) s
        on s.oid = p.oid
    where n.nspname = 'loradex' order by 2"""


@dataclass(frozen=True)
class Function:
    """What decides how a function behaves, and who may call it."""

    body: str
    language: str
    volatility: str
    definer: bool
    strict: bool
    settings: frozenset[tuple[str, str]]
    callers: frozenset[str]


def functions_in(text: str) -> dict[str, Function]:
    """Signature → function, of those that a live file makes."""
    callers = {
        _line(signature): frozenset(re.split(r",\s*", roles)) for signature, roles in GRANT.findall(text)
    }
    made = {}
    for found in FUNCTION.finditer(text):
        signature, words = _line(found["signature"]), found["attributes"].split()
        (volatility,) = set(words) & set(VOLATILITY.values())
        made[signature] = Function(
            found["body"],
            found["language"],
            volatility,
            "definer" in words,
            "strict" in words,
            frozenset((name.lower(), value.strip("'")) for name, value in SETTING.findall(found["settings"])),
            callers.get(signature, frozenset()),
        )
    return made


def differences(connection: Connection, expected: Mapping[str, Function]) -> Iterator[Finding]:
    """Where the functions of the schema are not those expected (signature → function)."""
    missing = set(expected)
    for signature, name, bare, owned, *facts in connection.execute(FUNCTIONS, (list(expected),)).fetchall():
        missing.discard(signature)
        actual = _of_row(facts)
        if not owned:
            yield Finding.of_database(f"function {name} does not belong to the owner of the schema loradex")
        if signature is None:
            if bare not in GENERATED or actual.definer:
                yield Finding.of_database(f"function {name} does not belong to this release")
            continue
        unlike = [
            field.name
            for field in fields(Function)
            if getattr(actual, field.name) != getattr(expected[signature], field.name)
        ]
        if unlike:
            yield Finding.of_database(
                f"function {name} is not the one of this release: unlike in {', '.join(unlike)}"
            )
    for signature in sorted(missing):
        yield Finding.of_database(f"function {signature} of this release is missing")


def _of_row(facts: Sequence[Any]) -> Function:
    body, language, volatility, definer, strict, config, callers = facts
    settings = frozenset((name.lower(), value) for name, _, value in (one.partition("=") for one in config))
    return Function(body, language, VOLATILITY[volatility], definer, strict, settings, frozenset(callers))


def _line(text: str) -> str:
    return " ".join(text.split())
