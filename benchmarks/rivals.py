"""What else could look for neighbours: NumPy over all vectors, and Chroma's own HNSW index."""

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loradex.benchmarks.vectors import CHUNK, Places
from loradex.library.vectors import Vectors

INSTALL = "pip install -e '.[rivals]' -c constraints.txt"
BLOCK = 100_000


class Exact:
    """Every similarity by a matrix product, float32; also the truth that recall is measured against."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def search(self, query: Vectors, k: int) -> Places:
        """Places of the `k` nearest rows, nearest first."""
        similarities = self._vectors @ query
        nearest = np.argpartition(-similarities, k)[:k]
        return nearest[np.argsort(-similarities[nearest])]

    def search_all(self, queries: Vectors, k: int, allowed: npt.NDArray[np.bool_] | None = None) -> Vectors:
        """Similarities of each query's `k` nearest allowed rows, float32 `[queries, k]`, falling."""
        best = np.full((len(queries), k), -np.inf, np.float32)
        for start in range(0, len(self._vectors), BLOCK):
            found = queries @ self._vectors[start : start + BLOCK].T
            if allowed is not None:
                found[:, ~allowed[start : start + BLOCK]] = -np.inf
            both = np.concatenate([best, found], axis=1)
            best = -np.partition(-both, k - 1, axis=1)[:, :k]
        return -np.sort(-best, axis=1)


class Chroma:
    """An embedded, persistent Chroma collection with cosine distance and otherwise its default settings."""

    def __init__(self, directory: Path, rows: int) -> None:
        import chromadb  # noqa: PLC0415 - an extra
        from chromadb.config import Settings  # noqa: PLC0415

        client = chromadb.PersistentClient(str(directory), Settings(anonymized_telemetry=False))
        self._collection = client.get_or_create_collection(
            f"route_{rows}", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        self._facts = directory / f"route_{rows}.json"
        self._rows = rows
        self._most = client.get_max_batch_size()

    @property
    def described(self) -> str:
        return json.dumps(self._collection.configuration_json.get("hnsw"))

    def fill(self, vectors: Vectors) -> dict[str, Any]:
        """Add the rows unless they are there; seconds it took and bytes on disk, index and all."""
        if self._facts.exists() and self._collection.count() == self._rows:
            return dict(json.loads(self._facts.read_text()))
        start = time.perf_counter()
        size = min(self._most, CHUNK)
        for first in range(self._collection.count(), self._rows, size):
            last = min(first + size, self._rows)
            self._collection.add([str(place) for place in range(first, last)], vectors[first:last])
        self.search(vectors[0], 1)
        facts = {"load_and_index_seconds": round(time.perf_counter() - start, 1)}
        self._facts.write_text(json.dumps(facts))
        return facts

    def search(self, query: Vectors, k: int) -> Places:
        found = self._collection.query(query_embeddings=query[None], n_results=k, include=["distances"])
        return np.array([int(place) for place in found["ids"][0]])

    def search_all(self, queries: Vectors, k: int) -> int:
        """All queries in one call; how many rows came back."""
        found = self._collection.query(query_embeddings=queries, n_results=k, include=["distances"])
        return sum(len(ids) for ids in found["ids"])


def has_chroma() -> bool:
    return find_spec("chromadb") is not None
