"""One row of loradex.settings is the whole declaration of a job's setting: check, default, storage, provenance."""

import subprocess
from typing import Any

import psycopg
import pytest
from tests.repository import ROOT
from tests.world import World

from loradex.service.client.request import FIELDS, TEXTS, Request

LIMITS = {"max_waiting_jobs", "retention_months", "affinity_rows"}
LIVE = ("db/sql", "db/*.py", "worker", "service", "library", "embedded", "src/loradex/*.py")
FILES_A_SETTING_TOUCHES = 4
SAID_TO_OTHER_ENGINES = {"worker/engine/vllm/wishes.py"}
MADE_UP = """
    insert into loradex.settings (name, kind, type, value, minimum, maximum, description)
    values ('warmth', 'job', 'number', '0.5', 0, 2, 'a made-up setting')"""


def test_a_request_has_a_field_for_each_and_no_other(scratch: World) -> None:
    declared = {
        name: kind
        for name, kind in scratch.rows("select name, type from loradex.settings where kind = 'job'")
        if name != "kind"  # it follows from the choices
    }
    assert set(FIELDS) == set(declared)
    assert set(TEXTS) == {name for name, kind in declared.items() if kind in {"texts", "strings"}}
    for name in declared:
        assert f"\n        {name}: " in (Request.__doc__ or ""), name


def test_a_row_is_all_that_the_database_needs(scratch: World) -> None:
    scratch.connection.execute(MADE_UP)
    plain, warm = scratch.enqueue({}, {"warmth": 1.5})
    stored = dict(scratch.rows("select id, settings ->> 'warmth' from loradex.jobs"))
    assert (stored[plain], stored[warm]) == ("0.5", "1.5")
    for wrong in (2.5, -1, "hot", [1], True):
        with pytest.raises(psycopg.Error, match="warmth") as error, scratch.connection.transaction():
            scratch.enqueue({"warmth": wrong})
        assert error.value.sqlstate == "LX001"
    attempts = scratch.claim()
    routings = scratch.route([warm], [scratch.near("boats")])
    answer = scratch.record(warm, attempts[warm], routings[warm])
    assert scratch.value("select loradex.explain(%s) #>> '{generation,warmth}'", answer) == "1.5"


def test_a_setting_of_the_engine_touches_few_files() -> None:
    """Its row, the client's field, the engine's row, and the code that reads it.

    An engine of others is told it in that engine's words, all settings in one file.
    """
    found = subprocess.run(
        ["git", "grep", "-lw", "sampling_top_p", "--", *LIVE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(set(found) - SAID_TO_OTHER_ENGINES) <= FILES_A_SETTING_TOUCHES, found


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("k", "16", 16), ("method", '"cat"', "cat"), ("seed", "7", 7), ("max_waiting_jobs", "5", 5)],
)
def test_a_default_is_changed(scratch: World, name: str, value: str, shown: Any) -> None:
    changed = scratch.rows("select value, changed_by from loradex.change_setting(%s, %s::jsonb)", name, value)
    assert changed == [(shown, scratch.value("select session_user::text"))]
    if name == "k":
        (job,) = scratch.enqueue({})
        assert scratch.value("select k from loradex.jobs where id = %s", job) == 16


def test_the_end_of_a_range_is_moved(scratch: World) -> None:
    scratch.rows("select loradex.change_setting('max_new_tokens', '10', maximum => 10)")
    with pytest.raises(psycopg.Error, match="from 1 to 10"), scratch.connection.transaction():
        scratch.enqueue({"max_new_tokens": 11})
    scratch.enqueue({"max_new_tokens": 10})


@pytest.mark.parametrize(
    ("name", "maximum", "value"),
    [
        ("max_new_tokens", 10, 64),
        ("k", 16, 32),
        ("top_p", 0.5, 0.9),
        ("max_waiting_jobs", 5, 100000),
        ("priority", -1, 0),
        ("affinity_rows", 19, 20),
    ],
)
def test_a_range_that_leaves_out_its_default_is_refused(
    scratch: World, name: str, maximum: float, value: float
) -> None:
    """Else who says nothing gets more than who asks."""
    change = "select value, maximum from loradex.change_setting(%s, %s::jsonb, %s::numeric)"
    said = (
        f"its value is {value}; give one too"
        if name in LIMITS
        else f"its default is {value}; give a value too"
    )
    with pytest.raises(psycopg.Error, match=said) as error, scratch.connection.transaction():
        scratch.rows(change, name, None, maximum)
    assert error.value.sqlstate == "LX001"
    assert scratch.rows(change, name, str(maximum), maximum) == [(maximum, pytest.approx(maximum))]


def test_a_range_that_leaves_out_what_a_model_says_is_refused(scratch: World) -> None:
    scratch.rows(
        "select loradex.set_generation_defaults('smollm2-135m-instruct', %s::jsonb)", '{"sampling_top_k": 50}'
    )
    lower = "select loradex.change_setting('sampling_top_k', maximum => %s)"
    with (
        pytest.raises(psycopg.Error, match="smollm2-135m-instruct says 50") as error,
        scratch.connection.transaction(),
    ):
        scratch.rows(lower, 49)
    assert error.value.sqlstate == "LX001"
    scratch.rows(lower, 50)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("priority", 32767),
        ("k", 2147483647),
        ("max_new_tokens", 2147483647),
        ("seed", 9223372036854775807),
        ("deadline", 9000000000000),
        ("max_waiting_jobs", 2147483647),
        ("retention_months", 80000),
    ],
)
def test_a_range_ends_where_its_type_does(scratch: World, name: str, most: int) -> None:
    change = "select value, maximum from loradex.change_setting(%s, %s::jsonb, %s::numeric)"
    assert scratch.rows(change, name, str(most), most) == [(most, most)]
    with pytest.raises(psycopg.Error, match=name) as error, scratch.connection.transaction():
        scratch.rows(change, name, None, most + 1)
    assert error.value.sqlstate == "LX001"
    if name not in LIMITS:
        (job,) = scratch.enqueue({})
        assert scratch.rows("select state from loradex.jobs where id = %s", job) == [("queued",)]
    else:
        assert scratch.rows("select * from loradex.archivable()") == []
        assert len(scratch.enqueue({})) == 1


@pytest.mark.parametrize(
    ("call", "sqlstate"),
    [
        ("'nothing', '1'", "LX002"),
        ("'k', '0'", "LX001"),
        ("'k', '\"many\"'", "LX001"),
        ("'k', 'null'", "LX001"),
        ("'method', '\"magic\"'", "LX002"),
        ("'max_waiting_jobs', '0'", "LX001"),
        ("'max_waiting_jobs', '1.5'", "LX001"),
        ("'max_waiting_jobs', 'null'", "LX001"),
        ("'max_call_bytes', '99999999999'", "LX001"),
        ("'method', null, 5", "LX001"),
        ("'k', null, 0", "LX001"),
        ("'k', null, 'NaN'", "LX001"),
        ("'top_p', null, 'NaN'", "LX001"),
        ("'top_p', null, 'Infinity'", "LX001"),
        ("'top_p', '0', 0", "LX001"),
        ("'top_p', null, 0", "LX001"),
        ("'k', '10', 10.5", "LX001"),
        ("'max_waiting_jobs', null, 'NaN'", "LX001"),
        ("'temperature', null, 1", "LX001"),
        ("null", "LX002"),
    ],
)
def test_a_default_that_would_be_refused_is_refused(scratch: World, call: str, sqlstate: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        scratch.rows(f"select loradex.change_setting({call})")
    assert error.value.sqlstate == sqlstate, error.value


LOOKED_AGAIN = (
    "loradex.reroute({answer})",
    "loradex.reroute({answer}, top_p => 0.4)",
    "loradex.reroute_all()",
    "loradex.what_if({answer})",
    "loradex.what_if({answer}, k => 4, exclude_tasks => '{{boats}}')",
    "loradex.nearest_examples({query}, 4)",
    "loradex.similar_answers({query}, 4)",
    "loradex.example_neighbours(4)",
    "loradex.duplicate_examples()",
    "loradex.in_domain_similarity()",
)


@pytest.mark.parametrize("call", LOOKED_AGAIN)
def test_a_narrower_range_refuses_what_is_given_and_nothing_else(scratch: World, call: str) -> None:
    """Not what an answer was recorded with, nor what no one said."""
    scratch.answered({"k": 30, "top_p": 0.9})
    for name, value in (("k", 8), ("top_p", 0.5)):
        scratch.rows("select loradex.change_setting(%s, %s::jsonb, %s::numeric)", name, str(value), value)
    answer, query = scratch.rows("select answer_id::text, query::text from loradex.retrievals")[0]
    scratch.rows(f"select * from {call}".format(answer=f"'{answer}'", query=f"'{query}'"))


@pytest.mark.parametrize("call", ["reroute", "what_if"])
@pytest.mark.parametrize("given", ["k => 9", "top_p => 0.6", "temperature => 0"])
def test_what_is_given_is_judged(scratch: World, call: str, given: str) -> None:
    (answer,) = scratch.answered({})
    for name, value in (("k", 8), ("top_p", 0.5)):
        scratch.rows("select loradex.change_setting(%s, %s::jsonb, %s::numeric)", name, str(value), value)
    with pytest.raises(psycopg.Error, match=given.partition(" ")[0]) as error:
        scratch.rows(f"select loradex.{call}(%s, {given})", answer)
    assert error.value.sqlstate == "LX001"


def test_every_method_is_a_selection_and_a_merge(scratch: World) -> None:
    """The engine computes what the table names: each method is routed, and its recipe is one the engine knows."""
    from loradex.worker.engine.recipe import Recipe  # noqa: PLC0415 - torch-free, but of the worker

    methods = [name for (name,) in scratch.rows("select name from loradex.methods order by 1")]
    jobs = scratch.enqueue(
        *({"method": name} | ({"adapter": "boats-lora"} if name == "own" else {}) for name in methods)
    )
    scratch.claim()
    routings = scratch.route(jobs, [scratch.near("boats", 0.3)] * len(jobs))
    for name, job in zip(methods, jobs, strict=True):
        routing = routings[job]
        recipe = Recipe.decided(routing, 0.5, "float32")
        assert recipe.hash == scratch.said(job, routing)["merge"]["recipe_hash"], name
        assert bool(recipe.components) == (name != "base"), name
