"""The measurements of the route benchmark, each on one database; a client's view, over the socket."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from pgvector import Vector
from psycopg import sql
from psycopg.types.json import Jsonb

from loradex.benchmarks.rivals import Exact
from loradex.benchmarks.route_database import BASE_MODEL, ENCODER, Facts, database, forget, session
from loradex.benchmarks.vectors import Real, whole
from loradex.embedded import EmbeddedPostgres
from loradex.library.vectors import Vectors

K = 32
BATCH = 64
# Of a block of calls: what ran before has filled the processor's caches with something else.
SETTLING = 8
RECALL_QUERIES = 300
EXCLUDED = 0.9
EXCLUDED_SETS = 5
EXCLUDED_QUERIES = 60
COLD_CALLS = 101
NAMES = {"k": sql.Literal(K), "encoder": sql.Literal(ENCODER), "base_model": sql.Literal(BASE_MODEL)}
BARE = sql.SQL(
    "select example_id, task, 1 - (embedding <=> %(query)s) from loradex.example_embeddings "
    "where encoder = {encoder} order by embedding::halfvec(384) <=> %(query)s::halfvec(384) limit {k}"
).format(**NAMES)
MIXTURE = sql.SQL("select * from loradex.adapter_mixture(%(query)s, {base_model}, k => {k})").format(**NAMES)
NEIGHBOURS = sql.SQL(
    "select * from loradex.nearest_examples(%(query)s, {k}, exclude_tasks => %(exclude)s)"
).format(**NAMES)
# %b: a list goes as text otherwise, and 64 vectors take 32 ms to write and read instead of 0.3.
MIXTURES = sql.SQL("select * from loradex.adapter_mixtures(%(queries)b, {base_model}, k => {k})").format(
    **NAMES
)
ROUTE = sql.SQL("select job_id, routing from loradex.route_jobs(%(jobs)s, %(queries)b)")
# Vectors are unit length; two that differ by less are the same neighbour to recall.
TIE = 1e-6

Session = psycopg.Connection[Any]
Side = Callable[[Vectors], object]


def breadth(rows: int) -> int:
    """Candidates `search_examples` looks at, so that the bare search finds as much as ours."""
    return max(64, round(4 * math.cbrt(rows)))


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one side's calls."""

    calls: Sequence[float]

    @property
    def p50(self) -> float:
        return statistics.median(self.calls)

    @property
    def p99(self) -> float:
        return float(np.quantile(self.calls, 0.99))


@dataclass
class Size:
    """One database with what was put into it.

    `plain` has the same rows and an index over all of them, for the bare search where this one's index holds
    groups of near duplicates; it is the database itself where it does not.
    """

    rows: int
    url: str
    facts: Facts
    vectors: Vectors
    tasks: list[str]
    session: Session
    plain: Session
    plain_facts: Facts

    def versions(self) -> dict[str, str]:
        row = self.session.execute(
            "select current_setting('server_version'), extversion from pg_extension where extname = 'vector'"
        ).fetchone()
        return dict(zip(("postgres", "pgvector"), row or (), strict=True))


def opened(postgres: EmbeddedPostgres, source: Real, rows: int) -> Size:
    """The database of that many rows, filled if it is not there, and its plain one."""
    url, facts = database(postgres, source, rows)
    plain, plain_facts = url, facts
    if facts.get("duplicates"):
        plain, plain_facts = database(postgres, source, rows, grouped=False)
    tasks = [source.tasks[place % len(source.vectors)] for place in range(rows)]
    own = session(url)
    other = own if plain == url else session(plain)
    return Size(rows, url, facts, whole(source, rows), tasks, own, other, plain_facts)


def asked(session: Session, statement: sql.SQL | sql.Composed, **values: object) -> Side:
    """A side that puts one query to Postgres and fetches the rows."""
    return lambda query: session.execute(statement, {"query": query, **values}).fetchall()


def latencies(
    sides: Mapping[str, Side], queries: Vectors, rounds: int, block: int = 50
) -> dict[str, Latency]:
    """Every side answers every query once a round, in blocks by turns.

    No side answers a query soon after another did, which would find the pages in the processor's caches.
    The order of the sides changes from block to block, so that a busy minute of the machine meets all.
    """
    calls: dict[str, list[float]] = {name: [] for name in sides}
    shift = len(queries) // len(sides)
    for start in range(0, rounds * len(queries), block):
        names = list(sides)
        turn = (start // block) % len(names)
        for name in names[turn:] + names[:turn]:
            own = names.index(name) * shift
            for number in range(start - SETTLING, start + block):
                query = queries[(number + own) % len(queries)]
                spent = milliseconds(sides[name], query)
                if number >= start:
                    calls[name].append(spent)
    return {name: Latency(spent) for name, spent in calls.items()}


def mixtures(sizes: Sequence[Size], queries: Vectors, rounds: int) -> dict[tuple[int, str], Latency]:
    """`adapter_mixture` ("ours") and the bare search ("bare") at every size, by turns, warm.

    A first round is not counted: it reads the tables into memory (`cold` measures that). A plain database is
    asked by itself, afterwards: by turns it would push the other out.
    """
    together: dict[str, Side] = {}
    apart: dict[str, Side] = {}
    for size in sizes:
        together[f"{size.rows} ours"] = asked(size.session, MIXTURE)
        (together if size.plain is size.session else apart)[f"{size.rows} bare"] = asked(size.plain, BARE)
    times: dict[str, Latency] = {}
    for sides in (together, *({name: side} for name, side in apart.items())):
        latencies(sides, queries, 1)
        times |= latencies(sides, queries, rounds)
    return {(int(name.split()[0]), name.split()[1]): spent for name, spent in times.items()}


def cold(postgres: EmbeddedPostgres, size: Size, queries: Vectors) -> Latency:
    """The first calls of a new session after a restart with empty caches; the first is the dearest."""
    size.session.close()
    forget(postgres)
    with session(size.url) as fresh:
        side = asked(fresh, MIXTURE)
        return Latency([milliseconds(side, query) for query in queries[:COLD_CALLS]])


def milliseconds(side: Side, query: Vectors) -> float:
    start = time.perf_counter()
    side(query)
    return 1000 * (time.perf_counter() - start)


def recall(size: Size, queries: Vectors, exclude: Sequence[str], connection: Session | None = None) -> float:
    """Share of the true `K` nearest that `nearest_examples` finds; a row as near as the last counts as it.

    On the database's own session, or on another with the same rows.
    """
    connection = connection or size.session
    allowed = ~np.isin(np.asarray(size.tasks), list(exclude)) if exclude else None
    truth = Exact(size.vectors).search_all(queries, K, allowed)
    found = 0
    for query, similarities in zip(queries, truth, strict=True):
        rows = connection.execute(NEIGHBOURS, {"query": query, "exclude": list(exclude)}).fetchall()
        ids = {row[1] for row in rows if row[3] >= similarities[-1] - TIE}
        found += min(K, len(ids))
    return found / (K * len(queries))


def recall_excluding(size: Size, queries: Vectors) -> list[dict[str, float]]:
    """Recall, share of the rows and median milliseconds, for several sets of excluded tasks."""
    found = []
    for number, exclude in enumerate(exclusions(size.tasks, EXCLUDED, EXCLUDED_SETS)):
        some = queries[number * EXCLUDED_QUERIES : (number + 1) * EXCLUDED_QUERIES]
        share = float(np.isin(np.asarray(size.tasks), exclude).mean())
        side = asked(size.session, NEIGHBOURS, exclude=exclude)
        spent = Latency([milliseconds(side, query) for query in some])
        found.append(
            {
                "excluded": round(share, 3),
                "recall": round(recall(size, some, exclude), 4),
                "p50_ms": round(spent.p50, 2),
            }
        )
    return found


def pages(session: Session, queries: Vectors) -> float:
    """Pages of index and table that one bare search reads, on average: the same on every machine."""
    read = []
    for query in queries:
        row = session.execute(
            sql.SQL("explain (analyze, buffers, format json) ") + BARE, {"query": query}
        ).fetchone()
        plan = row[0][0]["Plan"] if row else {}
        read.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    return statistics.fmean(read)


def batches(session: Session, queries: Vectors, rounds: int) -> dict[str, Latency]:
    """A batch in one statement and the same as single calls, for both doors, warm; milliseconds a batch."""
    latencies({"warm": asked(session, MIXTURE)}, queries, 1)
    with session.transaction(force_rollback=True):
        jobs = [
            row[0]
            for row in session.execute(
                "select job_id from loradex.enqueue_jobs(%s) order by ordinal",
                (Jsonb([{"prompt": f"Question {number}?", "k": K} for number in range(BATCH)]),),
            ).fetchall()
        ]
        sides: dict[str, Callable[[list[Vector]], object]] = {
            "route_jobs": lambda batch: _rows(session, ROUTE, jobs=jobs, queries=batch),
            "route_jobs_singly": lambda batch: [
                _rows(session, ROUTE, jobs=[job], queries=[query])
                for job, query in zip(jobs, batch, strict=True)
            ],
            "adapter_mixtures": lambda batch: _rows(session, MIXTURES, queries=batch),
            "adapter_mixture_singly": lambda batch: [_rows(session, MIXTURE, query=query) for query in batch],
        }
        return _batch_turns(sides, queries, rounds)


def _batch_turns(
    sides: Mapping[str, Callable[[list[Vector]], object]], queries: Vectors, rounds: int
) -> dict[str, Latency]:
    calls: dict[str, list[float]] = {name: [] for name in sides}
    slices = len(queries) // BATCH
    for turn in range(rounds + 1):
        for place, name in enumerate(sides):
            # Each side another slice of the queries, so that none finds the other's pages in the caches.
            first = ((turn + place * slices // len(sides)) % slices) * BATCH
            batch = [Vector(query) for query in queries[first : first + BATCH]]
            start = time.perf_counter()
            sides[name](batch)
            if turn:
                calls[name].append(1000 * (time.perf_counter() - start))
    return {name: Latency(spent) for name, spent in calls.items()}


def _rows(session: Session, statement: sql.SQL | sql.Composed, **values: object) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = session.execute(statement, values).fetchall()
    return rows


def exclusions(tasks: Sequence[str], share: float, sets: int) -> list[list[str]]:
    """Sets of tasks that hold about `share` of the rows, drawn at random with a seed."""
    names, counts = np.unique(np.asarray(tasks), return_counts=True)
    numbers = np.random.default_rng(4)
    chosen = []
    for _ in range(sets):
        order = numbers.permutation(len(names))
        sums = np.cumsum(counts[order]) / counts.sum()
        last = int(np.argmin(np.abs(sums - share)))
        chosen.append([str(names[place]) for place in order[: last + 1]])
    return chosen
