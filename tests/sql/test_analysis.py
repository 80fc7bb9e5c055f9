"""The analyst's views and functions, against plain counts over the tables."""

import math
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.world import TASKS, World, text_of

from loradex.db.session import connect

VIEWS = (
    *("adapter_usage", "answer_provenance", "nucleus_profile", "queue_health", "retrieval_coverage"),
    "task_confusion",
)


@pytest.fixture
def asked(scratch: World) -> World:
    """Ten answers, two near each task, whose true task is known."""
    for task in TASKS:
        scratch.answered(*[{"expected_task": task, "top_p": 1.0, "k": 60}] * 2, near=task)
    return scratch


def test_provenance_has_one_row_an_answer(asked: World) -> None:
    rows = asked.rows(
        "select answer_id, top_task, expected_task, adapters, weights, method, total_milliseconds, position "
        "from loradex.answer_provenance order by position"
    )
    assert len(rows) == 10
    for answer, top, expected, adapters, weights, method, total, _ in rows:
        told = asked.value("select loradex.explain(%s)", answer)
        assert top == expected == told["distribution"][0]["task"]
        assert adapters == [part["adapter"] for part in told["mixture"]]
        assert weights == [part["weight"] for part in told["mixture"]]
        assert (method, total) == ("affinity_calibrated_cat", 12.5)


def test_an_answer_of_nothing_is_there_too(connection: Any) -> None:
    world = World.stocked(connection, examples=0)
    world.answered({"expected_task": "boats"})
    assert world.rows("select top_task, adapters from loradex.answer_provenance") == [(None, None)]
    assert world.rows("select nearest_similarity, out_of_domain from loradex.retrieval_coverage") == [
        (None, True)
    ]
    assert world.rows("select adapters, entropy, effective_adapters from loradex.nucleus_profile") == [
        (0, 0, 0)
    ]
    assert world.rows("select expected_task, top_task, answers from loradex.task_confusion") == [
        ("boats", None, 1)
    ]


def test_usage_is_the_sum_of_components(asked: World) -> None:
    rows = asked.rows(
        "select adapter, answers, weight, weight_share, median_milliseconds from loradex.adapter_usage"
    )
    counted = asked.rows(
        "select adapter, count(*), sum(weight) from loradex.merge_components group by adapter"
    )
    assert {row[0]: row[1] for row in rows} == {row[0]: row[1] for row in counted}
    assert {row[0]: row[2] for row in rows} == pytest.approx({row[0]: row[2] for row in counted})
    assert sum(row[3] for row in rows) == pytest.approx(1)
    assert {row[4] for row in rows} == {12.5}


def test_confusion_is_a_diagonal_where_tasks_lie_apart(asked: World) -> None:
    rows = asked.rows("select expected_task, top_task, answers, share from loradex.task_confusion order by 1")
    assert rows == [(task, task, 2, 1.0) for task in TASKS]


def test_a_question_far_from_all_is_out_of_domain(asked: World) -> None:
    strange = -sum(asked.centres.values())
    (job,) = asked.enqueue({})
    attempt = asked.claim()[job]
    far = asked.record(job, attempt, asked.route([job], [strange])[job])
    rows = {
        row[0]: row[1:]
        for row in asked.rows(
            "select answer_id, nearest_similarity, percentile, in_domain_similarity, out_of_domain "
            "from loradex.retrieval_coverage"
        )
    }
    assert len(rows) == 11
    assert rows[far][1] == 0
    assert rows[far][3] is True
    assert all(out == (near < edge) for near, _, edge, out in rows.values())
    assert sum(out for *_, out in rows.values()) < 5


def test_an_answer_without_neighbours_is_the_farthest(asked: World) -> None:
    (job,) = asked.enqueue({"exclude_tasks": list(TASKS)})
    attempt = asked.claim()[job]
    alone = asked.record(job, attempt, asked.route([job], [asked.near("boats")])[job])
    told = "select nearest_similarity, percentile, out_of_domain from loradex.retrieval_coverage where answer_id = %s"
    assert asked.rows(told, alone) == [(None, 0, True)]
    next_farthest = asked.value(
        "select percentile from loradex.retrieval_coverage order by nearest_similarity nulls last limit 1"
    )
    assert next_farthest == pytest.approx(0.1)


def test_one_example_has_no_edge(connection: Any) -> None:
    """Nothing says how near examples lie to each other: what has a neighbour is not called out of the domain."""
    world = World.stocked(connection, examples=0)
    alone = world.near("boats")
    world.add_example("boats", "only", alone)
    (job,) = world.enqueue({})
    attempt = world.claim()[job]
    world.record(job, attempt, world.route([job], [alone])[job])
    assert world.value("select similarity from loradex.domain_edge('all-MiniLM-L6-v2')") is None
    ((nearest, out),) = world.rows("select nearest_similarity, out_of_domain from loradex.retrieval_coverage")
    assert (nearest, out) == (pytest.approx(1), False)
    world.answered({"exclude_tasks": ["boats"]})
    assert world.rows(
        "select nearest_similarity, out_of_domain from loradex.retrieval_coverage where nearest_similarity is null"
    ) == [(None, True)]


def test_the_sample_of_the_edge_does_not_grow_with_the_tasks(scratch: World) -> None:
    """20 examples of each task, or about 2,000 in all."""
    edge = "select loradex.in_domain_similarity(examples_a_task => %s)"
    assert scratch.value(edge, None) == scratch.value(edge, 20)
    for number in range(400 - len(TASKS)):
        scratch.rows("select loradex.register_task(%s, 'things', 'accuracy', '{}')", f"another-{number}")
    assert scratch.value(edge, None) == scratch.value(edge, 5)
    assert scratch.value(edge, 5) != scratch.value(edge, 20)


def test_neighbours_belong_to_their_examples_in_every_chunk(many: World) -> None:
    rows = many.rows(
        "select n.example_id, n.task = x.task, n.neighbour_task = y.task, "
        "abs(n.similarity - (1 - (x.embedding <=> y.embedding))) from "
        "loradex.example_neighbours(2, examples_a_task => 120) n "
        "join loradex.example_embeddings x on x.example_id = n.example_id "
        "join loradex.example_embeddings y on y.example_id = n.neighbour_id and y.example_id <> n.example_id"
    )
    assert len(rows) == 2 * 120 * len(TASKS)
    assert len({row[0] for row in rows}) == 120 * len(TASKS)
    assert all(row[1] and row[2] and row[3] < 1e-6 for row in rows)


def test_the_queue_is_counted(asked: World) -> None:
    asked.enqueue({}, {}, {})
    asked.claim(rows=1)
    asked.rows("update loradex.jobs set lease_until = now() where state = 'running' returning 1")
    ((queued, running, expired, done, failed),) = asked.rows(
        "select queued, running, expired_leases, done_last_hour, failed_last_hour from loradex.queue_health"
    )
    assert (queued, running, expired, done, failed) == (2, 1, 1, 10, 0)


def test_profiles_measure_width(asked: World) -> None:
    for answer, adapters, top, entropy, effective in asked.rows(
        "select answer_id, adapters, top_weight, entropy, effective_adapters from loradex.nucleus_profile"
    ):
        weights = [
            row[0]
            for row in asked.rows("select weight from loradex.merge_components where answer_id = %s", answer)
        ]
        assert (adapters, top) == (len(weights), max(weights))
        assert entropy == pytest.approx(-math.fsum(w * math.log(w) for w in weights), abs=1e-12)
        assert effective == pytest.approx(math.exp(entropy))


def test_influence_is_a_share_of_the_votes(asked: World) -> None:
    answer = asked.value("select id from loradex.answers order by position limit 1")
    votes = 0.0
    for (example,) in asked.rows(
        "select example_id from loradex.retrieved_examples where answer_id = %s", answer
    ):
        mine = [
            row
            for row in asked.rows("select answer_id, vote from loradex.example_influence(%s)", example)
            if row[0] == answer
        ]
        assert len(mine) == 1
        votes += mine[0][1]
    assert votes == pytest.approx(1)


def test_similar_answers_are_the_nearest_questions(asked: World) -> None:
    query = asked.near("boats", 0.05)
    rows = asked.rows(
        "select rank, answer_id, similarity, mixture from loradex.similar_answers(%s::vector, 2)",
        text_of(query),
    )
    assert [row[0] for row in rows] == [1, 2]
    assert rows[0][2] >= rows[1][2]
    for _, answer, similarity, mixture in rows:
        told = asked.value("select loradex.explain(%s)", answer)
        assert told["expected_task"] == "boats"
        assert mixture == {part["adapter"]: part["weight"] for part in told["mixture"]}
        assert similarity == pytest.approx(float(query @ told["retrieval"]["query"]), abs=1e-5)


def test_nothing_changes_under_the_same_settings(asked: World) -> None:
    rows = asked.rows("select total_variation, tasks_in, tasks_out from loradex.reroute_all()")
    assert len(rows) == 10
    assert all(row[0] == pytest.approx(0, abs=1e-9) and row[1:] == ([], []) for row in rows)


def test_other_settings_change_what_reroute_says(asked: World) -> None:
    for answer, variation, came, went in asked.rows(
        "select answer_id, total_variation, tasks_in, tasks_out "
        "from loradex.reroute_all(top_p => 0.5, k => 8)"
    ):
        stored = dict(
            asked.rows(
                "select task, weight from loradex.retrieved_tasks where answer_id = %s and in_nucleus", answer
            )
        )
        # embers has no adapter, so it never has weight; what is left is what reroute would cut.
        query = asked.value("select query::text from loradex.retrievals where answer_id = %s", answer)
        fresh = dict(
            asked.rows(
                "select task, weight "
                "from loradex.adapter_mixture(%s::vector, 'smollm2-135m-instruct', 8, 0.5)",
                query,
            )
        )
        tasks = stored.keys() | fresh.keys()
        expected = sum(abs(stored.get(task, 0) - fresh.get(task, 0)) for task in tasks) / 2
        expected += abs(sum(stored.values()) - sum(fresh.values())) / 2
        assert variation == pytest.approx(expected, abs=1e-9)
        assert set(came) == fresh.keys() - stored.keys()
        assert set(went) == stored.keys() - fresh.keys()
    assert asked.rows("select * from loradex.reroute_all(since => now() + interval '1 day')") == []


def test_retiring_is_foreseen(asked: World) -> None:
    foreseen = {
        row[0]: row[1:]
        for row in asked.rows(
            "select answer_id, weight, total_variation, mixture from loradex.simulate_retire('boats-lora')"
        )
    }
    using = asked.rows("select answer_id, weight from loradex.merge_components where adapter = 'boats-lora'")
    assert {answer: row[0] for answer, row in foreseen.items()} == dict(using)
    assert foreseen
    asked.rows("select loradex.set_adapter_state('boats-lora', 1, 'retired')")
    for answer, (weight, variation, mixture) in foreseen.items():
        query, k = asked.rows("select query::text, k from loradex.retrievals where answer_id = %s", answer)[0]
        after = dict(
            asked.rows(
                "select adapter, weight "
                "from loradex.adapter_mixture(%s::vector, 'smollm2-135m-instruct', %s, 1)",
                query,
                k,
            )
        )
        assert mixture == pytest.approx(after)
        assert variation == pytest.approx(weight)


@pytest.mark.parametrize("method", ["top1", "cat", "affinity"])
def test_what_retiring_would_do_is_what_routing_then_does(scratch: World, method: str) -> None:
    setting = {"method": method, "k": 60, "temperature": 1.0}
    answers = scratch.answered(*[setting] * 10)
    told = "select answer_id, weight, total_variation, mixture from loradex.simulate_retire('boats-lora')"
    foreseen = {row[0]: row[1:] for row in scratch.rows(told)}
    using = scratch.rows("select answer_id from loradex.merge_components where adapter = 'boats-lora'")
    assert foreseen.keys() == {answer for (answer,) in using}
    assert {answers[1], answers[6]} <= foreseen.keys()
    if method == "top1":
        assert {row[:2] for row in foreseen.values()} == {(1.0, 1.0)}
    queries = dict(scratch.rows("select answer_id, query::text from loradex.retrievals"))
    scratch.rows("select loradex.set_adapter_state('boats-lora', 1, 'retired')")
    for answer, (_, _, mixture) in foreseen.items():
        (job,) = scratch.enqueue(setting)
        scratch.claim()
        ((routing,),) = scratch.rows(
            "select routing from loradex.route_jobs(array[%s]::uuid[], array[%s]::vector[])",
            *(job, queries[answer]),
        )
        then = {part["adapter"]: part["weight"] for part in routing["mixture"]}
        assert mixture == pytest.approx(then)


def test_retiring_the_only_adapter_leaves_the_bare_model(scratch: World) -> None:
    scratch.answered({"k": 5}, near="boats")
    assert scratch.rows(
        "select weight, total_variation, mixture from loradex.simulate_retire('boats-lora')"
    ) == [(1.0, 1.0, {})]


def test_duplicates_within_and_across_tasks_are_found(scratch: World) -> None:
    twin = scratch.near("boats")
    first, second, third = (
        scratch.add_example(task, ref, twin)
        for task, ref in (("boats", "a"), ("boats", "b"), ("clouds", "c"))
    )
    rows = scratch.rows(
        "select example_id, duplicate_id, similarity, same_text from loradex.duplicate_examples(0.999)"
    )
    assert {row[:2] for row in rows} == {(first, second), (first, third), (second, third)}
    assert all(row[2] == pytest.approx(1) and row[3] is False for row in rows)


def test_an_example_among_strangers_is_found(scratch: World) -> None:
    wrong = scratch.add_example("clouds", "lost", scratch.near("boats", 0.05))
    rows = scratch.rows(
        "select example_id, task, source_ref, looks_like from loradex.mislabelled_candidates(8)"
    )
    assert (wrong, "clouds", "lost", "boats") in rows
    assert all(row[1] != row[3] for row in rows)


def test_overlap_is_a_matrix(scratch: World) -> None:
    rows = scratch.rows("select task, neighbour_task, share, mean_similarity from loradex.task_overlap(5)")
    for task in TASKS:
        mine = {row[1]: row[2] for row in rows if row[0] == task}
        assert sum(mine.values()) == pytest.approx(1)
        assert max(mine, key=mine.__getitem__) == task
    counted = scratch.rows("select task, count(*) from loradex.example_neighbours(5) group by task")
    assert dict(counted) == dict.fromkeys(TASKS, 5 * 40)
    some = scratch.rows(
        "select count(distinct example_id) from loradex.example_neighbours(5, examples_a_task => 7)"
    )
    assert some == [(35,)]
    assert scratch.rows(
        "select count(*) from loradex.example_neighbours(5) where example_id = neighbour_id"
    ) == [(0,)]


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("example_neighbours(0)", "LX001"),
        ("example_neighbours(1000)", "LX001"),
        ("example_neighbours(1, 'nobody')", "LX002"),
        ("example_neighbours(1, null)", "LX002"),
        ("duplicate_examples(0)", "LX001"),
        ("duplicate_examples('nan')", "LX001"),
        ("duplicate_examples(null)", "LX001"),
        ("mislabelled_candidates(0)", "LX001"),
        ("mislabelled_candidates(5, 0.5)", "LX001"),
        ("task_overlap(-1)", "LX001"),
        ("in_domain_similarity(percentile => 2)", "LX001"),
        ("in_domain_similarity('nobody')", "LX002"),
        ("example_influence(-1)", "LX002"),
        ("example_influence(null)", "LX002"),
        ("similar_answers('[1]')", "LX005"),
        ("similar_answers(null)", "LX005"),
        ("reroute_all(0)", "LX001"),
        ("reroute_all(top_p => 2)", "LX001"),
        ("reroute_all(temperature => 0)", "LX001"),
        ("simulate_retire('nobody')", "LX002"),
        ("simulate_retire(null)", "LX002"),
    ],
)
def test_bad_arguments(scratch: World, statement: str, sqlstate: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        scratch.rows(f"select * from loradex.{statement}")
    assert error.value.sqlstate == sqlstate, str(error.value)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("role", ["loradex_reader", "loradex_worker", "loradex_admin", "loradex_client"])
def test_who_reads_views(scratch: World, view: str, role: str) -> None:
    allowed = scratch.value("select has_table_privilege(%s, %s, 'select')", role, f"loradex.{view}")
    assert allowed == (role != "loradex_client" or view == "answer_provenance")


def test_a_view_shows_a_client_its_own(world: World, role_url: Callable[..., str]) -> None:
    world.answered({})
    with connect(role_url("loradex_client", member=True)) as connection:
        assert connection.execute("select * from loradex.answer_provenance").fetchall() == []
    with connect(role_url("loradex_reader")) as connection:
        reader = World(connection, world.centres, world.rng)
        for view in VIEWS:
            reader.rows(f"select * from loradex.{view}")
        assert reader.value("select count(*) from loradex.answer_provenance") == 1
        assert len(reader.rows("select * from loradex.reroute_all()")) == 1
        assert reader.rows("select * from loradex.task_overlap()")
