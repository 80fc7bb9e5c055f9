"""The SQL that a page of the documentation shows, with what it says was printed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"^```sql\n(?P<sql>.*?)^```\n\n?(?:^```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
SECTION = re.compile(r"^### (?P<name>\w+)\n\n.*?\*Who:\* (?P<who>[a-z, ]+)\.$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """A block of SQL and its output as psql prints it: the names of the columns, and whether rows follow."""

    line: int
    sql: str
    columns: Sequence[str]
    has_rows: bool


def shown(page: Path) -> list[Shown]:
    """Every block of SQL on a page, in order; an output that is not there has no columns."""
    text = page.read_text(encoding="utf-8")
    return [
        Shown(text.count("\n", 0, found.start()) + 1, found["sql"], *_table(found["output"] or ""))
        for found in BLOCK.finditer(text)
    ]


def audience(page: Path) -> dict[str, set[str]]:
    """Which roles a page says may ask each view or function that has a section of its own."""
    text = page.read_text(encoding="utf-8")
    return {
        found["name"]: {f"loradex_{role}" for role in found["who"].split(", ")}
        for found in SECTION.finditer(text)
    }


def _table(output: str) -> tuple[list[str], bool]:
    lines = output.splitlines()
    if not lines:
        return [], False
    return [name.strip() for name in lines[0].split("|")], len(lines) > 2
