"""Affinities: kept once a pair, refused when they make no sense, and the mixture that follows from them."""

from itertools import product
from typing import Any

import numpy as np
import psycopg
import pytest
from tests.world import BASE_MODEL, TASKS, WITH_ADAPTER, Vector, World, sha256, text_of

MIXTURE = """
    select task, mass, weight from loradex.affinity_mixture(%s::vector, %s, top_p => %s, exclude_tasks => %s,
        exclude_adapters => %s) order by rank"""


def keep(world: World, task: str, trained_on: str, score: object, n: object = 32, content: str = "") -> None:
    world.rows(
        "select loradex.register_affinity(%s, %s, %s, %s, %s)",
        *(task, BASE_MODEL, sha256(trained_on + content), score, n),
    )


def mixture(
    world: World,
    query: Vector,
    top_p: float = 1.0,
    tasks: tuple[str, ...] = (),
    adapters: tuple[str, ...] = (),
) -> list[tuple[Any, ...]]:
    return world.rows(MIXTURE, text_of(query), BASE_MODEL, top_p, list(tasks), list(adapters))


def masses(scores: dict[tuple[str, str], float], probability: dict[str, float], n: int) -> dict[str, float]:
    """The header's formula: adapters (by task) → mass."""
    found = dict.fromkeys(WITH_ADAPTER, 0.0)
    for task, likely in probability.items():
        judged = {
            adapter: scores.get((task, adapter), 1) + (0.1 if adapter == task else 0)
            for adapter in WITH_ADAPTER
            if (task, adapter) in scores or adapter == task
        }
        votes = {adapter: np.exp(score / 0.01) for adapter, score in judged.items()}
        for adapter, vote in votes.items():
            share = likely * vote / sum(votes.values())
            counted = share if adapter == task else share * n / (n + 20)
            found[adapter] += counted
            if task in judged:
                found[task] += share - counted
    whole = sum(found.values())
    return {adapter: mass / whole for adapter, mass in found.items() if mass > 0}


@pytest.mark.parametrize("seed", range(5))
def test_the_masses_are_those_of_the_formula(scratch: World, seed: int) -> None:
    """Of random figures for some of the pairs, `embers` (which has no adapter) among the tasks."""
    rng = np.random.default_rng(seed)
    scores = {
        pair: round(float(rng.uniform(0.3, 0.5)), 3)
        for pair in product(TASKS, WITH_ADAPTER)
        if rng.random() < 0.7
    }
    for (task, trained_on), score in scores.items():
        keep(scratch, task, trained_on, score)
    query = scratch.near("embers", 1.0)
    probability = {
        row[0]: row[1]
        for row in scratch.rows(
            "select task, probability from loradex.task_distribution(%s::vector)", text_of(query)
        )
    }
    expected = masses(scores, probability, 32)
    rows = mixture(scratch, query)
    assert {row[0]: row[1] for row in rows} == pytest.approx(expected, abs=1e-9)
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    assert sum(row[2] for row in rows) == pytest.approx(1)
    cut = mixture(scratch, query, top_p=0.6)
    assert sum(row[1] for row in cut[:-1]) < 0.6 <= sum(row[1] for row in cut) + 1e-12
    assert [row[0] for row in cut] == [row[0] for row in rows[: len(cut)]]
    assert sum(row[2] for row in cut) == pytest.approx(1)


def test_a_measured_stranger_takes_the_place_of_what_is_excluded(scratch: World) -> None:
    """All around it are boats; their own adapter is out, and clouds is the best of the rest."""
    keep(scratch, "boats", "clouds", 0.75)
    keep(scratch, "boats", "apples", 0.5)
    keep(scratch, "boats", "boats", 0.7)
    query = scratch.near("boats", 0.05)
    assert mixture(scratch, query, 0.5)[0][0] == "boats"
    assert [row[0] for row in mixture(scratch, query, 0.5, adapters=("boats-lora",))] == ["clouds"]
    assert "boats" not in {row[0] for row in mixture(scratch, query, tasks=("boats",))}
    scratch.rows("select loradex.set_adapter_state('clouds-lora', 1, 'retired')")
    assert [row[0] for row in mixture(scratch, query, 0.5, adapters=("boats-lora",))] == ["apples"]


SCANS = """
    select coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)
    from pg_stat_xact_user_tables where relid = 'loradex.task_affinities'::regclass"""


def test_adapters_that_were_not_measured_on_a_task_cost_it_nothing(scratch: World) -> None:
    """Figures are looked for by task, not by task and adapter: once, and once for an adapter of its own."""
    for task, trained_on in product(TASKS, WITH_ADAPTER):
        keep(scratch, task, trained_on, 0.5)
    for number in range(50):
        scratch.rows("select loradex.register_task(%s, 'things', 'accuracy', '{}')", f"another-{number}")
        scratch.register(f"another-{number}")
    query = scratch.near("boats", 1.0)
    before = scratch.value(SCANS)
    assert {row[0] for row in mixture(scratch, query)} == set(WITH_ADAPTER)
    assert 0 < scratch.value(SCANS) - before <= 3 * len(TASKS)


def test_a_task_that_was_declared_twice_counts_once(scratch: World) -> None:
    """Whatever the list of what an adapter was trained on holds."""
    query = scratch.near("embers", 0.2)
    scratch.rows("update loradex.adapters set trained_on = '{embers}' where task = 'boats' returning 1")
    once = mixture(scratch, query)
    scratch.rows(
        "update loradex.adapters set trained_on = '{embers,embers}' where task = 'boats' returning 1"
    )
    assert mixture(scratch, query) == once
    assert once[0][0] == "boats"


def test_without_figures_it_is_what_retrieval_says(scratch: World) -> None:
    query = scratch.near("boats", 1.0)
    usual = scratch.rows(
        "select task, weight from loradex.adapter_mixture(%s::vector, %s, top_p => 1)",
        *(text_of(query), BASE_MODEL),
    )
    found = {row[0]: row[2] for row in mixture(scratch, query)}
    assert found == pytest.approx(dict(usual))


def test_a_new_version_starts_without_a_figure(scratch: World) -> None:
    keep(scratch, "boats", "boats", 0.1)
    keep(scratch, "boats", "clouds", 0.9)
    query = scratch.near("boats", 0.05)
    assert mixture(scratch, query, 0.5)[0][0] == "clouds"
    scratch.register("boats", content="again")
    assert mixture(scratch, query, 0.5)[0][0] == "boats"
    keep(scratch, "boats", "boats", 0.1, content="again")
    assert mixture(scratch, query, 0.5)[0][0] == "clouds"


def test_few_rows_decide_little(scratch: World) -> None:
    """Of a stranger's vote n / (n + 20) counts, n being the fewer rows of the two; the rest is retrieval's."""
    query = scratch.near("boats", 0.05)

    def own() -> float:
        return {row[0]: row[1] for row in mixture(scratch, query)}.get("boats", 0)

    keep(scratch, "boats", "clouds", 1, 3)
    keep(scratch, "boats", "boats", 0, 3)
    assert own() == pytest.approx(20 / 23)
    assert {row[0] for row in mixture(scratch, query, 0.9)} == {"boats", "clouds"}
    keep(scratch, "boats", "clouds", 1, 500)
    assert own() == pytest.approx(20 / 23), "its own figure is what three rows say"
    keep(scratch, "boats", "boats", 0, 500)
    assert own() == pytest.approx(20 / 520)
    scratch.rows("select loradex.change_setting('affinity_rows', '0')")
    assert own() == pytest.approx(0)


def test_few_rows_leave_a_task_without_an_adapter_to_the_others(scratch: World) -> None:
    """Its votes go where retrieval would send them: to the other tasks."""
    keep(scratch, "embers", "clouds", 0.9, 5)
    query = scratch.near("embers", 0.1) + scratch.near("boats", 0.1)
    likely = dict(
        scratch.rows(
            "select task, probability from loradex.task_distribution(%s::vector, 200)", text_of(query)
        )
    )
    clouds = likely["clouds"] + likely["embers"] * 5 / 25
    found = dict(
        scratch.rows(
            "select task, mass from loradex.affinity_mixture(%s::vector, %s, 200, 1)",
            *(text_of(query), BASE_MODEL),
        )
    )
    assert found["clouds"] == pytest.approx(clouds / (1 - likely["embers"] * 20 / 25))


def test_an_interval_says_how_sure_a_figure_is(scratch: World) -> None:
    keep(scratch, "boats", "clouds", 0.6, 30)
    keep(scratch, "boats", "apples", 1, 3)
    rows = scratch.rows(
        "select adapter, n, round(low::numeric, 3), round(high::numeric, 3), counts "
        "from loradex.affinity_intervals order by n"
    )
    # Wilson's intervals, as tables have them.
    assert [(row[0], row[1], float(row[2]), float(row[3])) for row in rows] == [
        ("apples-lora", 3, 0.439, 1),
        ("clouds-lora", 30, 0.423, 0.754),
    ]
    assert [row[4] for row in rows] == pytest.approx([3 / 23, 30 / 50])


def test_an_adapter_trained_elsewhere_too(scratch: World) -> None:
    """It stands in where a task has no adapter, has the head start, and is out where the task is excluded."""
    query = scratch.near("embers", 0.05)
    assert mixture(scratch, query) == []
    scratch.value(
        "select adapter_id from loradex.register_adapter('wide', 'clouds', %s, %s, 'x', 8, 16, '{q}', 'float32', "
        "1, 1, trained_on => '{embers,boats,clouds}')",
        *(BASE_MODEL, sha256("wide")),
    )
    assert scratch.value("select trained_on from loradex.adapters where name = 'wide'") == ["embers", "boats"]
    assert [row[0] for row in mixture(scratch, query)] == ["clouds"]
    boats = scratch.near("boats", 0.05)
    assert [row[0] for row in mixture(scratch, boats)] == ["boats"], "not while it has one of its own"
    assert mixture(scratch, boats, tasks=("embers",)) == mixture(scratch, boats)
    assert mixture(scratch, query, tasks=("boats",)) == []
    for trained_on, content, score in (("boats", "", 0.6), ("wide", "", 0.65), ("apples", "", 0.65)):
        scratch.rows(
            "select loradex.register_affinity('boats', %s, %s, %s, 200)",
            *(BASE_MODEL, sha256(trained_on + content), score),
        )
    assert next(row[0] for row in mixture(scratch, boats)) == "clouds", "measured, with the head start"


def test_a_job_is_routed_as_the_analyst_sees_it(scratch: World) -> None:
    keep(scratch, "boats", "clouds", 0.95)
    wanted = {"method": "affinity", "exclude_adapters": ["boats-lora"]}
    jobs = scratch.enqueue(wanted, {"method": "cat"}, {"method": "affinity"})
    query = scratch.near("boats", 0.3)
    routings = scratch.route(jobs, [query] * 3)
    for job, excluded in ((jobs[0], ("boats-lora",)), (jobs[2], ())):
        seen = [(row[0], row[2]) for row in mixture(scratch, query, 0.9, adapters=excluded)]
        routed = [(part["task"], part["weight"]) for part in routings[job]["mixture"]]
        assert routed == [(task, pytest.approx(weight)) for task, weight in seen]
    assert routings[jobs[0]]["mixture"][0]["task"] == "clouds"
    assert routings[jobs[1]]["mixture"][0]["task"] == "boats"


def test_measuring_again_replaces_the_figure(scratch: World) -> None:
    keep(scratch, "boats", "clouds", 0.5, 8)
    keep(scratch, "boats", "clouds", 0.75, 32)
    assert scratch.rows("select task, score, n from loradex.task_affinities") == [("boats", 0.75, 32)]


@pytest.mark.parametrize(
    ("task", "trained_on", "score", "n", "sqlstate"),
    [
        *[("boats", "boats", score, 32, "LX001") for score in (-0.1, 1.1, float("nan"), float("inf"), None)],
        *[("boats", "boats", 0.5, n, "LX001") for n in (0, -1, None)],
        *[(task, "boats", 0.5, 32, "LX002") for task in ("oceans", None)],
        ("boats", "oceans", 0.5, 32, "LX002"),
    ],
)
def test_a_figure_that_makes_no_sense_is_refused(
    scratch: World, task: str, trained_on: str, score: object, n: object, sqlstate: str
) -> None:
    with pytest.raises(psycopg.Error) as refused:
        keep(scratch, task, trained_on, score, n)
    assert refused.value.sqlstate == sqlstate


@pytest.fixture
def measured(scratch: World) -> World:
    """Three answers of each task by affinity, and one by retrieval alone."""
    rng = np.random.default_rng(3)
    for task, trained_on in product(TASKS, WITH_ADAPTER):
        keep(scratch, task, trained_on, round(float(rng.uniform(0.47, 0.5)), 3))
    for task in TASKS:
        scratch.answered(*[{"method": "affinity", "k": 60}] * 3, {"k": 60, "method": "cat"}, near=task)
    return scratch


def of_answer(world: World, answer: object, what: str) -> dict[str, float]:
    """What the method of the answer would take for its stored query under other settings."""
    function = world.value(
        "select case method when 'cat' then 'adapter_mixture' else 'affinity_mixture' end "
        "from loradex.merge_results where answer_id = %s",
        answer,
    )
    return dict(
        world.rows(
            f"select m.task, m.weight from loradex.retrievals r, loradex.{function}(r.query, '{BASE_MODEL}', "
            f"{what}) m where r.answer_id = %s",
            answer,
        )
    )


def variation_of(before: dict[str, float], after: dict[str, float]) -> float:
    """Half of all change, what went to or came from the bare model included."""
    change = sum(abs(before.get(task, 0) - after.get(task, 0)) for task in before.keys() | after.keys())
    return (change + abs(sum(before.values()) - sum(after.values()))) / 2


def test_retiring_is_foreseen_for_answers_by_affinity(measured: World) -> None:
    rows = measured.rows(
        "select answer_id, total_variation, mixture from loradex.simulate_retire('boats-lora')"
    )
    using = measured.rows("select answer_id from loradex.merge_components where adapter = 'boats-lora'")
    assert {row[0] for row in rows} == {row[0] for row in using}
    assert len({measured.value("select loradex.explain(%s)", row[0])["merge"]["method"] for row in rows}) == 2
    for answer, variation, foreseen in rows:
        before = of_answer(measured, answer, "r.k, r.top_p, r.temperature")
        after = of_answer(measured, answer, "r.k, r.top_p, r.temperature, exclude_adapters => '{boats-lora}'")
        assert {f"{task}-lora": weight for task, weight in after.items()} == pytest.approx(foreseen)
        assert variation == pytest.approx(variation_of(before, after))


def test_other_settings_change_answers_by_affinity(measured: World) -> None:
    same = measured.rows("select total_variation, tasks_in, tasks_out from loradex.reroute_all()")
    assert len(same) == 20
    assert all(row[0] == pytest.approx(0, abs=1e-9) and row[1:] == ([], []) for row in same)
    changed = measured.rows(
        "select answer_id, total_variation, tasks_in, tasks_out from loradex.reroute_all(8, 0.5)"
    )
    for answer, variation, came, went in changed:
        before = of_answer(measured, answer, "r.k, r.top_p, r.temperature")
        after = of_answer(measured, answer, "8, 0.5, r.temperature")
        assert variation == pytest.approx(variation_of(before, after), abs=1e-9)
        assert (set(came), set(went)) == (after.keys() - before.keys(), before.keys() - after.keys())
    assert any(row[1] > 0 for row in changed)
