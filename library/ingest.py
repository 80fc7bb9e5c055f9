"""Examples from a file into the database: all of them or none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from loradex.errors import ExampleFileError
from loradex.library.cards import TaskCard
from loradex.library.example_store import ExampleStore, NewExample, StoredExample, Text, conflict
from loradex.library.model_store import ModelStore
from loradex.library.rendered import RenderedExample, render_file
from loradex.library.vectors import TextEncoder, VectorCache, embed

Advance = Callable[[int], None]
Stored = Mapping[tuple[str, str], StoredExample]


@dataclass(frozen=True)
class EncoderFacts:
    """The encoder whose vectors are added."""

    name: str
    revision: str
    dimensions: int


@dataclass(frozen=True)
class FileReport:
    """What adding one file did: examples added, found there, and given the text or vector they lacked."""

    file: Path
    rows: int
    added: int
    present: int
    completed: int


class Ingest:
    """Adds files of examples over one connection, one transaction a file.

    Args:
        connection: In autocommit mode.
        cards: Task cards by name.
        facts: Which encoder.
        encoder: Loads it; called only when a text has no vector in the cache.
        cache: Vectors made before.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        cards: Mapping[str, TaskCard],
        facts: EncoderFacts,
        encoder: Callable[[], TextEncoder],
        cache: VectorCache,
    ) -> None:
        self._connection = connection
        self._store = ExampleStore(connection)
        self._cards = cards
        self._facts = facts
        self._encoder = encoder
        self._cache = cache

    def add_all(
        self, files: Mapping[Path, Sequence[RenderedExample]], advance: Advance
    ) -> Iterator[FileReport]:
        """Add checked files one after another; `advance` is told how many rows are done.

        Raises:
            ExampleFileError: A row is in the database with another text.
        """
        lacking = 0
        for path, rows in files.items():
            stored = self._compare(path, rows)
            lacking += sum(_lacks_vector(stored, row) for row in rows)
        facts = self._facts
        ModelStore(self._connection).put_encoder(facts.name, facts.revision, facts.dimensions)
        with self._store.indexed_after(facts.name, lacking):
            for path, rows in files.items():
                yield self._add(path, rows, advance)

    def _add(self, path: Path, rows: Sequence[RenderedExample], advance: Advance) -> FileReport:
        before = self._compare(path, rows)
        needed = [row for row in rows if _lacks_vector(before, row)]
        advance(len(rows) - len(needed))
        vectors = embed([row.prompt for row in needed], self._encoder, self._cache, advance)
        with self._connection.transaction():
            self._store.put_tasks(self._cards[task] for task in sorted({row.task for row in rows}))
            self._store.lock()
            now = self._compare(path, rows)
            lacking = [row for row in rows if _lacks_vector(now, row)]
            made = {_key(row): _with_vector(row, vectors[row.prompt]) for row in lacking}
            new = [made[_key(row)] for row in lacking if _key(row) not in now]
            textless = [
                row for row in rows if (known := now.get(_key(row))) is not None and not known.has_text
            ]
            self._store.add(new, self._facts.name)
            self._store.add_vectors(
                {now[_key(row)].id: made[_key(row)] for row in lacking if _key(row) in now}, self._facts.name
            )
            self._store.hydrate([Text(now[_key(row)].id, row.prompt, row.target) for row in textless])
        completed = len({_key(row) for row in (*lacking, *textless)} & now.keys())
        return FileReport(path, len(rows), len(new), len(now) - completed, completed)

    def _compare(self, path: Path, rows: Sequence[RenderedExample]) -> Stored:
        by_key = {_key(row): row for row in rows}
        stored = self._store.stored(list(by_key), self._facts.name)
        clash = conflict({key: row.sha256 for key, row in by_key.items()}, stored)
        if clash is not None:
            raise ExampleFileError(
                path,
                by_key[clash].line,
                f"example {clash[1]!r} of task {clash[0]!r} is there already with another text, or its task "
                "card changed since; give this one an id of its own, or remove the old one first",
            )
        return stored


def check_files(
    paths: Sequence[Path], cards: Mapping[str, TaskCard], task: str | None
) -> dict[Path, list[RenderedExample]]:
    """Read and check every file before any is added; `ExampleFileError` names file and line."""
    return {path: render_file(path, cards, task) for path in paths}


def _key(row: RenderedExample) -> tuple[str, str]:
    return row.task, row.source_ref


def _lacks_vector(stored: Stored, row: RenderedExample) -> bool:
    known = stored.get(_key(row))
    return known is None or not known.has_vector


def _with_vector(row: RenderedExample, vector: Any) -> NewExample:
    return NewExample(row.task, row.source_ref, row.sha256, row.prompt, row.target, vector)
