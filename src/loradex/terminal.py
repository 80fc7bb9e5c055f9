"""What commands print: sentences, tables, bars, JSON and progress, on a terminal or into a file.

Whatever was asked, answered or registered may stand in it, so every text goes through `safe`: no escape sequence,
control character or change of direction reaches the terminal.
"""

import json
import shlex
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from uuid import UUID

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

BAR_WIDTH = 40
GAP = 2
"""Blanks between two columns."""
MIN_WIDTH = 20
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
    _write(sys.stdout, text)


def flow(pieces: Iterable[str]) -> None:
    """Print pieces of a text one after the other, each as soon as it is there, and end the line."""
    try:
        for piece in pieces:
            sys.stdout.write(safe(piece))
            sys.stdout.flush()
    finally:
        sys.stdout.write("\n")


def complain(text: str) -> None:
    """Print a sentence on standard error."""
    _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    """Lines that are too wide for a terminal are broken between words; words stay whole, to be copied.

    They are there at once, also in a pipe or a file: a server says where it listens and then goes on.
    """
    if stream.isatty():
        width = shutil.get_terminal_size().columns
        stream.writelines(wrapped(line, width) + "\n" for line in safe(text).split("\n"))
    else:
        stream.write(safe(text) + "\n")
    stream.flush()


def wrapped(line: str, width: int) -> str:
    """A line broken between words where it is wider; what follows keeps its indentation."""
    if len(line) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip(" "))]
    return textwrap.fill(
        line.strip(),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def program() -> str:
    """`loradex` as it can be typed again: by name where that finds this program, otherwise by its path."""
    called = Path(sys.argv[0])
    found = shutil.which("loradex")
    elsewhere = found is None or Path(found).resolve() != called.resolve()
    return shlex.quote(sys.argv[0]) if called.name == "loradex" and elsewhere else "loradex"


def as_json(value: Any) -> None:
    """Print one JSON document on one line; ids, times and paths as text, decimals as numbers."""
    text = json.dumps(value, ensure_ascii=False, default=_in_json)
    sys.stdout.write("".join(one if _harmless(one) else json.dumps(one)[1:-1] for one in text) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print a table; values are shown as they are, without markup.

    Where not even its longest words fit beside one another, each row is a block of lines instead: no word is cut.
    """
    from rich.cells import cell_len

    told = [["" if value is None else safe(str(value)) for value in row] for row in rows]
    texts = list(zip(columns, *told, strict=True))
    least = [max((cell_len(word) for text in one for word in text.split()), default=0) for one in texts]
    wished = [max((cell_len(line) for text in one for line in text.split("\n")), default=0) for one in texts]
    page = console()
    # rich counts a gap behind the last column too.
    room = page.width - GAP * len(columns)
    if sum(least) <= room:
        _columns(page, columns, told, _fitted(least, wished, room), title)
    else:
        _blocks(page, columns, told, title)


def _fitted(least: Sequence[int], wished: Sequence[int], room: int) -> list[int]:
    """How wide columns are that have this room together: as they wish, but for those with most words to break."""
    widths = [min(one, room) for one in wished]
    for _ in range(sum(widths) - room):
        place = max(range(len(widths)), key=lambda one: widths[one] - least[one])
        widths[place] -= 1
    return widths


def _columns(
    page: "Console",
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    title: str | None,
) -> None:
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        title=None if title is None else safe(title),
        title_justify="left",
        box=None,
        padding=(0, GAP, 0, 0),
        pad_edge=False,
        header_style="bold",
    )
    for column, width in zip(columns, widths, strict=True):
        shown.add_column(column, overflow="fold", width=width)
    for row in rows:
        shown.add_row(*map(Text, row))
    page.print(shown)


def _blocks(
    page: "Console", columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None
) -> None:
    """The first value in a line of its own, the others below it with their names; what is empty is left out."""
    from rich.text import Text

    if title is not None:
        page.print(safe(title), style="italic", markup=False, highlight=False)
    width = max(map(len, columns))
    for row in rows:
        page.print(Text(row[0], style="bold"), overflow="fold")
        for name, value in zip(columns[1:], row[1:], strict=True):
            if not value.strip():
                continue
            room = max(page.width - width - GAP - 1, MIN_WIDTH)
            # Not by textwrap, which counts characters and no cells, and cuts words and names with hyphens.
            lines = [
                part for line in value.splitlines() for part in Text(line).wrap(page, room, overflow="ignore")
            ]
            for place, line in enumerate(lines):
                before = f" {'' if place else name:<{width + GAP}}"
                page.print(Text.assemble(before, line), overflow="fold")


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
    # No emoji: `1:100:5` in an answer is three numbers.
    return SafeConsole(
        file=stream, emoji=False, width=None if stream.isatty() else 10_000, soft_wrap=not stream.isatty()
    )


def _in_json(value: object) -> str | int | float:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID | Path):
        return str(value)
    raise TypeError(f"cannot print a {type(value).__name__} as JSON")
