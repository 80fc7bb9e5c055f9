"""What a job may ask of the text that is written, what of it is kept with the answer, and what a worker may say."""

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.world import World

TOLD = [
    {"id": token, "token": text, "logprob": -0.5, "top": [{"id": 9, "token": " no", "logprob": -1}]}
    for token, text in ((17, "yes"), (4, " it"), (2, ""))
]


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"stop": ["a"] * 2}, "two texts of stop are the same"),
        ({"stop": ["\n", "\n\n", " ", "x", "y"]}, "stop has 5 texts; give at most 4"),
        ({"stop": ["a", ""]}, "a text of stop is empty"),
        ({"stop": ["a" * 257]}, "more than 256 characters"),
        ({"stop": "a"}, "must be an array of texts"),
        ({"stop": [1]}, "must be an array of texts"),
        ({"min_tokens": 2049}, "from 0 to 2048"),
        ({"min_tokens": 9, "max_new_tokens": 8}, "min_tokens is more than max_new_tokens"),
        ({"min_tokens": 65}, "min_tokens is more than max_new_tokens"),
        ({"sampling_top_k": -1}, "from 0 to 1000000"),
        ({"sampling_min_p": 1.1}, "from 0 to 1"),
        ({"repetition_penalty": 0}, "from 0.01 to 100"),
        ({"presence_penalty": 2.1}, "from -2 to 2"),
        ({"frequency_penalty": -2.1}, "from -2 to 2"),
        ({"logprobs": 21}, "from 0 to 20"),
        ({"logprobs": 0, "choices": ["a", "b"]}, "drop one of them"),
        ({"regex": ""}, "regex is empty"),
        ({"regex": "a" * 2001}, "give at most 2000"),
        ({"regex": "a", "json_schema": "{}"}, "not both"),
        ({"regex": "a", "choices": ["a", "b"]}, "drop them, or the choices"),
        ({"json_schema": "[]"}, "not an object in JSON"),
        ({"json_schema": '{"type": '}, "not an object in JSON"),
        ({"json_schema": {"type": "object"}}, "json_schema must be text"),
        ({"json_schema": json.dumps({"const": "a" * 50_000})}, "give at most 50000"),
        ({"logit_bias": [1]}, "must be an object of numbers"),
        ({"logit_bias": {"a": 1}}, "no whole number"),
        ({"logit_bias": {"-1": 1}}, "no whole number"),
        ({"logit_bias": {"01": 1}}, "no whole number"),
        ({"logit_bias": {"1": "1"}}, "must be an object of numbers"),
        ({"logit_bias": {"1": 100.5}}, "from -100 to 100"),
        ({"logit_bias": {"1": 1e-320}}, "must be an object of numbers"),
        ({"logit_bias": {str(token): 1 for token in range(301)}}, "301 numbers; give at most 300"),
        ({"logit_bias": {str(token): 1 for token in range(9000)}}, "give at most 300"),
    ],
)
def test_what_is_out_of_range_is_refused(scratch: World, asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises(psycopg.Error, match=complaint) as error, scratch.connection.transaction():
        scratch.enqueue(asked)
    assert error.value.sqlstate == "LX001"
    assert scratch.value("select count(*) from loradex.jobs") == 0


def test_a_bias_said_twice_is_refused(scratch: World) -> None:
    with pytest.raises(psycopg.Error, match="two keys of logit_bias are the same"):
        scratch.rows(
            "select * from loradex.enqueue_jobs(%s::text)",
            '[{"prompt": "q", "logit_bias": {"1": 1, "1": 2}}]',
        )


def test_what_was_asked_is_in_the_answer_and_what_was_not_is_not(scratch: World) -> None:
    asked = {
        "stop": [" \n", "\n"],
        "min_tokens": 2,
        "sampling_top_k": 5,
        "sampling_min_p": 0.1,
        "repetition_penalty": 1.2,
        "presence_penalty": -1,
        "frequency_penalty": 0.5,
        "logit_bias": {"7": -100, "300": 2.5},
    }
    first, plain = scratch.answered(asked, {})
    told = scratch.value("select loradex.explain(%s)", first)["generation"]
    assert {name: told[name] for name in asked} == asked
    assert not set(asked) & set(scratch.value("select loradex.explain(%s)", plain)["generation"])
    # A stop string is a text of the asker's, so it lies where it can be erased.
    assert scratch.rows("select stop, generation ? 'stop' from loradex.answers order by position") == [
        (asked["stop"], False),
        (None, False),
    ]
    assert scratch.rows("select * from loradex.verify_audit_chain()") == []


def test_what_a_text_is_held_to_is_in_the_answer_as_it_was_written(scratch: World) -> None:
    schema = '{"required": ["b", "a"],  "properties": {"b": {}, "a": {}}}'
    first, second = scratch.answered({"json_schema": schema, "min_tokens": 9}, {"regex": "a|b"})
    told = [scratch.value("select loradex.explain(%s)", one)["generation"] for one in (first, second)]
    assert [(one.get("json_schema"), one.get("regex")) for one in told] == [(schema, None), (None, "a|b")]
    assert (
        scratch.value("select count(*) from loradex.answers where generation ?| '{json_schema,regex}'") == 0
    )
    assert scratch.rows("select * from loradex.verify_audit_chain()") == []


def answered(world: World, asked: dict[str, Any], **said: Any) -> UUID:
    (job,) = world.enqueue(asked)
    attempts = world.claim()
    routings = world.route([job], [world.near("boats")])
    answer = world.said(job, routings[job]) | said
    (row,) = world.rows("select loradex.record_answer(%s, %s, %s)", job, attempts[job], Jsonb(answer))
    return UUID(str(row[0]))


def test_log_probabilities_are_kept_told_and_erased(scratch: World) -> None:
    answer = answered(scratch, {"logprobs": 1}, logprobs=TOLD)
    assert scratch.value("select loradex.explain(%s)", answer)["logprobs"] == TOLD
    job = scratch.value("select job_id from loradex.answers where id = %s", answer)
    assert scratch.value("select answer from loradex.job_outcome(%s)", job)["logprobs"] == TOLD
    assert scratch.rows("select * from loradex.verify_audit_chain()") == []
    scratch.rows("select * from loradex.erase_jobs('why', 'who', %s)", [job])
    assert scratch.value("select logprobs from loradex.answers where id = %s", answer) is None
    assert scratch.rows("select * from loradex.verify_audit_chain()") == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, {"logprobs": TOLD}),
        ({"logprobs": 1}, {"logprobs": None}),
        ({"logprobs": 1}, {"logprobs": {}}),
        ({"logprobs": 1}, {"logprobs": TOLD[:2]}),
        ({"logprobs": 1}, {"logprobs": [TOLD[1], TOLD[0], TOLD[2]]}),
        ({"logprobs": 0}, {"logprobs": TOLD}),
        ({"logprobs": 1}, {"logprobs": [*TOLD[:2], TOLD[2] | {"logprob": "high"}]}),
        ({"logprobs": 1}, {"logprobs": [*TOLD[:2], TOLD[2] | {"logprob": 7}]}),
        ({"logprobs": 1}, {"logprobs": [*TOLD[:2], TOLD[2] | {"token": 7}]}),
        ({"logprobs": 1}, {"logprobs": [*TOLD[:2], TOLD[2] | {"top": None}]}),
        ({"logprobs": 1}, {"logprobs": [*TOLD[:2], TOLD[2] | {"top": [5]}]}),
        ({"logprobs": 1}, {"logprobs": [*TOLD[:2], 5]}),
        ({"min_tokens": 4}, {}),
        ({"stop": ["e"]}, {}),
    ],
)
def test_a_worker_cannot_say_what_was_not_asked(
    scratch: World, asked: dict[str, Any], said: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.Error, match="cannot be recorded") as error, scratch.connection.transaction():
        answered(scratch, asked, **said)
    assert error.value.sqlstate == "LX001"


def test_a_stop_string_may_come_before_the_least_length(scratch: World) -> None:
    answered(scratch, {"min_tokens": 4, "stop": ["never"]})
