"""A database in which it matters which way a query goes: thousands of vectors, answers and jobs."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.fix_db import new_database
from tests.world import TASKS, World, text_of

from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres

VECTORS = 12000
ANSWERS = 3000
REAL = 300
WAITING = 300

READ = """
    select relname, seq_scan, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
    from pg_stat_xact_user_tables where schemaname = 'loradex'"""


@pytest.fixture(scope="session")
def many(postgres: EmbeddedPostgres, stocked: str) -> Iterator[World]:
    """`World`'s library with 12,000 more examples, 3,000 answers and 300 waiting jobs, to look at only."""
    with new_database(postgres, stocked) as url, connect(url) as connection:
        world = World.found(connection)
        vectors = [text_of(world.near(TASKS[number % 5], 0.3)) for number in range(VECTORS)]
        connection.execute("select loradex.drop_encoder_index('all-MiniLM-L6-v2')")
        connection.execute(
            """
            with example as (
                insert into loradex.examples (task, source_ref, sha256)
                select t, 'many-' || n, repeat('0', 64) from unnest(%s::text[]) with ordinality u(t, n)
                returning id, task, source_ref
            )
            insert into loradex.example_embeddings (example_id, task, encoder, embedding)
            select e.id, e.task, 'all-MiniLM-L6-v2', (%s::vector[])[split_part(e.source_ref, '-', 2)::int]
            from example e
            """,
            ([TASKS[number % 5] for number in range(VECTORS)], vectors),
        )
        connection.execute("select loradex.build_encoder_index('all-MiniLM-L6-v2')")
        other = World.found(connection)  # so that it draws other numbers
        with connection.transaction():
            other.answered(*[{}] * REAL)
            copy_answers(other)
        other.enqueue(*[{}] * WAITING)
        # Vacuumed too, or the plans would depend on how far autovacuum has come.
        connection.execute("vacuum analyze")
        yield world


def copy_answers(world: World) -> None:
    """As many copies of the answers there are, each under new ids, as make `ANSWERS` of them.

    Recording that many would take a minute. The chain of the copies is broken: no hash is theirs.
    """
    world.connection.execute(
        """
        create temporary table copies as
        select a.id as was, a.job_id as job_was, uuidv7() as id, uuidv7() as job_id,
               a.position + %s * n as position
        from loradex.answers a, generate_series(1, %s) n
        """,
        (REAL, ANSWERS // REAL - 1),
    )
    for table, old, changed in (
        ("jobs", "job_was", "'id', c.job_id, 'answer_id', c.id"),
        ("answers", "was", "'id', c.id, 'job_id', c.job_id, 'position', c.position"),
    ):
        world.connection.execute(
            f"""
            insert into loradex.{table} overriding system value
            select n.* from copies c join loradex.{table} r on r.id = c.{old}
            cross join lateral jsonb_populate_record(r, jsonb_build_object({changed})) n
            """.encode()
        )
    world.connection.execute("drop table copies")


def rows_read(world: World, statement: str, *values: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Whole scans and rows read, by table, of a statement in the transaction that is open."""
    before = {table: (scans, rows) for table, scans, rows in world.rows(READ)}
    world.rows(statement, *values)
    scanned, read = {}, {}
    for table, scans, rows in world.rows(READ):
        old_scans, old_rows = before.get(table, (0, 0))
        scanned[table], read[table] = scans - old_scans, rows - old_rows
    return scanned, read
