"""What commands print: sentences, tables, bars, JSON and progress, on a terminal or into a file.

Whatever was asked, answered or registered may stand in it, so every text goes through `safe`: no escape sequence,
control character or change of direction reaches the terminal.
"""

import json
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

BAR_WIDTH = 40
BLOCKS = " ▏▎▍▌▋▊▉█"


JOINERS = "\u200c\u200d"
"""Invisible, and needed to write Persian, Indic scripts and emoji."""


def safe(text: str) -> str:
    """The text with whatever could drive a terminal written as its escape, as in a Python string.

    That is every character that Unicode calls not printable (controls, formats, private use, changes of
    direction), but line ends, tabs, spaces of any width and the two joiners.
    """
    if text.isprintable():
        return text
    return "".join(one if _harmless(one) else one.encode("unicode_escape").decode("ascii") for one in text)


def _harmless(one: str) -> bool:
    return one.isprintable() or one in "\n\t" or one in JOINERS or unicodedata.category(one) == "Zs"


def say(text: str) -> None:
    """Print a sentence."""
    sys.stdout.write(safe(text) + "\n")


def complain(text: str) -> None:
    """Print a sentence on standard error."""
    sys.stderr.write(safe(text) + "\n")


def program() -> str:
    """`loradex` as it can be typed again: by name where that finds this program, otherwise by its path."""
    called = Path(sys.argv[0])
    found = shutil.which("loradex")
    elsewhere = found is None or Path(found).resolve() != called.resolve()
    return sys.argv[0] if called.name == "loradex" and elsewhere else "loradex"


def as_json(value: Any) -> None:
    """Print one JSON document on one line; ids, times and paths as text."""
    text = json.dumps(value, ensure_ascii=False, default=_as_text)
    sys.stdout.write("".join(one if _harmless(one) else json.dumps(one)[1:-1] for one in text) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print a table; values are shown as they are, without markup."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        title=None if title is None else safe(title),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text("" if value is None else safe(str(value))) for value in row))
    console().print(shown)


def bars(shares: Mapping[str, float], title: str | None = None) -> None:
    """Print a bar a name; shares are between 0 and 1."""
    if title is not None:
        console().print(title, style="bold", markup=False)
    width = max((len(name) for name in shares), default=0)
    for name, share in shares.items():
        console().print(f"  {name:<{width}}  {bar(share)} {share:6.1%}", markup=False, highlight=False)


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """A bar of `share` of `width` cells, to the eighth of a cell, padded to `width`."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + (BLOCKS[part] if part else "")).ljust(width)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` are done, on standard error; yields the function to call with further ones."""
    with _progress(counted=True) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda done: progress.advance(bar, done)
        progress.update(bar, completed=total)


@contextmanager
def measuring(what: str, total: float) -> Iterator[Callable[[str, float], None]]:
    """As `counting`, for hours of unlike pieces: the function also takes the name of what is being done."""
    with _progress(counted=False) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda name, done: progress.update(bar, description=name, advance=done)


def _progress(*, counted: bool) -> "Progress":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        *((MofNCompleteColumn(),) if counted else ()),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console(stderr=True), speed_estimate_period=60 if counted else 600)


@contextmanager
def waiting(message: str) -> Iterator[Callable[[str], None]]:
    """Show that something goes on, where somebody looks; yields a function that says what, in other words."""
    with console(stderr=True).status(message) as status:
        yield status.update


def console(*, stderr: bool = False) -> "Console":
    """The terminal, or a file in which nothing is wrapped or coloured."""
    from rich.console import Console

    class SafeConsole(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            super().print(*(safe(one) if isinstance(one, str) else one for one in objects), **options)

    stream = sys.stderr if stderr else sys.stdout
    return SafeConsole(file=stream, width=None if stream.isatty() else 10_000, soft_wrap=not stream.isatty())


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID | Path):
        return str(value)
    raise TypeError(f"cannot print a {type(value).__name__} as JSON")
