"""What a base model says of how its texts are written, where a job does not."""

import json
from typing import Any

import psycopg
import pytest
from tests.world import BASE_MODEL, World

from loradex.library.generation_config import PENALTY, SAMPLING
from loradex.service.client.request import NOTHING_OF_THE_MODEL

MODEL = {
    "sampling_temperature": 0.6,
    "sampling_top_k": 20,
    "sampling_top_p": 0.95,
    "sampling_min_p": 0.05,
    "repetition_penalty": 1.1,
}
PLAIN = {"sampling_temperature": 0, "sampling_top_p": 1}
SET = "select loradex.set_generation_defaults(%s, %s)"
KEPT = "select generation_defaults from loradex.base_models where name = %s"


def give(world: World, defaults: Any, model: str = BASE_MODEL) -> None:
    world.rows(SET, model, None if defaults is None else json.dumps(defaults))


def in_force(world: World, **job: Any) -> tuple[dict[str, float], list[str] | None]:
    """The settings of writing that a job got, and which of them its model said."""
    (made,) = world.enqueue(job)
    settings = world.value("select settings from loradex.jobs where id = %s", made)
    return {name: settings[name] for name in MODEL if name in settings}, settings.get("model_defaults")


def test_a_model_that_says_nothing_changes_nothing(scratch: World) -> None:
    assert scratch.value(KEPT, BASE_MODEL) is None
    assert in_force(scratch) == (PLAIN, None)
    for nothing in ({}, {"sampling_top_k": None}, None):
        give(scratch, MODEL)
        give(scratch, nothing)
        assert scratch.value(KEPT, BASE_MODEL) is None
        assert in_force(scratch) == (PLAIN, None)


@pytest.mark.parametrize(
    ("asked", "expected", "of_the_model"),
    [
        ({}, MODEL, sorted(MODEL)),
        ({"sampling_temperature": None, "sampling_top_k": None}, MODEL, sorted(MODEL)),
        (
            {"sampling_temperature": 1.5, "sampling_top_k": 0},
            {**MODEL, "sampling_temperature": 1.5, "sampling_top_k": 0},
            ["repetition_penalty", "sampling_min_p", "sampling_top_p"],
        ),
        # The likeliest text is not sampled, so nothing is said of sampling.
        ({"sampling_temperature": 0}, {**PLAIN, "repetition_penalty": 1.1}, ["repetition_penalty"]),
        (
            {"sampling_temperature": 0.0, "sampling_top_k": 7, "repetition_penalty": 1},
            {**PLAIN, "sampling_top_k": 7, "repetition_penalty": 1},
            None,
        ),
        (MODEL, MODEL, None),
        # Nothing is written.
        ({"choices": ["yes", "no"]}, PLAIN, None),
    ],
)
def test_a_job_goes_before_its_model_and_the_model_before_the_default(
    scratch: World, asked: dict[str, Any], expected: dict[str, float], of_the_model: list[str] | None
) -> None:
    give(scratch, MODEL)
    scratch.rows("select loradex.change_setting('sampling_top_p', '1')")
    assert in_force(scratch, **asked) == (expected, of_the_model)


def test_the_model_is_the_one_that_answers(scratch: World) -> None:
    scratch.rows("select loradex.register_base_model('other', 'r1', 512)")
    give(scratch, {"repetition_penalty": 1.3}, "other")
    assert in_force(scratch) == (PLAIN, None)
    told = {**PLAIN, "repetition_penalty": 1.3}, ["repetition_penalty"]
    assert in_force(scratch, base_model="other") == told
    scratch.rows("select loradex.change_setting('base_model', '\"other\"')")
    assert in_force(scratch) == told


def test_what_was_accepted_stays_and_evidence_says_whose_it_is(scratch: World) -> None:
    give(scratch, {"sampling_temperature": 0.6, "sampling_top_k": 20.0})
    (job,) = scratch.enqueue({"sampling_top_p": 0.5})
    give(scratch, None)
    attempts = scratch.claim()
    routings = scratch.route([job], [scratch.near("boats")])
    answer = scratch.record(job, attempts[job], routings[job])
    told = scratch.value("select loradex.explain(%s)", answer)["generation"]
    assert {name: told[name] for name in MODEL if name in told} == {
        "sampling_temperature": 0.6,
        "sampling_top_k": 20,
        "sampling_top_p": 0.5,
    }
    assert str(told["sampling_top_k"]) == "20", "a whole number, for the engine too"
    assert told["model_defaults"] == ["sampling_temperature", "sampling_top_k"]


def test_nobody_may_say_that_a_setting_is_the_models(scratch: World) -> None:
    with pytest.raises(psycopg.Error, match="unknown field") as error, scratch.connection.transaction():
        scratch.enqueue({"model_defaults": ["repetition_penalty"]})
    assert error.value.sqlstate == "LX001"


def test_what_a_model_may_say_is_what_its_file_is_read_for_and_what_a_request_can_undo(
    scratch: World,
) -> None:
    with pytest.raises(psycopg.Error) as error, scratch.connection.transaction():
        give(scratch, {"max_new_tokens": 2048})
    told = str(error.value.diag.message_primary).partition("numbers for ")[2].split(", ")
    assert sorted(told) == sorted(NOTHING_OF_THE_MODEL) == sorted(MODEL)
    assert sorted(told) == sorted([PENALTY, *(f"sampling_{name}" for name in SAMPLING)])
    give(scratch, MODEL)
    assert in_force(scratch, **NOTHING_OF_THE_MODEL) == (dict(NOTHING_OF_THE_MODEL), None)


@pytest.mark.parametrize(
    ("defaults", "why"),
    [
        ({"sampling_temperature": -1}, "sampling_temperature is -1.*--no-generation-config"),
        ({"sampling_top_p": 0}, "sampling_top_p is 0"),
        ({"sampling_top_k": 2.5}, "give a whole number"),
        ({"sampling_min_p": 1.01}, "sampling_min_p is 1.01"),
        ({"repetition_penalty": "high"}, "not a number"),
        ({"max_new_tokens": 2048}, "numbers for repetition_penalty, sampling_"),
        ({"temperature": 0.6}, "numbers for repetition_penalty, sampling_"),
        ([1], "are an object"),
        (3, "are an object"),
        ({"x" * 10_000: 1}, "at most 10,000 bytes"),
    ],
)
def test_what_no_job_could_ask_for_no_model_may_say(scratch: World, defaults: Any, why: str) -> None:
    with pytest.raises(psycopg.Error, match=why) as error, scratch.connection.transaction():
        give(scratch, defaults)
    assert error.value.sqlstate == "LX001"
    assert scratch.value(KEPT, BASE_MODEL) is None
