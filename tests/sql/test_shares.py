"""Active adapters of one task share its questions: who is drawn is decided by the job's id, kept, and foreseen."""

from collections import Counter
from typing import Any

import psycopg
import pytest
from tests.world import BASE_MODEL, Vector, World, sha256, text_of

from loradex.service.cli.explain import print_account

REGISTER = """
    select adapter_id from loradex.register_adapter(
        name => %s, task => %s, base_model => %s, sha256 => %s, uri => 'x', rank => 8, alpha => 16,
        target_modules => '{q_proj}', dtype => 'float32', parameters => 1, update_norm => 1,
        state => %s, share => %s, trained_on => %s)"""
JOBS = 200


def register(
    world: World,
    name: str,
    *,
    task: str = "boats",
    state: str = "active",
    share: object = 1.0,
    trained_on: list[str] | None = None,
) -> int:
    found = world.value(
        REGISTER,
        *(name, task, BASE_MODEL, sha256(f"{name}{task}{share}"), state, share, trained_on or []),
    )
    return int(found)


def shares(world: World) -> dict[str, float]:
    rows = world.rows("select name || version, share from loradex.adapters where state = 'active'")
    return {name: share for name, share in rows if name.startswith(("boats", "new"))}


def mixture(world: World, query: Vector, function: str = "adapter_mixture", job: object = None) -> list[str]:
    rows = world.rows(
        f"select adapter from loradex.{function}(%s::vector, %s, job_id => %s) order by rank",
        *(text_of(query), BASE_MODEL, job),
    )
    return [name for (name,) in rows]


def test_the_shares_of_a_task_sum_to_one(scratch: World) -> None:
    """Whoever comes takes its share from the others in proportion, and leaves it to them."""
    assert shares(scratch) == {"boats-lora1": 1}
    register(scratch, "new", share=0.25)
    assert shares(scratch) == {"boats-lora1": 0.75, "new1": 0.25}
    register(scratch, "newer", share=0.5)
    assert shares(scratch) == pytest.approx({"boats-lora1": 0.375, "new1": 0.125, "newer1": 0.5})
    scratch.rows("select loradex.set_adapter_state('new', null, 'active', 0.8)")
    assert shares(scratch)["new1"] == 0.8
    assert sum(shares(scratch).values()) == pytest.approx(1)
    scratch.rows("select loradex.set_adapter_state('newer', null, 'retired')")
    scratch.rows("select loradex.set_adapter_state('new', null, 'retired')")
    assert shares(scratch) == {"boats-lora1": 1}
    scratch.rows("select loradex.set_adapter_state('newer', null, 'active')")
    assert shares(scratch) == {"newer1": 1}
    scratch.rows("select loradex.set_adapter_state('newer', null, 'active', 0.1)")
    assert shares(scratch) == {"newer1": 1}, "alone it has all of the task"


def test_a_staged_adapter_answers_nothing_until_it_is_activated(scratch: World) -> None:
    query = scratch.near("boats", 0.01)
    register(scratch, "new", state="staged")
    assert mixture(scratch, query) == mixture(scratch, query, "affinity_mixture") == ["boats-lora"]
    assert scratch.rows("select state, share, retired_at from loradex.adapters where name = 'new'") == [
        ("staged", 0, None)
    ]
    scratch.rows("select loradex.set_adapter_state('new', null, 'active')")
    assert mixture(scratch, query) == mixture(scratch, query, "affinity_mixture") == ["new"]
    assert shares(scratch) == {"new1": 1}


def test_a_job_draws_its_adapter_and_keeps_it(scratch: World, capsys: pytest.CaptureFixture[str]) -> None:
    """As often as the shares say, the same again, told in the evidence, and seen alike by the analyst."""
    register(scratch, "new", share=0.25)
    query = scratch.near("boats", 0.01)
    jobs = scratch.enqueue(*[{"method": "cat"}, {"method": "affinity"}] * (JOBS // 2))
    attempts, routings = scratch.claim(rows=JOBS), scratch.route(jobs, [query] * JOBS)
    assert scratch.route(jobs, [query] * JOBS).keys() == routings.keys()
    drawn = {job: routing["mixture"][0]["adapter"] for job, routing in routings.items()}
    assert all(len(routing["mixture"]) == 1 for routing in routings.values())
    # Four standard deviations of 200 draws.
    assert abs(Counter(drawn.values())["new"] / JOBS - 0.25) < 0.125
    for job in jobs[:6]:
        assert (
            mixture(scratch, query, job=job)
            == mixture(scratch, query, "affinity_mixture", job)
            == [drawn[job]]
        )
    assert mixture(scratch, query) == ["boats-lora"], "without a job, the largest share"

    job = next(job for job in jobs if drawn[job] == "new")
    said = scratch.said(job, routings[job])["generation"] | {"draws": "a lie"}
    answer = scratch.record(job, attempts[job], routings[job], generation=said)
    ((found, draw, among),) = scratch.rows(
        "select jsonb_build_array(task, adapter, version, share), draw, among from loradex.adapter_draws "
        "where answer_id = %s",
        answer,
    )
    assert (found, among) == (["boats", "new", 1, 0.25], 2)
    recomputed = scratch.rows(
        "select name, loradex.adapter_draw(%s, sha256, share) from loradex.adapters "
        "where task = 'boats' order by 2",
        job,
    )
    assert recomputed[0] == ("new", draw)
    told = scratch.value("select loradex.explain(%s)", answer)
    assert told["generation"]["draws"][0]["draw"] == draw
    print_account(told)
    assert f"new version 1 for boats: share 0.25, {draw:.4f} is the smallest draw of 2" in " ".join(
        capsys.readouterr().out.split()
    )
    assert scratch.rows("select * from loradex.verify_audit_chain()") == []


def test_an_answer_without_a_draw_has_none_on_record(scratch: World) -> None:
    (answer,) = scratch.answered({"method": "cat"}, near="boats")
    assert "draws" not in scratch.value("select loradex.explain(%s)", answer)["generation"]
    assert scratch.rows("select * from loradex.adapter_draws") == []


@pytest.mark.parametrize("method", ["cat", "affinity"])
def test_retiring_one_of_two_is_foreseen_as_it_comes(scratch: World, method: str) -> None:
    """Only the jobs that drew it change hands; a third adapter's jobs stay with it."""
    register(scratch, "new", share=0.5)
    register(scratch, "newer", share=0.4)
    scratch.answered(*[{"method": method, "k": 5}] * 30, near="boats")
    before = dict(
        scratch.rows("select answer_id, adapter from loradex.merge_components where task = 'boats'")
    )
    assert set(before.values()) == {"boats-lora", "new", "newer"}
    assert all(row == (0,) for row in scratch.rows("select total_variation from loradex.reroute_all()")), (
        "what was drawn is drawn again"
    )
    foreseen = dict(scratch.rows("select answer_id, mixture from loradex.simulate_retire('new')"))
    assert foreseen.keys() == {answer for answer, adapter in before.items() if adapter == "new"}
    scratch.rows("select loradex.set_adapter_state('new', null, 'retired')")
    function = "adapter_mixture" if method == "cat" else "affinity_mixture"
    now = dict(
        scratch.rows(
            "select a.id, m.adapter from loradex.answers a join loradex.retrievals r on r.answer_id = a.id "
            f"cross join loradex.{function}(r.query, a.base_model, 5, job_id => a.job_id) m"
        )
    )
    assert {answer for answer in before if now[answer] != before[answer]} == foreseen.keys()
    assert {answer: list(mixture) for answer, mixture in foreseen.items()} == {
        answer: [now[answer]] for answer in foreseen
    }


def test_versions_of_one_name_share_too(scratch: World) -> None:
    register(scratch, "boats-lora", share=0.5)
    wanted: list[dict[str, Any]] = [
        {"method": "own", "adapter": "boats-lora"},
        {"method": "uniform"},
        {"method": "top1"},
    ]
    jobs = scratch.enqueue(*wanted * 20)
    routings = scratch.route(jobs, [scratch.near("boats", 0.01)] * len(jobs))
    for place, job in enumerate(jobs):
        versions = [part["version"] for part in routings[job]["mixture"] if part["task"] == "boats"]
        assert len(versions) == 1
        assert routings[job]["draws"][0]["version"] == versions[0], place
    assert {routings[job]["mixture"][0]["version"] for job in jobs[::3]} == {1, 2}
    with pytest.raises(psycopg.Error, match="versions 1, 2 of adapter 'boats-lora' are active; say which"):
        scratch.rows("select loradex.set_adapter_state('boats-lora', null, 'retired')")


def test_what_a_job_excludes_is_not_drawn(scratch: World) -> None:
    register(scratch, "new", share=0.5)
    jobs = scratch.enqueue(*[{"method": "cat", "exclude_adapters": ["new"]}] * 10)
    for routing in scratch.route(jobs, [scratch.near("boats", 0.01)] * 10).values():
        assert [part["adapter"] for part in routing["mixture"]] == ["boats-lora"]
        assert routing["draws"] == []


@pytest.mark.parametrize("method", ["cat", "top1", "uniform", "affinity"])
def test_what_was_trained_on_an_excluded_task_races_for_nothing(scratch: World, method: str) -> None:
    """It answers no job that excludes the task, keeps no other from answering, and is not counted as a rival."""
    register(scratch, "new", share=0.4, trained_on=["clouds"])
    query, wanted = scratch.near("boats", 0.01), {"method": method, "exclude_tasks": ["clouds"]}

    def parts(routing: dict[str, Any]) -> list[str]:
        return [part["adapter"] for part in routing["mixture"] if part["task"] == "boats"]

    for job, routing in scratch.route(scratch.enqueue(*[wanted] * 20), [query] * 20).items():
        assert parts(routing) == ["boats-lora"], job
        assert routing["draws"] == []
    free = scratch.route(jobs := scratch.enqueue(*[{"method": method}] * 20), [query] * 20)
    assert {name for job in jobs for name in parts(free[job])} == {"boats-lora", "new"}

    register(scratch, "newer", share=0.4)
    routings = scratch.route(scratch.enqueue(*[wanted] * 20), [query] * 20).values()
    assert {name for routing in routings for name in parts(routing)} == {"boats-lora", "newer"}
    assert {draw["among"] for routing in routings for draw in routing["draws"]} == {2}


@pytest.mark.parametrize("function", ["adapter_mixture", "affinity_mixture"])
def test_the_only_adapter_of_a_task_is_left_out_for_what_it_was_trained_on(
    scratch: World, function: str
) -> None:
    """Its task gives its votes to the others, as one without an adapter does."""
    register(scratch, "new", task="embers", trained_on=["clouds"])
    call = f"select adapter from loradex.{function}(%s::vector, %s, 150, exclude_tasks => %s)"
    query = text_of(scratch.near("embers", 0.01))
    assert ("new",) in scratch.rows(call, query, BASE_MODEL, [])
    left = scratch.rows(call, query, BASE_MODEL, ["clouds"])
    assert left, "other tasks are among the neighbours"
    assert ("new",) not in left


def test_retiring_takes_the_active_version(scratch: World) -> None:
    for share in (0.3, 0.4):
        register(scratch, "boats-lora", share=share, state="active")
    scratch.rows("select loradex.set_adapter_state('boats-lora', 2, 'active')")
    retired = scratch.value("select loradex.set_adapter_state('boats-lora', null, 'retired')")
    assert scratch.value("select version from loradex.adapters where id = %s", retired) == 2
    with pytest.raises(psycopg.Error, match="no version of adapter 'boats-lora' is active") as error:
        scratch.rows("select loradex.set_adapter_state('boats-lora', null, 'retired')")
    assert error.value.sqlstate == "LX002"


@pytest.mark.parametrize(
    ("arguments", "sqlstate"),
    [
        *[({"share": share}, "LX001") for share in (0, -1, 1.5, 0.00001, 0.99999, float("nan"), None)],
        *[({"state": state}, "LX001") for state in ("retired", "asleep", None)],
        ({"state": "staged", "share": 0.5}, "LX001"),
        ({"trained_on": ["boats", "boats"]}, "LX001"),
        ({"trained_on": ["oceans"]}, "LX002"),
    ],
)
def test_what_makes_no_sense_is_refused_and_retires_nobody(
    scratch: World, arguments: dict[str, Any], sqlstate: str
) -> None:
    with pytest.raises(psycopg.Error) as error, scratch.connection.transaction():
        register(scratch, "new", **arguments)
    assert error.value.sqlstate == sqlstate
    assert shares(scratch) == {"boats-lora1": 1}
