"""Routing in SQL: `loradex.adapter_mixture` against the bare search, exact search and Chroma.

`python -m loradex.benchmarks route --examples 1000000 --data DIR --keep DIR` measures at 32,566 examples
and at a million; without arguments at the smaller size only, from the starter library, as `make bench` does.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from loradex.benchmarks import routing
from loradex.benchmarks.frame import Measure, Options, Result, machine
from loradex.benchmarks.rivals import INSTALL, has_chroma
from loradex.benchmarks.route_database import SETTINGS, server
from loradex.benchmarks.route_searches import searches
from loradex.benchmarks.routing import BATCH, EXCLUDED, K, Latency, Size, breadth
from loradex.benchmarks.vectors import NOISE, Real, real

SMALL = 32_566
# Batches a round: fewer leave the median to one slow turn.
TURNS = 10
MAX_RATIO, MAX_MS, MAX_GROWTH, MIN_RECALL, MAX_BATCH = 1.3, 5.0, 2.0, 0.98, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--examples", type=int, default=SMALL, help="rows of the larger table")
    parser.add_argument("--data", type=Path, help="directory of example files, train and test")
    parser.add_argument("--keep", type=Path, help="keep the databases here for the next run")
    parser.add_argument(
        "--rounds", type=int, default=3, help="times each query is asked (default %(default)s)"
    )
    parser.add_argument("--chroma-rows", type=int, default=10**9, help="largest table Chroma is filled with")
    chosen = parser.parse_args()
    source = real(chosen.data)
    with server(chosen.keep) as postgres, tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) if chosen.keep is None else chosen.keep / "chroma"
        sizes = [routing.opened(postgres, source, rows) for rows in sorted({SMALL, chosen.examples})]
        measures = [*speed(sizes, source, chosen.rounds)]
        for size in sizes:
            measures += [*quality(size, source), *batched(size, source, chosen.rounds)]
            measures += searches(size, source, home if size.rows <= chosen.chroma_rows else None)
        versions = {"python": platform.python_version(), **sizes[0].versions()}
        measures += [cold(size, routing.cold(postgres, size, source.queries)) for size in sizes]
    for package in ("psycopg", "numpy", *(["chromadb"] if has_chroma() else [])):
        versions[package] = version(package)
    options = Options(json=chosen.json, rounds=chosen.rounds, threads=1, device="cpu", dtype="float32")
    # So that `make bench`, which measures the smaller size only, leaves the figures of the larger alone.
    name = "route" if chosen.examples > SMALL else "route-small"
    result = Result(name, measures, None, notes(source), machine(options), versions)
    print(json.dumps(result.document()) if chosen.json else "\n".join(map(line, measures)))


def speed(sizes: Sequence[Size], source: Real, rounds: int) -> list[Measure]:
    """`adapter_mixture` against the bare search, against 5 ms, and against itself on the smaller table."""
    for size in sizes:
        size.plain.execute(f"set hnsw.ef_search = {breadth(size.rows)}")
    times = routing.mixtures(sizes, source.queries, rounds)
    measures = []
    for size in sizes:
        ours, bare = times[size.rows, "ours"], times[size.rows, "bare"]
        bar = 1 / MAX_RATIO if size.rows == SMALL else None
        facts = {"theirs_pages_read": round(routing.pages(size.plain, source.queries[:100]), 1), **size.facts}
        if size.plain is not size.session:
            facts |= {f"theirs_{name}": size.plain_facts[name] for name in ("index_seconds", "index_bytes")}
        measures.append(
            against(size, "adapter_mixture, for the bare pgvector search", (ours, bare), bar, facts)
        )
    first = times[sizes[0].rows, "ours"]
    measures.append(
        Measure(
            round(MAX_MS / first.p50, 3),
            1.0,
            f"{sizes[0].rows:,} examples: adapter_mixture, for {MAX_MS} ms",
            {"ours_ms": round(first.p50, 3), "theirs_ms": MAX_MS},
        )
    )
    for size in sizes[1:]:
        ours = times[size.rows, "ours"]
        what = f"adapter_mixture, for itself at {sizes[0].rows:,}"
        measures.append(against(size, what, (ours, first), 1 / MAX_GROWTH, {}))
    return measures


def quality(size: Size, source: Real) -> list[Measure]:
    """Recall of all that the functions find, and with 90 % of the rows excluded.

    Queries that are to the rows as the rows are to each other come first: real prompts where the rows are
    real, copies where nearly all are copies. A real prompt among copies is the harder case: its 32 nearest
    are copies of one or two prompts, found together or missed together.
    """
    kinds = {source.asked: source.queries}
    if size.rows > 2 * len(source.vectors):
        kinds = {"held-out copies": source.copies, **kinds}
    measures = []
    for kind, queries in kinds.items():
        some = queries[: routing.RECALL_QUERIES]
        found = routing.recall(size, some, [])
        what = f"{size.rows:,} examples: recall@{K} of {kind}"
        facts = {}
        if size.plain is not size.session:
            facts["index_over_all_examples"] = round(routing.recall(size, some, [], size.plain), 4)
        measures.append(Measure(round(found, 4), MIN_RECALL, what, facts))
        sets = routing.recall_excluding(size, queries)
        mean = sum(one["recall"] for one in sets) / len(sets)
        measures.append(
            Measure(
                round(mean, 4), MIN_RECALL, f"{what}, {EXCLUDED:.0%} of the rows excluded", {"sets": sets}
            )
        )
    return measures


def batched(size: Size, source: Real, rounds: int) -> list[Measure]:
    """64 prompts in one statement against 64 statements, for both functions that route."""
    times = routing.batches(size.session, source.queries, TURNS * rounds)
    return [
        against(
            size,
            f"{BATCH} prompts in one call of {one}, for {BATCH} calls of {other}",
            (times[one], times[f"{other}_singly"]),
            1 / MAX_BATCH,
            {},
        )
        for one, other in (("route_jobs", "route_jobs"), ("adapter_mixtures", "adapter_mixture"))
    ]


def cold(size: Size, calls: Latency) -> Measure:
    first, rest = calls.calls[0], Latency(calls.calls[1:])
    facts = {
        "first_ms": round(first, 1),
        "next_p50_ms": round(rest.p50, 2),
        "next_p99_ms": round(rest.p99, 2),
    }
    what = f"{size.rows:,} examples, cold: the first call of a session, for the {len(rest.calls)} after it"
    return Measure(round(rest.p50 / first, 4), None, what, facts)


def against(
    size: Size, what: str, times: tuple[Latency, Latency], bar: float | None, facts: Mapping[str, object]
) -> Measure:
    """Medians of the second over those of the first, which is ours."""
    ours, theirs = times
    sides = {
        "ours_ms": round(ours.p50, 3),
        "theirs_ms": round(theirs.p50, 3),
        "ours_p99_ms": round(ours.p99, 3),
        "theirs_p99_ms": round(theirs.p99, 3),
        **facts,
    }
    return Measure(round(theirs.p50 / ours.p50, 3), bar, f"{size.rows:,} examples: {what}", sides)


def line(measure: Measure) -> str:
    bar = "" if measure.bar is None else f" (bar {measure.bar:.3g}: {'holds' if measure.holds else 'MISSED'})"
    facts = "".join(f"\n{'':>12}{key} {value}" for key, value in measure.sides.items())
    return f"{measure.ratio:>10} {measure.what}{bar}{facts}"


def notes(source: Real) -> list[str]:
    settings = ", ".join(f"{key} {value}" for key, value in SETTINGS.items())
    said = [
        f"Rows: {source.described}, then copies with Gaussian noise of length {NOISE} (why: vectors.py).",
        f"Queries: {len(source.queries):,} {source.asked}, none of them in a table; k {K}.",
        "hnsw.ef_search as search_examples sets it for what an index holds: 128 at 32,566, 400 at a million.",
        "Both: prepared statements, one client over TCP on the same machine.",
        "The bare search: the same ordering and similarities, at 32,566 by the same index and session.",
        "At a million our index holds one of each group of near duplicates, the bare search's holds all.",
        f"Server: {settings}; otherwise the embedded defaults.",
        "Cold: server restarted, its files dropped from the page cache (posix_fadvise), a new session.",
    ]
    return said if has_chroma() else [*said, f"Chroma was not measured; to have it: {INSTALL}"]


if __name__ == "__main__":
    main()
