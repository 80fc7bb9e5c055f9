"""Groups of near duplicates: one of each is in the index, and a search finds the others through it."""

import pytest
from tests.fix_many import rows_read
from tests.world import DIMENSIONS, ENCODER, TASKS, World, text_of, unit

ORIGINALS, COPIES = 12, 9
# More than are looked at before it is judged whether grouping is worth it.
APART = 1200
ALIKE = 0.98
# A search opens groups until it has 256 rows, and looks at some of the 64 candidates of the index itself.
OPENED, CANDIDATES = 256, 64
DROP = f"select loradex.drop_encoder_index('{ENCODER}')"
GROUP = f"select loradex.group_duplicates('{ENCODER}')"
BUILD = f"select loradex.build_encoder_index('{ENCODER}')"
DEFINITION = f"select pg_get_indexdef(to_regclass('loradex.' || loradex.encoder_index('{ENCODER}')))"
SCANS = f"select pg_stat_get_xact_numscans(to_regclass('loradex.' || loradex.encoder_index('{ENCODER}')))"
GROUPS = """
    select m.example_id, m.task, l.example_id, l.task, 1 - (m.embedding <=> l.embedding), l.duplicate_of
    from loradex.example_embeddings m
    join loradex.example_embeddings l on l.example_id = m.duplicate_of and l.encoder = m.encoder"""
FOUND = "select example_id, similarity from loradex.nearest_examples(%s::vector, %s, exclude_tasks => %s)"
EXACT = """
    select example_id, 1 - (embedding <=> %s::vector) from loradex.example_embeddings
    where task <> all (%s) order by 2 desc, 1 limit %s"""


def copied(world: World, task: str, ref: str) -> list[int]:
    """Ids of an example and its copies, at cosine 0.9998 to it."""
    original = world.near(task, 0.5)
    ids = [world.add_example(task, ref, original)]
    for number in range(COPIES):
        noise = 0.02 * unit(world.rng.normal(size=DIMENSIONS))
        ids.append(world.add_example(task, f"{ref}-{number}", unit(original + noise)))
    return ids


@pytest.fixture
def grouped(scratch: World) -> World:
    """`World` with 24 prompts and nine copies of each in two tasks, in groups."""
    group_copies(scratch)
    return scratch


def group_copies(world: World) -> None:
    world.rows(DROP)
    for task in TASKS[:2]:
        for number in range(ORIGINALS):
            copied(world, task, f"copied-{number}")
    assert world.value(GROUP) >= 0.8 * len(TASKS[:2]) * ORIGINALS * COPIES
    world.rows(BUILD)


def found(world: World, query: str, k: int, exclude: list[str]) -> dict[int, float]:
    return dict(world.rows(FOUND, query, k, exclude))


def members(world: World) -> int:
    return int(world.value("select count(duplicate_of) from loradex.example_embeddings"))


def test_every_copy_joins_an_example_of_its_task_that_it_is_like(grouped: World) -> None:
    groups = grouped.rows(GROUPS)
    assert len(groups) == members(grouped)
    for member, task, leader, leaders_task, similarity, standing_for in groups:
        assert member != leader
        assert task == leaders_task
        assert similarity >= ALIKE - 1e-3  # the index compares in half precision
        assert standing_for is None
    assert "duplicate_of IS NULL" in grouped.value(DEFINITION)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("exclude", [[], [TASKS[1]], [TASKS[0], *TASKS[2:]]])
def test_a_search_finds_what_the_exact_one_does(grouped: World, exclude: list[str], *, large: bool) -> None:
    if large:  # from 131,072 examples on exclusions are searched group by group
        grouped.connection.execute("set local allow_system_table_mods = on")
        grouped.connection.execute(
            "update pg_class set reltuples = 200000 where oid = 'loradex.example_embeddings'::regclass"
        )
    for number in range(10):
        query = text_of(grouped.near(TASKS[number % 2], 0.5))
        exact = dict(grouped.rows(EXACT, query, exclude, 16))
        nearby = found(grouped, query, 16, exclude)
        assert len(nearby) == 16
        assert min(nearby.values()) == pytest.approx(min(exact.values()), abs=1e-6)
        assert nearby.keys() == exact.keys()


def test_group_by_group_is_exact_and_reads_few_of_each(grouped: World) -> None:
    request = "array[row(1, %s::vector, 16, 0.9, 0.1, %s, null, '{}', null)::loradex.route_request]"
    values = (text_of(grouped.near(TASKS[1], 0.5)), [TASKS[0], *TASKS[2:]])
    by_group, exactly = (
        f"select n from unnest(loradex.{function}({request}, '{ENCODER}')) n"
        for function in ("search_groups", "search_exactly")
    )
    assert grouped.rows(by_group, *values) == grouped.rows(exactly, *values)
    grouped.connection.execute("set local enable_seqscan = off")
    grouped.connection.execute("discard plans")
    scanned, read = rows_read(grouped, by_group, *values)
    standing = grouped.value(
        "select count(*) from loradex.example_embeddings where duplicate_of is null and task = %s", TASKS[1]
    )
    assert scanned["example_embeddings"] == 0
    assert read["example_embeddings"] <= standing + OPENED


def test_a_prompt_costs_one_scan_of_the_index_and_a_few_groups(world: World) -> None:
    group_copies(world)
    # Postgres may not use a new index while an older transaction is open anywhere; here none needs it to wait.
    world.connection.execute("update pg_index set indcheckxmin = false where indcheckxmin")
    world.connection.execute("vacuum analyze loradex.example_embeddings")
    query = text_of(world.near(TASKS[0], 0.5))
    with world.connection.transaction():
        # In a table as small as this one sorting all rows would be cheaper.
        world.connection.execute("set local enable_seqscan = off")
        world.connection.execute("set local enable_sort = off")
        before = world.value(SCANS)
        scanned, read = rows_read(world, FOUND, query, 8, [])
        assert world.value(SCANS) == before + 1
        assert scanned["example_embeddings"] == 0
        assert 8 <= read["example_embeddings"] <= OPENED + CANDIDATES


def test_k_is_kept_where_groups_are_larger(grouped: World) -> None:
    for k in (1, 3, 64, 200):
        assert len(found(grouped, text_of(grouped.near(TASKS[0], 0.5)), k, [])) == k


def test_whose_example_is_deleted_stands_for_itself_again(grouped: World) -> None:
    ((leader, left),) = grouped.rows(
        "select duplicate_of, array_agg(example_id) from loradex.example_embeddings "
        "where duplicate_of is not null group by 1 order by 1 limit 1"
    )
    query = grouped.value(
        "select embedding::text from loradex.example_embeddings where example_id = %s", leader
    )
    grouped.rows("delete from loradex.examples where id = %s returning id", leader)
    assert (
        grouped.value(
            "select count(duplicate_of) from loradex.example_embeddings where example_id = any (%s)", left
        )
        == 0
    )
    assert set(left) <= found(grouped, query, len(left) + 5, []).keys()


def test_new_copies_are_found_at_once_and_join_when_the_index_is_built_again(grouped: World) -> None:
    before = members(grouped)
    ids = copied(grouped, TASKS[0], "later")
    query = grouped.value(
        "select embedding::text from loradex.example_embeddings where example_id = %s", ids[0]
    )
    assert set(ids) <= found(grouped, query, 32, []).keys()
    assert members(grouped) == before
    grouped.rows(DROP)
    joined = grouped.value(GROUP)
    grouped.rows(BUILD)
    assert joined >= 0.8 * COPIES
    assert members(grouped) == before + joined
    assert set(ids) <= found(grouped, query, 32, []).keys()


def test_the_same_text_in_two_tasks_is_two_examples(scratch: World) -> None:
    scratch.rows(DROP)
    vector = scratch.near(TASKS[0], 0.5)
    for number in range(COPIES):
        for task in TASKS[:2]:
            scratch.add_example(task, f"same-{number}", vector)
    assert scratch.value(GROUP) == 2 * (COPIES - 1)
    standing = scratch.rows(
        "select x.task, count(*) from loradex.example_embeddings v "
        "join loradex.examples x on x.id = v.example_id "
        "where x.source_ref ^@ 'same-' and v.duplicate_of is null group by 1 order by 1"
    )
    assert standing == [(TASKS[0], 1), (TASKS[1], 1)]


def test_where_few_are_copies_nothing_is_grouped(scratch: World) -> None:
    scratch.rows(DROP)
    copied(scratch, TASKS[0], "copied")
    apart = [text_of(unit(scratch.rng.normal(size=DIMENSIONS))) for _ in range(APART)]
    scratch.rows(
        """
        with example as (
            insert into loradex.examples (task, source_ref, sha256)
            select %s, 'apart-' || n, repeat('0', 64) from generate_series(1, %s) n
            returning id, task, source_ref
        )
        insert into loradex.example_embeddings (example_id, task, encoder, embedding)
        select id, task, %s, (%s::vector[])[split_part(source_ref, '-', 2)::int] from example
        returning example_id
        """,
        *(TASKS[1], APART, ENCODER, apart),
    )
    assert scratch.value(GROUP) == 0
    scratch.rows(BUILD)
    assert members(scratch) == 0
    assert "duplicate_of" not in scratch.value(DEFINITION)
