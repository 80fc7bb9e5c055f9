"""Embeddings made once: a cache on disk, keyed by the encoder's revision and the SHA-256 of the text."""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

BATCH = 128


class TextEncoder(Protocol):
    """What turns texts into unit vectors."""

    def embed(self, texts: Sequence[str], /) -> Vectors:
        """Float32 `[texts, dimensions]`, each row of length one."""
        ...


class VectorCache:
    """One SQLite file of float32 vectors; several processes may use it at once.

    A batch is written in one transaction, so what a killed run had finished is there for the next.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=60)
        self._database.execute("pragma journal_mode = wal")
        with self._database:
            self._database.execute(
                "create table if not exists vectors "
                "(text_sha256 blob primary key, vector blob not null) strict"
            )

    @classmethod
    def of(cls, home: Path, encoder: str, revision: str) -> Self:
        """The cache of one encoder revision below the state directory."""
        safe = "".join(
            letter if letter.isalnum() or letter in "-._" else "_" for letter in f"{encoder}-{revision}"
        )
        return cls(home / "cache" / "embeddings" / f"{safe}.sqlite")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def get(self, texts: Sequence[str]) -> dict[str, Vectors]:
        """Known vectors by text, float32 `[dimensions]`."""
        found: dict[str, Vectors] = {}
        for text in texts:
            row = self._database.execute(
                "select vector from vectors where text_sha256 = ?", (_key(text),)
            ).fetchone()
            if row is not None:
                found[text] = np.frombuffer(row[0], "<f4")
        return found

    def put(self, texts: Sequence[str], vectors: Vectors) -> None:
        with self._database:
            self._database.executemany(
                "insert into vectors values (?, ?) on conflict do nothing",
                [
                    (_key(text), vector.astype("<f4").tobytes())
                    for text, vector in zip(texts, vectors, strict=True)
                ],
            )


def embed(
    texts: Sequence[str],
    encoder: Callable[[], TextEncoder],
    cache: VectorCache,
    advance: Callable[[int], None],
) -> dict[str, Vectors]:
    """The vector of every text, float32 `[dimensions]`; the encoder is asked for only if the cache lacks one.

    Texts go in batches of like length, since a batch costs as much as its longest. `advance` is told how many
    are done.
    """
    unique = list(dict.fromkeys(texts))
    found = cache.get(unique)
    advance(len(found))
    missing = sorted((text for text in unique if text not in found), key=len)
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        vectors = encoder().embed(batch)
        cache.put(batch, vectors)
        found |= zip(batch, vectors, strict=True)
        advance(len(batch))
    return found


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
