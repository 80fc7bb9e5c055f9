"""What OpenAI's and vLLM's clients ask of the text that is written, by OpenAI's own client."""

import json
import re
from typing import Any

import openai
import pytest
from tests.fix_answering import Stack
from tests.fix_api import Served

QUESTION = [{"role": "user", "content": "The clouds turn dark. Will it rain?"}]


def ask(served: Served, **options: Any) -> Any:
    return served.client().chat.completions.create(
        **{"model": "smollm2-135m-instruct", "messages": QUESTION, "max_completion_tokens": 12, **options}
    )


def test_a_stop_string_ends_the_answer(served: Served) -> None:
    whole = ask(served).choices[0].message.content
    stop = next(sign for sign in whole[2:] if sign.isascii() and sign.isalnum())
    for given in (stop, ["never written", stop]):
        choice = ask(served, stop=given).choices[0]
        assert choice.message.content == whole[: whole.index(stop)].rstrip()
        assert choice.finish_reason == "stop"
    for nothing in ("", []):
        assert ask(served, stop=nothing).choices[0].message.content == whole


def test_log_probabilities_are_in_the_reply_as_openai_has_them(served: Served) -> None:
    choice = ask(served, logprobs=True, top_logprobs=3).choices[0]
    places = choice.logprobs.content
    assert "".join(one.token for one in places).strip() == choice.message.content
    for one in places:
        assert one.logprob == one.top_logprobs[0].logprob >= one.top_logprobs[-1].logprob
        assert len(one.top_logprobs) == 3
        assert one.bytes is None or bytes(one.bytes).decode() == one.token
    own = ask(served, logprobs=True).choices[0].logprobs.content
    assert [(one.token, one.top_logprobs) for one in own] == [(one.token, []) for one in places]
    assert ask(served).choices[0].logprobs is None

    (written,) = (
        served.client()
        .completions.create(
            model="loradex", prompt=" Is it late?", max_tokens=6, logprobs=2, temperature=1.5, seed=4
        )
        .choices
    )
    told = written.logprobs
    assert told is not None
    assert told.tokens is not None
    assert told.text_offset is not None
    assert told.token_logprobs is not None
    assert told.top_logprobs is not None
    for token, offset, logprob, top in zip(
        told.tokens, told.text_offset, told.token_logprobs, told.top_logprobs, strict=True
    ):
        assert "\ufffd" in token or written.text[offset:].startswith(token.strip())
        assert top[token] == logprob
        # Tokens of half a character look alike.
        assert len(top) <= 3


def test_a_stream_tells_them_at_the_end_of_the_text(served: Served) -> None:
    whole = ask(served, logprobs=True, top_logprobs=1).choices[0]
    chunks = [one for one in ask(served, logprobs=True, top_logprobs=1, stream=True) if one.choices]
    assert "".join(one.choices[0].delta.content or "" for one in chunks) == whole.message.content
    told = [one.choices[0] for one in chunks if one.choices[0].logprobs]
    assert [one.finish_reason for one in told] == [whole.finish_reason]
    assert [one.token for one in told[0].logprobs.content] == [one.token for one in whole.logprobs.content]


def test_biases_and_penalties_change_what_is_written(served: Served) -> None:
    (plain,) = ask(served, logprobs=True).choices
    client = served.client()
    answer = ask(served, logprobs=True).loradex["answer_id"]
    document: Any = client.get(f"/answers/{answer}/explain", cast_to=object)
    first = document["token_ids"][0]
    (other,) = ask(served, logprobs=True, logit_bias={str(first): -100}).choices
    assert other.logprobs.content[0].token != plain.logprobs.content[0].token
    (forced,) = ask(served, logprobs=True, logit_bias={"70": 100}, max_completion_tokens=4).choices
    assert len({one.token for one in forced.logprobs.content}) == 1
    (varied,) = ask(
        served,
        logprobs=True,
        logit_bias={"70": 100, "71": 99},
        frequency_penalty=2.0,
        max_completion_tokens=4,
    ).choices
    assert len({one.token for one in varied.logprobs.content}) == 2


def test_vllms_fields_reach_the_job(served: Served) -> None:
    given = {"top_k": 1, "min_p": 0.5, "repetition_penalty": 1.3, "min_tokens": 2}
    answer = ask(served, temperature=2.0, presence_penalty=0.5, extra_body=given)
    document: Any = served.client().get(f"/answers/{answer.loradex['answer_id']}/explain", cast_to=object)
    told = document["generation"]
    assert {
        "sampling_top_k": 1,
        "sampling_min_p": 0.5,
        "repetition_penalty": 1.3,
        "min_tokens": 2,
        "presence_penalty": 0.5,
        "sampling_temperature": 2,
    }.items() <= told.items()
    assert ask(served, extra_body={"top_k": -1}).choices[0].message.content


PET = {
    "type": "object",
    "properties": {"name": {"enum": ["Rex", "Tom"]}, "legs": {"type": "integer", "minimum": 1, "maximum": 4}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "asked",
    [
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "pet", "schema": PET, "strict": True},
            }
        },
        {"extra_body": {"structured_outputs": {"json": PET}}},
        {"extra_body": {"structured_outputs": {"json": json.dumps(PET)}}},
    ],
)
def test_a_schema_is_kept_to(served: Served, asked: dict[str, Any]) -> None:
    answer = ask(served, max_completion_tokens=100, **asked)
    (choice,) = answer.choices
    assert choice.finish_reason == "stop"
    told = json.loads(choice.message.content)
    assert (list(told), told["name"] in {"Rex", "Tom"}, 1 <= told["legs"] <= 4) == (
        ["name", "legs"],
        True,
        True,
    )
    document: Any = served.client().get(f"/answers/{answer.loradex['answer_id']}/explain", cast_to=object)
    assert json.loads(document["generation"]["json_schema"]) == PET


def test_any_object_and_patterns_are_kept_to_in_streams_too(served: Served) -> None:
    held = ask(
        served, extra_body={"structured_outputs": {"regex": "[ab]{3}-[cd]{3}"}}, n=2, seed=1, temperature=1
    )
    assert all(re.fullmatch("[ab]{3}-[cd]{3}", one.message.content) for one in held.choices)
    chunks = ask(
        served, response_format={"type": "json_object"}, stream=True, logit_bias={}, max_completion_tokens=9
    )
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert text.startswith("{")


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "logprobs"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"logit_bias": {"one": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"extra_body": {"min_p": 2}}, "min_p"),
        ({"extra_body": {"top_k": -2}}, "top_k"),
        ({"extra_body": {"repetition_penalty": 0}}, "repetition_penalty"),
        ({"extra_body": {"min_tokens": 13}}, "min_tokens"),
        ({"logprobs": True, "extra_body": {"loradex": {"choices": ["yes", "no"]}}}, "logprobs"),
    ],
)
def test_what_cannot_be_is_refused_by_name(served: Served, options: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(served, **options)
    assert refused.value.param == param


def test_a_token_that_the_model_lacks_fails_the_job_alone(served: Served, answering: Stack) -> None:
    with pytest.raises(openai.APIStatusError, match="the model has tokens 0 to"):
        ask(served, logit_bias={"999999": 1})
    assert ask(served).choices[0].message.content
