"""The neighbour search alone: `nearest_examples` over the socket against NumPy and Chroma in this process."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from loradex.benchmarks.frame import Measure
from loradex.benchmarks.rivals import Chroma, Exact, has_chroma
from loradex.benchmarks.routing import (
    BATCH,
    NEIGHBOURS,
    RECALL_QUERIES,
    TIE,
    K,
    Latency,
    Size,
    asked,
    latencies,
    milliseconds,
)
from loradex.benchmarks.vectors import Real
from loradex.library.vectors import Vectors

ROUNDS = 1
ASKED = 100


def searches(size: Size, source: Real, home: Path | None) -> list[Measure]:
    """A measure a rival: their median over ours; recall, building and disk stand beside it.

    `home` is where Chroma keeps its data; None leaves it out.
    """
    exact, queries = Exact(size.vectors), source.queries[:ASKED]
    ours = asked(size.session, NEIGHBOURS, exclude=[])
    measures = [
        _measure(
            size,
            "exact NumPy",
            latencies({"ours": ours, "theirs": lambda q: exact.search(q, K)}, queries, ROUNDS),
            {},
        )
    ]
    if home is None or not has_chroma():
        return measures
    directory = home / str(size.rows)
    directory.mkdir(parents=True, exist_ok=True)
    chroma = Chroma(directory, size.rows)
    facts: dict[str, Any] = {**chroma.fill(size.vectors), "configuration": chroma.described}
    facts["disk_bytes"] = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    facts["recall"] = _recall(chroma, exact, size.vectors, source.queries[:RECALL_QUERIES])
    times = latencies({"ours": ours, "theirs": lambda query: chroma.search(query, K)}, queries, ROUNDS)
    batch = [
        milliseconds(lambda many: chroma.search_all(many, K), source.queries[start : start + BATCH])
        for start in range(0, 5 * BATCH, BATCH)
    ]
    facts["batch_of_64_ms"] = round(Latency(batch).p50, 2)
    measures.append(_measure(size, "Chroma", times, facts))
    if home.name != "chroma":
        shutil.rmtree(directory)
    return measures


def _measure(size: Size, rival: str, times: dict[str, Latency], facts: dict[str, Any]) -> Measure:
    ours, theirs = times["ours"], times["theirs"]
    sides = {
        "ours_ms": round(ours.p50, 3),
        "theirs_ms": round(theirs.p50, 3),
        "ours_p99_ms": round(ours.p99, 3),
        "theirs_p99_ms": round(theirs.p99, 3),
        **facts,
    }
    what = f"{size.rows:,} examples: nearest_examples over the socket, for {rival} in process"
    return Measure(round(theirs.p50 / ours.p50, 3), None, what, sides)


def _recall(chroma: Chroma, exact: Exact, vectors: Vectors, queries: Vectors) -> float:
    """As for `nearest_examples`: a row as near as the last of the true ones counts as it."""
    found = 0
    for query, truth in zip(queries, exact.search_all(queries, K), strict=True):
        similarities = vectors[chroma.search(query, K)] @ query
        found += min(K, int(np.count_nonzero(similarities >= truth[-1] - TIE)))
    return round(found / (K * len(queries)), 4)
