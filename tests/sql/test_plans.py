"""Which way a routing query goes: one scan of the encoder's index a prompt, none of the table, few rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.fix_many import rows_read
from tests.world import BASE_MODEL, TASKS, World, text_of

VECTORS = "example_embeddings"
# ef_search is 92 for 12,200 rows, and a scan stops when it has k rows.
ROWS_A_PROMPT = 150
BATCH = 16
SCANS = (
    "select pg_stat_get_xact_numscans(to_regclass('loradex.' || loradex.encoder_index('all-MiniLM-L6-v2')))"
)
ROUTE = "select * from loradex.route_jobs(%s, %s::vector[])"


@contextmanager
def as_if_large(world: World) -> Iterator[None]:
    """In a transaction without whole scans: they cost little on 12,000 short vectors, much on a million."""
    with world.connection.transaction(force_rollback=True):
        world.connection.execute("set local enable_seqscan = off")
        world.connection.execute("discard plans")
        yield
    world.connection.execute("discard plans")


def index_scans(world: World, statement: str, *values: Any) -> int:
    """Scans of the encoder's HNSW index by a statement in the transaction that is open."""
    before = world.value(SCANS)
    world.rows(statement, *values)
    return int(world.value(SCANS) - before)


def batch(world: World, count: int, **settings: Any) -> tuple[list[Any], list[str]]:
    jobs = world.enqueue(*[settings] * count)
    return jobs, [text_of(world.near(TASKS[number % len(TASKS)])) for number in range(count)]


@pytest.mark.parametrize(
    "call",
    [
        "loradex.nearest_examples(%s::vector)",
        "loradex.task_distribution(%s::vector)",
        f"loradex.adapter_mixture(%s::vector, '{BASE_MODEL}')",
    ],
)
def test_a_prompt_costs_one_scan_of_the_index(many: World, call: str) -> None:
    query = text_of(many.near("boats"))
    with many.connection.transaction():
        assert index_scans(many, f"select * from {call}", query) == 1
        scanned, read = rows_read(many, f"select * from {call}", query)
    assert scanned[VECTORS] == 0
    assert 32 <= read[VECTORS] <= ROWS_A_PROMPT


def test_a_batch_costs_one_scan_a_prompt_and_reads_each_job_once(many: World) -> None:
    with as_if_large(many):
        jobs, queries = batch(many, BATCH)
        assert index_scans(many, ROUTE, jobs, queries) == BATCH
        scanned, read = rows_read(many, ROUTE, jobs, queries)
    assert scanned[VECTORS] == scanned["examples"] == 0
    assert 32 * BATCH <= read[VECTORS] <= ROWS_A_PROMPT * BATCH


def test_a_batch_with_one_exclusion_does_not_look_at_all_rows_for_the_others(many: World) -> None:
    """Four tasks of five excluded for one job: it alone is searched exactly, in the rows it may have."""
    allowed = many.value("select count(*) from loradex.example_embeddings where task = %s", TASKS[4])
    with as_if_large(many):
        jobs, queries = batch(many, BATCH)
        narrow, query = batch(many, 1, exclude_tasks=list(TASKS[:4]))
        assert index_scans(many, ROUTE, jobs + narrow, queries + query) == BATCH
        scanned, read = rows_read(many, ROUTE, jobs + narrow, queries + query)
    assert scanned[VECTORS] == 0
    # The allowed rows are counted, then looked at; the others' scans are wider, since one job excludes.
    assert read[VECTORS] <= 2 * allowed + BATCH * 4 * ROWS_A_PROMPT


def test_few_allowed_rows_are_all_that_is_read(many: World) -> None:
    allowed = many.value("select count(*) from loradex.example_embeddings where task = %s", TASKS[0])
    call = "select * from loradex.nearest_examples(%s::vector, exclude_tasks => %s)"
    with as_if_large(many):
        scanned, read = rows_read(many, call, text_of(many.near("boats")), list(TASKS[1:]))
    assert scanned[VECTORS] == 0
    assert allowed <= read[VECTORS] <= 2 * allowed


LARGE_BATCH = 40
NEIGHBOURS = """
    select n.ordinal, n.rank, n.example_id
    from unnest(loradex.search_examples(array(
        select row(q.ordinal, q.query, 32, 0.9, 0.1, '{}', null, '{}', null)::loradex.route_request
        from unnest(%s::vector[]) with ordinality q(query, ordinal)), 'all-MiniLM-L6-v2')) n
    order by 1, 2"""
GIVEN_AWAY = "select parallel_workers_to_launch from pg_stat_database where datname = current_database()"


def test_a_large_batch_is_given_to_several_processes_and_finds_the_same(many: World) -> None:
    queries = [text_of(many.near(TASKS[number % len(TASKS)])) for number in range(LARGE_BATCH)]

    def given_away() -> int:
        many.rows("select pg_stat_force_next_flush()")
        return int(many.value(GIVEN_AWAY))

    alone = [row for query in queries for row in many.rows(NEIGHBOURS, [query])]
    before = given_away()
    together = many.rows(NEIGHBOURS, queries)

    assert given_away() > before
    assert [row[1:] for row in together] == [row[1:] for row in alone]
    assert [row[0] for row in together] == [number for number in range(1, LARGE_BATCH + 1) for _ in range(32)]
