"""Neighbours, mixture and the batch: rows, exclusions, ties between the doors, plans."""

from typing import Any

import numpy as np
import psycopg
import pytest
from tests.fix_many import rows_read
from tests.world import BASE_MODEL, TASKS, WITH_ADAPTER, World, text_of, unit

EXACT = """
    select example_id, task, 1 - (embedding <=> %s::vector) from loradex.example_embeddings
    where task <> all (%s) order by embedding <=> %s::vector, example_id limit %s"""


@pytest.mark.parametrize("k", [1, 5, 32, 200, 1000])
@pytest.mark.parametrize("exclude", [[], ["boats"], list(TASKS[:4]), list(TASKS)])
def test_nearest_examples_are_the_nearest(scratch: World, k: int, exclude: list[str]) -> None:
    query = text_of(scratch.near("boats"))
    rows = scratch.rows(
        "select rank, example_id, task, similarity from loradex.nearest_examples(%s::vector, %s, "
        "exclude_tasks => %s)",
        *(query, k, exclude),
    )
    exact = scratch.rows(EXACT, query, exclude, query, k)
    assert [row[1:3] for row in rows] == [row[:2] for row in exact]
    assert [row[3] for row in rows] == pytest.approx([row[2] for row in exact], abs=1e-6)
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))


def mixture(world: World, query: str, **settings: Any) -> list[tuple[Any, ...]]:
    extra = "".join(f", {name} => %s" for name in settings)
    return world.rows(
        "select adapter, task, sha256, weight "
        f"from loradex.adapter_mixture(%s::vector, '{BASE_MODEL}'{extra})",
        *(query, *settings.values()),
    )


def test_weights_sum_to_one_and_follow_the_distribution(scratch: World) -> None:
    query = text_of(unit(scratch.centres["boats"] + scratch.centres["clouds"]))
    rows = mixture(scratch, query, top_p=1.0)
    tasks = dict(
        scratch.rows("select task, probability from loradex.task_distribution(%s::vector, top_p => 1)", query)
    )
    usable = {task: share for task, share in tasks.items() if task in WITH_ADAPTER}
    whole = sum(usable.values())
    assert {row[1]: row[3] for row in rows} == pytest.approx({task: p / whole for task, p in usable.items()})
    assert [row[3] for row in rows] == sorted((row[3] for row in rows), reverse=True)
    assert all(row[0] == f"{row[1]}-lora" for row in rows)


@pytest.mark.parametrize("count", [1, 5, 40])
def test_many_queries_get_the_mixtures_they_get_alone(scratch: World, count: int) -> None:
    queries = [text_of(scratch.near(TASKS[number % len(TASKS)])) for number in range(count)]
    settings = {"top_p": 0.8, "exclude_tasks": ["clouds"], "exclude_adapters": ["apples-lora"]}
    together = scratch.rows(
        "select ordinal, rank, adapter, task, sha256, weight from loradex.adapter_mixtures("
        f"%s::vector[], '{BASE_MODEL}', top_p => %s, exclude_tasks => %s, exclude_adapters => %s)",
        *(queries, *settings.values()),
    )
    alone = [
        (ordinal, rank, *row)
        for ordinal, query in enumerate(queries, 1)
        for rank, row in enumerate(mixture(scratch, query, **settings), 1)
    ]
    assert together == alone


def test_no_queries_have_no_mixtures(scratch: World) -> None:
    assert scratch.rows(f"select * from loradex.adapter_mixtures('{{}}', '{BASE_MODEL}')") == []


def test_a_task_without_adapter_gives_its_mass_away_before_the_cut(scratch: World) -> None:
    query = text_of(scratch.near("embers", 0.05))
    first = scratch.rows("select task, in_nucleus from loradex.task_distribution(%s::vector, 60)", query)
    assert first[0] == ("embers", True)
    rows = mixture(scratch, query, k=60)
    assert rows
    assert "embers" not in {row[1] for row in rows}
    assert sum(row[3] for row in rows) == pytest.approx(1)


def test_nothing_to_mix_gives_no_rows(scratch: World) -> None:
    query = text_of(scratch.near("embers"))
    assert mixture(scratch, query, exclude_tasks=list(WITH_ADAPTER)) == []
    assert mixture(scratch, query, exclude_adapters=[f"{task}-lora" for task in WITH_ADAPTER]) == []


def test_only_the_active_version_answers(scratch: World) -> None:
    query = text_of(scratch.near("boats", 0.01))
    ((_, _, old, _),) = mixture(scratch, query, k=5)
    scratch.register("boats", content="two")
    ((_, _, new, _),) = mixture(scratch, query, k=5)
    assert new != old
    scratch.rows("select loradex.set_adapter_state('boats-lora', 1, 'active')")
    assert mixture(scratch, query, k=5)[0][2] == old
    assert scratch.rows("select version, state from loradex.adapters where task = 'boats' order by 1") == [
        (1, "active"),
        (2, "retired"),
    ]
    scratch.rows("select loradex.set_adapter_state('boats-lora', null, 'retired')")
    assert mixture(scratch, query, k=5) == []


def test_the_same_content_again_is_the_same_adapter(scratch: World) -> None:
    before = scratch.value("select id from loradex.adapters where task = 'boats'")
    assert scratch.register("boats") == before


def test_a_batch_says_what_single_calls_say(scratch: World) -> None:
    jobs: list[dict[str, Any]] = [
        {},
        {"k": 3},
        {"top_p": 1.0, "temperature": 0.5},
        {"exclude_tasks": ["boats", "clouds"]},
        {"exclude_adapters": ["apples-lora"], "k": 150, "top_p": 1.0},
    ] * 3
    ids = scratch.enqueue(*jobs)
    queries = [scratch.near(TASKS[number % len(TASKS)], 0.3) for number in range(len(ids))]
    routings = scratch.route(ids, queries)
    assert set(routings) == set(ids)
    for job, settings, query in zip(ids, jobs, queries, strict=True):
        routing = routings[job]
        single = mixture(scratch, text_of(query), **settings)
        assert [(part["adapter"], part["task"], part["sha256"]) for part in routing["mixture"]] == [
            row[:3] for row in single
        ]
        assert [part["weight"] for part in routing["mixture"]] == pytest.approx([row[3] for row in single])
        shared = {name: value for name, value in settings.items() if name in ("k", "exclude_tasks")}
        extra = "".join(f", {name} => %s" for name in shared)
        near = scratch.rows(
            "select n.rank, n.example_id, e.source_ref, n.task "
            f"from loradex.nearest_examples(%s::vector{extra}) n "
            "join loradex.examples e on e.id = n.example_id order by 1",
            *(text_of(query), *shared.values()),
        )
        assert [
            (one["rank"], one["example_id"], one["source_ref"], one["task"]) for one in routing["neighbours"]
        ] == near
        assert sum(one["probability"] for one in routing["distribution"]) == pytest.approx(1)
        assert (routing["encoder"], routing["encoder_revision"]) == ("all-MiniLM-L6-v2", "r1")
        assert routing["k"] == settings.get("k", 32)
        assert routing["milliseconds"] > 0


def test_methods_choose_their_adapters(scratch: World) -> None:
    wanted = [
        *({"method": "base"}, {"method": "own", "adapter": "clouds-lora"}),
        *({"method": "top1"}, {"method": "uniform"}, {"method": "ties"}),
        {"method": "uniform", "exclude_tasks": ["boats"], "exclude_adapters": ["clouds-lora"]},
    ]
    ids = scratch.enqueue(*wanted)
    routings = scratch.route(ids, [scratch.near("boats", 0.05)] * len(ids))
    base, own, top1, uniform, ties, some = (
        [(part["task"], part["weight"], part["rank"]) for part in routings[job]["mixture"]] for job in ids
    )
    assert base == []
    assert own == [("clouds", 1, 1)]
    assert top1 == [("boats", 1, 1)]
    assert {part[0]: part[1] for part in uniform} == dict.fromkeys(WITH_ADAPTER, 0.25)
    assert ties[0][0] == "boats"
    assert {part[0]: part[1] for part in some} == {"apples": 0.5, "deserts": 0.5}


def test_an_adapter_retired_meanwhile_is_said(scratch: World) -> None:
    ids = scratch.enqueue({"method": "own", "adapter": "boats-lora"})
    scratch.rows("select loradex.set_adapter_state('boats-lora', 1, 'retired')")
    with pytest.raises(psycopg.Error, match="activate it") as error:
        scratch.route(ids, [scratch.near("boats")])
    assert error.value.sqlstate == "LX002"


def test_without_examples_the_mixture_is_empty(connection: Any) -> None:
    world = World.stocked(connection, examples=0)
    (job,) = world.enqueue({})
    routing = world.route([job], [world.near("boats")])[job]
    assert (routing["neighbours"], routing["distribution"], routing["mixture"]) == ([], [], [])


def test_an_encoder_of_its_own_dimensions(scratch: World) -> None:
    scratch.rows("select loradex.register_encoder('tiny', 'r1', 3)")
    scratch.rows(
        "insert into loradex.example_embeddings select id, 'tiny', task, '[1,2,3]' from loradex.examples "
        "where task = 'boats' returning 1"
    )
    tiny, usual = scratch.enqueue({"encoder": "tiny"}, {})
    routings = scratch.route([tiny, usual], [np.array([1, 2, 3]), scratch.near("apples")])
    assert {one["task"] for one in routings[tiny]["neighbours"]} == {"boats"}
    assert routings[usual]["encoder"] == "all-MiniLM-L6-v2"


def test_vectors_of_another_length_are_not_stored(scratch: World) -> None:
    with pytest.raises(psycopg.Error, match="expected 16 dimensions"):
        scratch.add_example("boats", "short", np.array([1.0, 2.0]))


def test_text_that_is_not_its_hash_is_not_stored(scratch: World) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        scratch.rows("update loradex.examples set prompt = 'forged' returning 1")


def test_the_search_uses_the_index_and_reads_few_rows(many: World) -> None:
    query = text_of(many.near("boats"))
    with many.connection.transaction():
        search = "select * from loradex.nearest_examples(%s::vector, 16)"
        scanned, read = rows_read(many, search, query)
    assert scanned["example_embeddings"] == 0
    assert 16 <= read["example_embeddings"] <= 150


def test_a_filtered_search_can_use_the_index(many: World) -> None:
    """It reads about as many more rows as it has to skip, 2,400 of 12,200 here; the graph decides.

    A scan of all is as cheap here, so it is forbidden.
    """
    query = text_of(many.near("boats"))
    search = """
        select * from unnest(loradex.search_vectors(
            array[row(1, %s::vector, 16, 1, 1, '{boats}', null, '{}', null)::loradex.route_request],
            'all-MiniLM-L6-v2', true))"""
    with many.connection.transaction():
        many.connection.execute("set local enable_seqscan = off")
        many.connection.execute("set local hnsw.iterative_scan = relaxed_order")
        scanned, read = rows_read(many, search, query)
    assert scanned["example_embeddings"] == 0
    assert 16 <= read["example_embeddings"] <= 6000


@pytest.mark.parametrize("exclude", [[], list(TASKS[:4]), list(TASKS[1:])])
def test_excluding_most_rows_keeps_recall(many: World, exclude: list[str]) -> None:
    found = wanted = 0
    for _ in range(20):
        query = text_of(many.near("boats", 0.5))
        near = many.rows(
            "select example_id from loradex.nearest_examples(%s::vector, exclude_tasks => %s)", query, exclude
        )
        exact = many.rows(EXACT, query, exclude, query, 32)
        assert len(near) == 32
        found += len({row[0] for row in near} & {row[0] for row in exact})
        wanted += 32
    assert found / wanted >= 0.98
