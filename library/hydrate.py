"""Texts for examples that came as vectors only: filled in where prompt and answer have the stored hash."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from loradex.errors import ExampleFileError
from loradex.library.cards import TaskCard
from loradex.library.example_file import SUFFIXES
from loradex.library.example_store import ExampleStore, Text
from loradex.library.rendered import RenderedExample, render_file


@dataclass(frozen=True)
class HydrateReport:
    """What one source gave: texts filled in, and rows that no example was waiting for."""

    source: str
    filled: int
    not_needed: int


def example_files(directory: Path) -> list[Path]:
    """The example files of a directory (`*.jsonl`, `*.csv`), those named `*.test.*` left out.

    Raises:
        ExampleFileError: There is none.
    """
    found = sorted(
        path
        for path in directory.glob("*")
        if path.suffix.lower() in SUFFIXES and not path.stem.endswith(".test")
    )
    if not found:
        raise ExampleFileError(directory, 0, "no examples file (*.jsonl, *.csv) there")
    return found


def hydrate_from_file(
    connection: psycopg.Connection[Any], path: Path, cards: Mapping[str, TaskCard]
) -> HydrateReport:
    """Fill in texts by `source_ref`, in one transaction.

    Raises:
        ExampleFileError: A line is refused, or is not its example's text; nothing is filled in.
    """
    rows = render_file(path, cards)
    store = ExampleStore(connection)
    with connection.transaction():
        waiting = store.textless(sorted({row.task for row in rows}))
        texts = [
            Text(_same_text(path, row, known), row.prompt, row.target)
            for row in rows
            if (known := waiting.get((row.task, row.source_ref))) is not None
        ]
        store.hydrate(texts)
    return HydrateReport(path.name, len(texts), len(rows) - len(texts))


def _same_text(path: Path, row: RenderedExample, known: tuple[int, str]) -> int:
    example_id, sha256 = known
    if row.sha256 != sha256:
        raise ExampleFileError(
            path,
            row.line,
            f"this is not the text that example {row.source_ref!r} of task {row.task!r} was made from; "
            "take the file that the library was built from",
        )
    return example_id
