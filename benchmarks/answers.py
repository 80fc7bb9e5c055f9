"""A database with the starter library, and answers written into it the way workers do: without a model."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Identifier, Literal
from psycopg.types.json import Jsonb
from tests.world import answer_document

from loradex.db import migrate
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.library.adapter_roots import AdapterRoots
from loradex.library.cards import load_cards
from loradex.library.installed import starter_library
from loradex.library.load import load_library, open_library

LIBRARY = starter_library()
A_CALL = 1000
ROUTED = 500
"""Jobs that are really routed; later answers repeat their retrievals: the search is not what is measured."""

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


@contextmanager
def database() -> Iterator[str]:
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


COPIED: LiteralString = """
    insert into loradex.answers (id, job_id, position, created_at, prompt, {rest})
    select uuidv7(-n * interval '500 ms'), uuidv7(-n * interval '500 ms'), {answers} + n,
           now() - n * interval '500 ms', 'Question ' || n || ': is the chain whole?', {rest}
    from generate_series({copies}, 1, -1) n
    join template t on t.place = n %% (select count(*) from template)"""
REST: LiteralString = """
    select array_agg(attname::text order by attnum) from pg_attribute
    where attrelid = 'loradex.answers'::regclass and attnum > 0 and not attisdropped
      and attname not in ('id', 'job_id', 'position', 'created_at', 'prompt')"""


UNSAFE = ("fsync = off", "full_page_writes = off", "max_wal_size = '16GB'")
"""For a database that ends with the benchmark: nothing of it must outlive a crash, and reading does not change."""


def copy(connection: psycopg.Connection[Any], answers: int) -> None:
    """Until there are this many answers, write older copies of those there are, two a second, without jobs or links."""
    for setting in UNSAFE:
        connection.execute(f"alter system set {setting}".encode())
    connection.execute("select pg_reload_conf()")
    ((columns,),) = connection.execute(REST).fetchall()
    ((written,),) = connection.execute("select count(*) from loradex.answers").fetchall()
    copies = max(answers - written, 0)
    months = "select loradex.make_partition(now() - n * interval '14 days') from generate_series(0, %s / 2400000 + 1) n"
    connection.execute(months, (copies,))
    connection.execute(
        "create temp table template as select row_number() over () - 1 as place, * from loradex.answers"
    )
    statement = SQL(COPIED).format(
        rest=SQL(", ").join(map(Identifier, columns)), answers=Literal(written), copies=Literal(copies)
    )
    connection.execute(statement, ())
    connection.execute("vacuum analyze")
