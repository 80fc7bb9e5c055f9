"""The examples of the database, as whoever adds or hydrates them sees it; nothing here commits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from loradex.library.cards import TaskCard
from loradex.library.vectors import Vectors

BULK_ROWS = 1000
# From this size on it is worth minutes to look for near duplicates before indexing: docs/scaling.md.
GROUP_FROM = 131_072


@dataclass(frozen=True)
class NewExample:
    """One row to add, its texts None where only vectors are shipped; `vector` is float32 `[dimensions]`."""

    task: str
    source_ref: str
    sha256: str
    prompt: str | None
    target: str | None
    vector: Vectors


@dataclass(frozen=True)
class StoredExample:
    """What is known of an example: its id and hash, whether its text is there, whether it has a vector."""

    id: int
    sha256: str
    has_text: bool
    has_vector: bool


@dataclass(frozen=True)
class Text:
    """The text of an example that is there without."""

    example_id: int
    prompt: str
    target: str


class ExampleStore:
    """Examples and their vectors over one connection; the caller holds the transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        register_vector(connection)

    def lock(self) -> None:
        """Let nobody else add examples until this transaction ends, so that what `stored` said stays true."""
        self._connection.execute("lock table loradex.examples in share row exclusive mode")

    def put_tasks(self, cards: Iterable[TaskCard]) -> None:
        """Make sure these tasks are there and have these cards."""
        for card in cards:
            self._connection.execute(
                "select loradex.register_task(%s, %s, %s, %s)",
                (card.name, card.family, card.metric, Jsonb(card.model_dump(mode="json"))),
            )

    @contextmanager
    def indexed_after(self, encoder: str, rows: int) -> Iterator[None]:
        """Add `rows` vectors within; where that at least doubles them, the index is built once, afterwards.

        For 32,566 vectors of 384 dimensions that took 13 s instead of 150 s. Near duplicates of a large table
        are grouped before, unless a transaction is open. Should the program die in between, answers stay
        right and get slower until somebody registers the encoder again.
        """
        many = rows > BULK_ROWS and rows >= self._vectors(encoder)
        if not many:
            yield
            return
        self._connection.execute("select loradex.drop_encoder_index(%s)", (encoder,))
        try:
            yield
        except BaseException:
            with suppress(psycopg.Error):  # the first error is the one to tell
                self._build(encoder)
            raise
        self._build(encoder)

    def _build(self, encoder: str) -> None:
        # Within a longer transaction the index would hold the rows from before they were grouped, too.
        alone = self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if alone and self._vectors(encoder) >= GROUP_FROM:
            self._connection.execute("select loradex.group_duplicates(%s)", (encoder,))
        self._connection.execute("select loradex.build_encoder_index(%s)", (encoder,))

    def _vectors(self, encoder: str) -> int:
        counted = self._query(
            "select count(*) from loradex.example_embeddings where encoder = %s", (encoder,)
        )
        return int(counted[0][0])

    def stored(self, refs: Sequence[tuple[str, str]], encoder: str) -> dict[tuple[str, str], StoredExample]:
        """Which of these (task, source_ref) are there."""
        rows = self._query(
            """
            select e.task, e.source_ref, e.id, e.sha256, e.prompt is not null, v.example_id is not null
            from unnest(%s::text[], %s::text[]) as wanted (task, source_ref)
            join loradex.examples e using (task, source_ref)
            left join loradex.example_embeddings v on v.example_id = e.id and v.encoder = %s
            """,
            ([task for task, _ in refs], [ref for _, ref in refs], encoder),
        )
        return {(task, ref): StoredExample(*rest) for task, ref, *rest in rows}

    def add(self, examples: Sequence[NewExample], encoder: str) -> None:
        """Copy new examples and their vectors in; none of them may be there yet."""
        with (
            self._connection.cursor() as cursor,
            cursor.copy(
                "copy loradex.examples (task, source_ref, sha256, prompt, target) from stdin (format binary)"
            ) as copy,
        ):
            copy.set_types(["text"] * 5)  # of char(64) the bytes are the same
            for row in examples:
                copy.write_row((row.task, row.source_ref, row.sha256, row.prompt, row.target))
        ids = self.stored([(row.task, row.source_ref) for row in examples], encoder)
        self.add_vectors({ids[row.task, row.source_ref].id: row for row in examples}, encoder)

    def add_vectors(self, examples: Mapping[int, NewExample], encoder: str) -> None:
        """Copy vectors of examples that are there, by id."""
        with (
            self._connection.cursor() as cursor,
            cursor.copy(
                "copy loradex.example_embeddings (example_id, task, encoder, embedding) "
                "from stdin (format binary)"
            ) as copy,
        ):
            copy.set_types(["int8", "text", "text", "vector"])
            for example_id, row in examples.items():
                copy.write_row((example_id, row.task, encoder, row.vector))

    def textless(self, tasks: Sequence[str]) -> dict[tuple[str, str], tuple[int, str]]:
        """Id and hash, by (task, source_ref), of these tasks' examples that have no text."""
        rows = self._query(
            "select task, source_ref, id, sha256 from loradex.examples "
            "where task = any(%s) and prompt is null",
            (list(tasks),),
        )
        return {(task, ref): (example_id, sha256) for task, ref, example_id, sha256 in rows}

    def hydrate(self, texts: Sequence[Text]) -> int:
        """Fill in the texts of examples that have none; how many had none."""
        if not texts:
            return 0
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "update loradex.examples set prompt = %s, target = %s where id = %s and prompt is null",
                [(text.prompt, text.target, text.example_id) for text in texts],
            )
            return cursor.rowcount

    def counts(self, encoder: str) -> list[tuple[str, str, int, int, int]]:
        """Family, task, examples, those with text, those with a vector; every task, in order."""
        return self._query(
            """
            select t.family, t.name, count(e.id), count(e.prompt), count(v.example_id)
            from loradex.tasks t
            left join loradex.examples e on e.task = t.name
            left join loradex.example_embeddings v on v.example_id = e.id and v.encoder = %s
            group by t.family, t.name order by t.family, t.name
            """,
            (encoder,),
        )

    def _query(self, statement: Any, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            return cursor.execute(statement, values).fetchall()


def conflict(
    shas: Mapping[tuple[str, str], str], stored: Mapping[tuple[str, str], StoredExample]
) -> tuple[str, str] | None:
    """The first (task, source_ref) that is there with another hash than the one to be added."""
    return next((key for key, known in stored.items() if known.sha256 != shas[key]), None)
