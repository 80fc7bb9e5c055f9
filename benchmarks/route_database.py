"""A Postgres of the route benchmark's own: one database a size, filled and indexed once, kept if wanted."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from pgvector.psycopg import register_vector
from psycopg import sql

from loradex.benchmarks.vectors import LIBRARY, NOISE, Real, grown
from loradex.db import migrate
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.library.adapter_roots import AdapterRoots
from loradex.library.cards import load_cards
from loradex.library.example_store import GROUP_FROM
from loradex.library.load import load_library, open_library
from loradex.library.vector_file import ExampleVectors

ENCODER = "all-MiniLM-L6-v2"
BASE_MODEL = "smollm2-135m-instruct"
# Table and index of a million rows lie in memory; two workers and the session build the index there.
SETTINGS = {
    "shared_buffers": "3GB",
    "maintenance_work_mem": "3GB",
    "max_parallel_maintenance_workers": "2",
    "max_wal_size": "8GB",
}
Facts = dict[str, Any]


@contextmanager
def server(keep: Path | None) -> Iterator[EmbeddedPostgres]:
    """A running server; with `keep` its data stay in that directory for the next run."""
    directory = Path(tempfile.mkdtemp(prefix="loradex-route-")) if keep is None else keep
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    postgres = EmbeddedPostgres(directory, settings=SETTINGS)
    try:
        postgres.start()
        yield postgres
    finally:
        if keep is None:
            postgres.destroy()
            shutil.rmtree(directory, ignore_errors=True)
        else:
            postgres.stop()


def database(
    postgres: EmbeddedPostgres, source: Real, rows: int, *, grouped: bool = True
) -> tuple[str, Facts]:
    """URL of a database with `rows` examples, their index and the library's adapters; and what it cost.

    With `grouped` false the index holds every example, as pgvector's own would.
    """
    name = f"route_{rows}" if grouped else f"route_{rows}_plain"
    described = f"{source.described}, noise {NOISE}"
    url = urlunsplit(urlsplit(postgres.url)._replace(path=f"/{name}"))
    with connect(postgres.url) as admin:
        comment = admin.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", (name,)
        ).fetchone()
        if comment is not None and comment[0] is not None:
            migrate.upgrade(url)
            facts = json.loads(str(comment[0]))
            if facts["source"] == described:
                return url, facts
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        facts = {"source": described, **_filled(url, source, rows, grouped)}
        admin.execute(
            sql.SQL("comment on database {} is {}").format(
                sql.Identifier(name), sql.Literal(json.dumps(facts))
            )
        )
    return url, facts


def session(url: str) -> psycopg.Connection[Any]:
    """A client over the socket; every statement is prepared the first time, on each side alike."""
    connection = connect(url)
    connection.prepare_threshold = 0
    register_vector(connection)
    return connection


def forget(postgres: EmbeddedPostgres) -> None:
    """Restart the server with its files out of the page cache, as far as the system does what it is told."""
    data = postgres.data
    postgres.stop()
    if data is not None:
        for path in data.rglob("*"):
            if path.is_file():
                with path.open("rb") as stream:
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    postgres.start()


def _filled(url: str, source: Real, rows: int, grouped: bool) -> Facts:
    migrate.upgrade(url)
    cards = load_cards()
    library = open_library(LIBRARY, cards)
    none = ExampleVectors([], [], [], library.examples.vectors[:0])
    with connect(url) as connection:
        load_library(
            connection,
            replace(library, examples=none),
            cards,
            AdapterRoots.of((), LIBRARY.parent),
            lambda _: None,
        )
        connection.execute("select loradex.drop_encoder_index(%s)", (ENCODER,))
        start = time.perf_counter()
        _copy(connection, source, rows)
        loaded = time.perf_counter()
        if grouped and rows >= GROUP_FROM:
            connection.execute("select loradex.group_duplicates(%s)", (ENCODER,))
        looked = time.perf_counter()
        connection.execute("select loradex.build_encoder_index(%s)", (ENCODER,))
        built = time.perf_counter()
        connection.execute("vacuum analyze loradex.example_embeddings")
        connection.execute("checkpoint")
        sizes = connection.execute(
            "select pg_relation_size(format('loradex.%%I', loradex.encoder_index(%s))), "
            "pg_table_size('loradex.example_embeddings'), "
            "(select count(duplicate_of) from loradex.example_embeddings)",
            (ENCODER,),
        ).fetchone()
    if sizes is None:
        raise RuntimeError("pg_relation_size gave no row")
    return {
        "load_seconds": round(loaded - start, 1),
        "group_seconds": round(looked - loaded, 1),
        "index_seconds": round(built - looked, 1),
        "index_bytes": sizes[0],
        "table_bytes": sizes[1],
        "duplicates": sizes[2],
    }


def _copy(connection: psycopg.Connection[Any], source: Real, rows: int) -> None:
    """Rows of `grown`; the example id is the place in it, from 1."""
    register_vector(connection)
    first = 1
    for tasks, vectors in grown(source, rows):
        ids = range(first, first + len(tasks))
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(
                "copy loradex.examples (id, task, source_ref, sha256) from stdin (format binary)"
            ) as copy:
                copy.set_types(["int8", "text", "text", "text"])
                for number, task in zip(ids, tasks, strict=True):
                    copy.write_row((number, task, f"route-{number}", "0" * 64))
            with cursor.copy(
                "copy loradex.example_embeddings (example_id, task, encoder, embedding) "
                "from stdin (format binary)"
            ) as copy:
                copy.set_types(["int8", "text", "text", "vector"])
                for number, task, vector in zip(ids, tasks, vectors, strict=True):
                    copy.write_row((number, task, ENCODER, vector))
        first += len(tasks)
