"""A file of examples, JSON lines or CSV, read and checked whole before anybody uses a row."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from loradex.bounded_file import bounded_lines
from loradex.errors import ExampleFileError
from loradex.library.cards import TaskCard
from loradex.library.example_forms import UNNAMED, FormError, content_id, in_our_form
from loradex.library.examples import MAX_TEXT_CHARACTERS, Example

CSV: Final = ".csv"
SUFFIXES: Final = (".jsonl", CSV)
LISTS: Final = ("choices", "answers")
SEPARATOR: Final = "|"
"""Between the parts of such a cell of a CSV file."""
SHOWN: Final = 20
"""Refused lines that a message names; the others are counted."""
MAX_LINE: Final = 4 << 20
"""Bytes, or in CSV characters: more than all texts of an example in their longest spelling."""
MAX_FILE: Final = 4 << 30
"""Bytes of a file, whose rows are all held at once; a million rows of the longest common tasks have 1 GB."""


class Refusals:
    """The lines of one file that are refused; all of them are told at once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: list[tuple[int, str]] = []
        self._more = 0

    def add(self, line: int, reason: str) -> None:
        if len(self._found) < SHOWN:
            self._found.append((line, reason))
        else:
            self._more += 1

    def raise_any(self) -> None:
        """Go on if no line was refused.

        Raises:
            ExampleFileError: Some were; of many the first are named.
        """
        if not self._found:
            return
        (line, reason), *others = sorted(self._found, key=lambda found: found[0])
        named = "".join(f"; line {number}: {why}" for number, why in others)
        more = f"; and {self._more} more lines" if self._more else ""
        raise ExampleFileError(self._file, line, reason + named + more)


def numbered_examples(
    path: Path, cards: Mapping[str, TaskCard], task: str | None = None
) -> list[tuple[int, Example]]:
    """Line number and row of every example in order; blank lines are skipped.

    A row that names no task is of `task`, else of the card that the file is named after (`TASK.*`), else of
    the only card there is.

    Args:
        path: The file, UTF-8.
        cards: Task cards by name.
        task: If given, a row of another task is refused.

    Raises:
        ExampleFileError: The file cannot be read, or lines are refused; it names file, lines and reasons.
    """
    refusals = Refusals(path)
    usual = task or _named_after(path, cards)
    rows: list[tuple[int, Example]] = []
    seen: dict[tuple[str, str], int] = {}
    for line, row in _rows(path, refusals):
        try:
            example, generated = _example(row, cards, task, usual)
        except FormError as error:
            refusals.add(line, str(error))
            continue
        key = example.task, example.id
        times = seen[key] = seen.get(key, 0) + 1
        if times > 1 and not generated:
            refusals.add(line, f"id {example.id!r} stands there twice")
        elif times > 1:
            example = example.model_copy(update={"id": f"{example.id}-{times}"})
        rows.append((line, example))
    refusals.raise_any()
    return rows


def load_examples(path: Path, cards: Mapping[str, TaskCard], task: str | None = None) -> list[Example]:
    """The rows of a file in order; as `numbered_examples`."""
    return [example for _, example in numbered_examples(path, cards, task)]


def file_of(directory: Path, task: str, kind: str) -> Path:
    """The task's file of that kind, such as train: `TASK.train.jsonl`, or the CSV file where there is no other."""
    named = [directory / f"{task}.{kind}{suffix}" for suffix in SUFFIXES]
    return next((path for path in named if path.is_file()), named[0])


def _example(
    row: Any, cards: Mapping[str, TaskCard], task: str | None, usual: str | None
) -> tuple[Example, bool]:
    """The row, and whether it came without an id."""
    if not isinstance(row, dict):
        raise FormError("not an object with keys")
    name = row.get("task") or usual
    if name is None:
        raise FormError("it names no task: add a key task, or name the file TASK.train.jsonl or .csv")
    if not isinstance(name, str) or name not in cards:
        raise FormError(f"unknown task {str(name)[:100]!r}; add a task card for it first")
    if task is not None and name != task:
        raise FormError(f"its task is {name!r}, not {task!r}")
    try:
        example = Example.model_validate(in_our_form(row, cards[name]))
    except ValidationError as error:
        raise FormError(_reason(error)) from None
    if example.id != UNNAMED:
        return example, False
    return example.model_copy(update={"id": content_id(example)}), True


def _named_after(path: Path, cards: Mapping[str, TaskCard]) -> str | None:
    stem = path.name.split(".")[0]
    if stem in cards:
        return stem
    return next(iter(cards)) if len(cards) == 1 else None


def _rows(path: Path, refusals: Refusals) -> Iterator[tuple[int, Any]]:
    try:
        if path.suffix.lower() == CSV:
            yield from _table(path, refusals)
        else:
            with path.open("rb") as stream:
                yield from _lines(stream, refusals)
    except OSError as error:
        raise ExampleFileError(path, 0, error.strerror or str(error)) from None


def _lines(stream: Any, refusals: Refusals) -> Iterator[tuple[int, Any]]:
    for line, raw in enumerate(bounded_lines(stream, MAX_LINE, MAX_FILE), start=1):
        if not raw.strip():
            continue
        try:
            yield line, json.loads(raw.decode("utf-8-sig" if line == 1 else "utf-8"))
        except UnicodeDecodeError:
            refusals.add(line, "not UTF-8")
        except (ValueError, RecursionError) as error:
            refusals.add(line, f"not JSON: {error}")


def _table(path: Path, refusals: Refusals) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a CSV file by the names in its first line; empty cells are left out, lists are taken apart."""
    csv.field_size_limit(MAX_TEXT_CHARACTERS * 4)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        table = csv.DictReader(bounded_lines(stream, MAX_LINE, MAX_FILE), strict=True)
        for line, cells in _cells(table, refusals):
            if None in cells or None in cells.values():
                refusals.add(line, "it has not as many cells as the first line")
                continue
            row: dict[str, Any] = {name: text for name, text in cells.items() if text}
            yield line, row | {name: row[name].split(SEPARATOR) for name in LISTS if name in row}


def _cells(table: "csv.DictReader[str]", refusals: Refusals) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of every row that is CSV; after one that is not, the next line begins a row."""
    while True:
        try:
            cells = next(table, None)
        except csv.Error as error:
            refusals.add(table.reader.line_num, f"not CSV: {error}")
            if table.line_num == 0:  # the names are missing, and without them no row is one
                return
        except UnicodeDecodeError:
            refusals.add(0, "not UTF-8")
            return
        else:
            if cells is None:
                return
            yield table.line_num, cells


def _reason(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    what = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
