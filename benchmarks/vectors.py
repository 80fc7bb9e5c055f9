"""What the route benchmark searches: real vectors, jittered copies, and queries that are not among them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loradex.library.cards import load_cards
from loradex.library.installed import starter_library
from loradex.library.load import open_library
from loradex.library.rendered import render_file
from loradex.library.vectors import VectorCache, Vectors, embed
from loradex.worker.encoders import encoder_at, encoder_facts
from loradex.worker.settings import WorkerSettings

Places = npt.NDArray[np.int64]
LIBRARY = starter_library()
# Length of the Gaussian noise that makes a copy of a real vector: the copy is at cosine 0.995 to it. Chosen
# so that a grown table is like a real one to held-out prompts. Measured on seven times the 32,566 real
# vectors: the local intrinsic dimension (Levina and Bickel 2004, 100 neighbours) stays at 26, and real
# vectors are 0.16 of the 32 nearest where they are 0.14 of the rows. At 0.3 and 0.5 copies lie apart from
# every prompt: 0.28 and 0.54.
NOISE = 0.1
CHUNK = 20_000
QUERIES_A_TASK = 50


@dataclass(frozen=True)
class Real:
    """Unit vectors of prompts, float32 `[rows, dimensions]`, their tasks, and held-out queries likewise.

    `copies` are held-out queries too: to the copies in a grown table as `queries` to real rows.
    """

    vectors: Vectors
    tasks: list[str]
    queries: Vectors
    copies: Vectors
    described: str
    asked: str


def real(data: Path | None) -> Real:
    """All train prompts of `data` and test prompts as queries; without `data`, the starter library's vectors.

    Embeddings are made by the project's encoder and cached below LORADEX_HOME. Without `data` the queries are
    jittered copies of the library's vectors, which no table holds.
    """
    if data is None:
        rows = open_library(LIBRARY, load_cards()).examples
        vectors = unit(rows.vectors)
        queries = held_out(vectors)
        return Real(
            vectors,
            rows.tasks,
            queries,
            queries,
            f"{len(vectors):,} vectors of the starter library",
            "held-out copies",
        )
    cards, tasks, texts, asked = load_cards(), [], [], []
    for path in sorted(data.glob("*.train.jsonl")):
        rendered = render_file(path, cards)
        tasks += [row.task for row in rendered]
        texts += [row.prompt for row in rendered]
    numbers = random.Random(0)  # noqa: S311 - the same questions every time
    for path in sorted(data.glob("*.test.jsonl")):
        rendered = render_file(path, cards)
        asked += [row.prompt for row in numbers.sample(rendered, min(QUERIES_A_TASK, len(rendered)))]
    known = _embedded([*texts, *asked])
    numbers.shuffle(asked)
    vectors = unit(np.stack([known[text] for text in texts]))
    queries = unit(np.stack([known[text] for text in asked]))
    return Real(
        vectors, tasks, queries, held_out(vectors), f"{len(vectors):,} embedded train prompts", "test prompts"
    )


def unit(vectors: Vectors) -> Vectors:
    normalised: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return normalised


def held_out(vectors: Vectors) -> Vectors:
    """A thousand jittered copies that no table holds."""
    chosen = np.random.default_rng(1).choice(len(vectors), 1000, replace=False)
    return jittered(vectors[chosen], np.random.default_rng(2))


def jittered(vectors: Vectors, numbers: np.random.Generator) -> Vectors:
    """Copies with Gaussian noise of length NOISE added, normalised again."""
    noise = unit(numbers.standard_normal(vectors.shape, dtype=np.float32))
    return unit(vectors + np.float32(NOISE) * noise)


def grown(source: Real, rows: int) -> Iterator[tuple[list[str], Vectors]]:
    """Tasks and vectors of `rows` rows, in chunks: the real ones, then copies, each source in turn."""
    for start in range(0, rows, CHUNK):
        places = np.arange(start, min(start + CHUNK, rows))
        sources = places % len(source.vectors)
        vectors = source.vectors[sources]
        copies = places >= len(source.vectors)
        if copies.any():
            vectors = np.where(copies[:, None], jittered(vectors, np.random.default_rng([3, start])), vectors)
        yield [source.tasks[place] for place in sources], vectors


def whole(source: Real, rows: int) -> Vectors:
    """All vectors of `grown`, float32 `[rows, dimensions]`."""
    matrix = np.empty((rows, source.vectors.shape[1]), np.float32)
    filled = 0
    for _, vectors in grown(source, rows):
        matrix[filled : filled + len(vectors)] = vectors
        filled += len(vectors)
    return matrix


def _embedded(texts: list[str]) -> dict[str, Vectors]:
    settings = WorkerSettings()
    directory, facts = encoder_facts(settings)
    with VectorCache.of(settings.home, facts.name, facts.revision) as cache:
        return embed(texts, encoder_at(directory), cache, lambda _: None)
