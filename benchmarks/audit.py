"""100,000 chained answers with all their provenance, verified by `loradex audit verify`."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from tests.world import answer_document

from loradex.benchmarks.frame import Measure, Options, finish
from loradex.db import migrate
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.library.adapter_roots import AdapterRoots
from loradex.library.cards import load_cards
from loradex.library.installed import starter_library
from loradex.library.load import load_library, open_library

LIBRARY = starter_library()
BAR_SECONDS = 60.0
A_CALL = 1000
LOOK_EVERY_SECONDS = 0.02
ROUTED = 500
"""Jobs that are really routed; later answers repeat their retrievals: the search is not what is timed."""
EVIDENCE = ("retrievals", "retrieved_examples", "retrieved_tasks", "merge_results", "merge_components")
SETTINGS = Options(json=True, rounds=1, threads=1, device="cpu", dtype="float32")

QUERIES: LiteralString = """
    create temp table query as
    select row_number() over () as number, embedding
    from (select embedding from loradex.example_embeddings
          order by example_id %% 97, example_id limit %s) e"""
ROUTE: LiteralString = """
    create temp table routed as
    select number, embedding, r.routing
    from (select array_agg(id order by place) as ids from claimed) c,
         (select array_agg(embedding order by number) as embeddings from query) q,
         lateral loradex.route_jobs(c.ids[:%s], q.embeddings) r
         join claimed j on j.id = r.job_id
         join query on query.number = j.place"""
CLAIM: LiteralString = """
    create temp table claimed as
    select id, attempt, row_number() over () as place
    from loradex.claim_jobs('benchmark', %s, interval '1 hour', 3)"""
KEEP: LiteralString = """
    insert into loradex.routings
    select j.id, j.attempt, r.embedding, r.routing
    from claimed j join routed r on r.number = 1 + j.place % (select count(*) from routed)
    on conflict (job_id) do update set query = excluded.query, routing = excluded.routing"""
RECORD: LiteralString = """
    select count(loradex.record_answer(
        j.id, j.attempt, %s::jsonb || jsonb_build_object(
            'text', 'answer ' || j.place, 'base_model_revision', (select revision from loradex.base_models),
            'merge', %s::jsonb || jsonb_build_object(
                'recipe_hash', loradex.recipe_hash(r.routing ->> 'merge', (r.routing ->> 'calibrated')::boolean, 0.5,
                                                   'float32', r.routing -> 'mixture'),
                'component_norms', (select coalesce(jsonb_agg(1.5), '[]')
                                    from jsonb_array_elements(r.routing -> 'mixture'))))))
    from claimed j join loradex.routings r on r.job_id = j.id"""


@dataclass(frozen=True)
class Verified:
    """One run of the command."""

    seconds: float
    client_peak_bytes: int
    exit_code: int
    said: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--answers", type=int, default=100_000, help="(default %(default)s)")
    asked = parser.parse_args()
    with _database() as url, connect(url) as connection:
        started = time.perf_counter()
        fill(connection, asked.answers)
        filled = time.perf_counter() - started
        rows = {table: _count(connection, table) for table in EVIDENCE}
        sound = verify(url)
        forged = forge(connection, asked.answers // 2)
        found = verify(url)
    if (sound.said["answers"], sound.said["intact"], sound.exit_code) != (asked.answers, True, 0):
        raise RuntimeError(f"the chain should be intact: {sound.said}")
    if [one["answer_id"] for one in found.said["broken"]] != [forged] or found.exit_code != 1:
        raise RuntimeError(f"one answer was forged: {found.said}")
    bar = BAR_SECONDS * asked.answers / 100_000
    measure = Measure(
        ratio=round(bar / sound.seconds, 3),
        bar=1.0,
        what=f"`loradex audit verify` of {asked.answers} answers against {bar:g} s",
        sides={
            "ours_ms": round(1000 * sound.seconds, 1),
            "theirs_ms": 1000 * bar,
            "answers_per_second": round(asked.answers / sound.seconds),
            "client_peak_mib": round(sound.client_peak_bytes / 2**20, 1),
            "with_a_forged_row_ms": round(1000 * found.seconds, 1),
            "fill_seconds": round(filled, 1),
            "rows": rows,
        },
    )
    options = Options(**{**SETTINGS.__dict__, "json": asked.json})
    notes = [
        "written by loradex.record_answer, one after the other, with the starter library's vectors",
        "time is the whole command's, Python's start included; memory is the command's, not the server's",
        "then one similarity of one answer was changed behind the triggers; the command named it",
    ]
    finish("audit", options, [measure], None, notes)


def fill(connection: psycopg.Connection[Any], answers: int) -> None:
    """Write this many answers the way workers do: enqueue, claim, route, record."""
    said = answer_document(None, 0, "")
    merge = said.pop("merge")
    connection.execute(QUERIES, (ROUTED,))
    for first in range(0, answers, A_CALL):
        number = min(A_CALL, answers - first)
        jobs = [{"prompt": f"Question {first + place}: is the chain whole?"} for place in range(number)]
        with connection.transaction():
            connection.execute("select loradex.enqueue_jobs(%s)", (Jsonb(jobs),))
        with connection.transaction():
            connection.execute(CLAIM, (number,))
            if not first:
                connection.execute(ROUTE, (ROUTED,))
            connection.execute(KEEP)
            connection.execute(RECORD, (Jsonb(said), Jsonb(merge)))
            connection.execute("drop table claimed")
        print(f"\r{first + number} of {answers}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    connection.execute("vacuum analyze")


def forge(connection: psycopg.Connection[Any], position: int) -> str:
    """Change one number of evidence as only a superuser can; returns the answer's id."""
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        row = connection.execute(
            "update loradex.retrieved_examples e set similarity = similarity - 1e-9 from loradex.answers a "
            "where a.position = %s and e.answer_id = a.id and e.rank = 32 returning a.id::text",
            (position,),
        ).fetchone()
    if row is None:
        raise RuntimeError(f"no answer {position} to forge")
    return str(row[0])


def verify(url: str) -> Verified:
    """Run the command in a process of its own."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", "from loradex.service.cli import main; main(['audit', 'verify', '--json'])"],
        env=os.environ | {"LORADEX_DATABASE_URL": url},
        stdout=subprocess.PIPE,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, _peak_bytes(process.pid))
        time.sleep(LOOK_EVERY_SECONDS)
    seconds = time.perf_counter() - started
    said, _ = process.communicate()
    return Verified(seconds, peak, process.returncode, json.loads(said))


@contextmanager
def _database() -> Iterator[str]:
    """A Postgres of its own with the starter library in it, at head."""
    home = Path(tempfile.mkdtemp(prefix="loradex-audit-"))
    home.chmod(0o755)
    postgres = EmbeddedPostgres(home)
    try:
        url = postgres.start()
        migrate.upgrade(url)
        cards = load_cards()
        with connect(url) as connection:
            library = open_library(LIBRARY, cards)
            load_library(connection, library, cards, AdapterRoots.of((), home), lambda _: None)
        yield url
    finally:
        postgres.destroy()
        shutil.rmtree(home, ignore_errors=True)


def _peak_bytes(process: int) -> int:
    """The most memory it has had since it began; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _count(connection: psycopg.Connection[Any], table: str) -> int:
    counting = sql.SQL("select count(*) from {}").format(sql.Identifier("loradex", table))
    row = connection.execute(counting).fetchone()
    return int(row[0]) if row is not None else 0


if __name__ == "__main__":
    main()
