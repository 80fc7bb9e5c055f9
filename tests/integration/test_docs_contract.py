"""`docs/sql-contract.md` says what the database says: settings, signatures, roles, errors, the recipe's text."""

import hashlib
import re
from typing import Any, NamedTuple

import pytest
from tests.documented import audience
from tests.fix_db import ROLES
from tests.repository import ROOT
from tests.world import World

from loradex.errors import BY_SQLSTATE

PAGE = ROOT / "docs" / "sql-contract.md"
TEXT = PAGE.read_text(encoding="utf-8")
SIGNATURES = re.compile(r"^### (?P<name>\w+)\n\n```text\n(?P<block>.*?)^```", re.MULTILINE | re.DOTALL)
ERROR = re.compile(r"^\| (?P<sqlstate>LX\d{3}) \| `(?P<code>\w+)` \|", re.MULTILINE)
RECIPE = re.compile(r"^```text\n(?P<lines>merge .*?)^```", re.MULTILINE | re.DOTALL)
LONGEST_NAME = 1000
"""Characters of a text without a maximum of its own (check_settings)."""
TYPES = {
    "text": "text",
    "texts": "list of texts",
    "strings": "list of texts",
    "pairs": "object of texts",
    "numbers": "object of numbers",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "messages": "list of messages",
}
SETTINGS = "select * from loradex.settings where kind = %s order by name"


class Signature(NamedTuple):
    """Names of a function's arguments, and of what it returns."""

    arguments: tuple[str, ...]
    returned: tuple[str, ...]


@pytest.mark.parametrize(("table", "kind"), [("fields", "job"), ("limits", "limit"), ("routing", "routing")])
def test_it_lists_the_settings_as_they_are(scratch: World, table: str, kind: str) -> None:
    """If this fails, paste what it expected between the two comments on the page."""
    cursor = scratch.connection.execute(SETTINGS, (kind,))
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    lines = [field_line(one) if kind == "job" else limit_line(one) for one in found]
    shown = re.search(rf"<!-- {table} -->\n(.*?)<!-- /{table} -->", TEXT, re.DOTALL)
    assert shown is not None
    expected = "\n".join(lines)
    assert "\n".join(shown[1].splitlines()[2:]) == expected, f"the page should have\n{expected}"


def field_line(setting: dict[str, Any]) -> str:
    kind = TYPES[setting["type"]]
    within = "" if setting["type"] == "boolean" else span(setting)
    return f"| `{setting['name']}` | {kind} | {value(setting)} | {within} | {setting['description']} |"


def limit_line(setting: dict[str, Any]) -> str:
    return f"| `{setting['name']}` | {value(setting)} | {span(setting)} | {setting['description']} |"


def value(setting: dict[str, Any]) -> str:
    found = setting["value"]
    if found is None:
        return ""
    if isinstance(found, bool):
        return f"`{str(found).lower()}`"
    return f"{found:,}" if isinstance(found, int) else f"`{found}`" if isinstance(found, str) else str(found)


def span(setting: dict[str, Any]) -> str:
    """The values it may have, in words."""
    low, above, high = setting["minimum"], setting["above"], setting["maximum"]
    if setting["options"]:
        return ", ".join(f"`{one}`" for one in setting["options"])
    names = f"of `loradex.{setting['names']}`" if setting["names"] else ""
    if setting["type"] == "text":
        return names or f"{low or 0} to {high or LONGEST_NAME:,} characters"
    if setting["type"] in {"texts", "strings", "messages"}:
        together = f"{low} to {high:,}, together at most {setting['longest']:,} characters"
        return f"{together}; {names}" if names else together
    if setting["type"] in {"pairs", "numbers"}:
        ends = f"from {-setting['longest']} to {setting['longest']}"
        texts = f"pairs, each text at most {setting['longest']:,} characters"
        return f"{low} to {high} {texts if setting['type'] == 'pairs' else f'numbers {ends}'}"
    if above is not None:
        return f"above {above}" + (f", at most {high:,}" if high is not None else "")
    return f"{low:,} to {high:,}"


def test_signatures_are_those_of_the_functions(scratch: World) -> None:
    found: dict[str, set[Signature]] = {}
    for name, names, modes, result in scratch.rows(
        "select proname, coalesce(proargnames, '{}'), proargmodes::text[], pg_get_function_result(oid) "
        "from pg_proc where pronamespace = 'loradex'::regnamespace"
    ):
        kinds = modes or ["i"] * len(names)
        given = tuple(one for one, kind in zip(names, kinds, strict=True) if kind == "i")
        columns = tuple(one for one, kind in zip(names, kinds, strict=True) if kind == "t")
        found.setdefault(name, set()).add(Signature(given, columns or (result,)))
    assert signatures() == {name: found[name] for name in signatures()}


def signatures() -> dict[str, set[Signature]]:
    """What the page says of each function: names of arguments; names of columns, or the type of one value."""
    found = {}
    for section in SIGNATURES.finditer(TEXT):
        block = " ".join(section["block"].split())
        calls = re.findall(rf"{section['name']}\((.*?)\) → \((.*?)\)(?= |$)", block)
        assert calls, section["name"]
        found[section["name"]] = {Signature(names(given), returned(result)) for given, result in calls}
    return found


def names(text: str) -> tuple[str, ...]:
    return tuple(part.split()[0] for part in text.split(", ") if part)


def returned(text: str) -> tuple[str, ...]:
    row = re.fullmatch(r"(?:row of|(rows) of) loradex\.(\w+)", text)
    if row is not None:
        # As Postgres names it in a session that has the schema in its path or not.
        return (f"{'SETOF ' if row[1] else ''}loradex.{row[2]}",)
    return names(text) if re.search(r"\w \w", text) else (text,)


def test_it_names_the_roles_that_may_call(scratch: World) -> None:
    allowed = scratch.rows(
        "select p.proname, r.role from pg_proc p cross join unnest(%s::text[]) r(role) "
        "where p.pronamespace = 'loradex'::regnamespace and has_function_privilege(r.role, p.oid, 'execute')",
        list(ROLES),
    )
    said = {(name, role) for name, roles in audience(PAGE).items() for role in roles}
    assert said == {(name, role) for name, role in allowed if name in audience(PAGE)}
    readers = {name for name, role in allowed if role == "loradex_reader"}
    # What a reader may call too is on the analysts' page.
    assert audience(PAGE).keys() == {name for name, _ in allowed} - readers


def test_the_errors_are_ours() -> None:
    shown = {found["sqlstate"]: found["code"] for found in ERROR.finditer(TEXT)}
    assert shown == {sqlstate: kind.code for sqlstate, kind in BY_SQLSTATE.items()}


def test_the_text_of_a_recipe_has_the_hash_of_the_concepts_page() -> None:
    shown = RECIPE.search(TEXT)
    assert shown is not None
    hashed = hashlib.sha256(shown["lines"].encode()).hexdigest()
    assert f"`{hashed[:12]}…`" in (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
