"""OpenAI's own client, as it comes, judges the API: chat, completions, decisions, streams, models, errors."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from tests.fix_answering import Stack
from tests.fix_api import Served
from tests.integration.test_client import nothing_answered
from tests.until import until

QUESTION = [{"role": "user", "content": "The clouds turn dark. Will it rain?"}]
CHOICES = {"loradex": {"choices": ["yes", "no"]}}


def ask(served: Served, key: str | None = None, **options: Any) -> Any:
    client = served.client(key)
    return client.chat.completions.create(
        **{"model": "loradex", "messages": QUESTION, "max_completion_tokens": 3, **options}
    )


def refusal(served: Served, key: str | None = None, **options: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as refused:
        ask(served, key, **options)
    return refused.value


def test_a_chat_is_answered_and_says_from_what(served: Served) -> None:
    client = served.client()
    raw = client.chat.completions.with_raw_response.create(
        model="loradex", messages=QUESTION, max_completion_tokens=3, seed=7
    )
    answer = raw.parse()
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert isinstance(choice.message.content, str)
    assert choice.finish_reason in {"stop", "length"}
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 3
    assert answer.system_fingerprint.startswith("fp_")
    told = answer.loradex
    assert told["seed"] == 7
    assert sum(part["weight"] for part in told["mixture"]) == pytest.approx(1)
    assert {part["adapter"] for part in told["mixture"]} <= {"tiny-weather", "tiny-kitchen", "tiny-garden"}
    assert told["tasks"][0]["probability"] >= told["tasks"][-1]["probability"]
    assert -1 <= told["similarity"] <= 1
    assert isinstance(told["out_of_domain"], bool)
    assert raw.headers["x-loradex-answer-id"] == told["answer_id"]
    assert answer.id == f"chatcmpl-{told['answer_id']}"
    assert answer._request_id == raw.headers["x-request-id"]
    again = ask(served, seed=7)
    assert again.choices[0].message.content == choice.message.content
    assert again.system_fingerprint == answer.system_fingerprint


@pytest.mark.parametrize("body", [CHOICES, {"structured_outputs": {"choice": ["yes", "no"]}}])
def test_choices_are_ranked(served: Served, body: dict[str, Any]) -> None:
    answer = ask(served, extra_body=body)
    text = answer.choices[0].message.content
    ranked = sorted(answer.loradex["scores"], key=lambda one: -one["log_likelihood"])
    assert text == ranked[0]["choice"]
    assert sum(one["probability"] for one in ranked) == pytest.approx(1)
    assert answer.choices[0].finish_reason == "stop"


def test_model_names_what_answers(served: Served) -> None:
    client = served.client()
    listed = {model.id: model for model in client.models.list()}
    assert set(listed) == {
        *("loradex", "smollm2-135m-instruct", "tiny-weather", "tiny-kitchen", "tiny-garden")
    }
    assert listed["tiny-weather"].parent == "smollm2-135m-instruct"
    assert client.models.retrieve("tiny-garden") == listed["tiny-garden"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("a/b")
    base = ask(served, model="smollm2-135m-instruct").loradex
    assert (base["method"], base["mixture"], base["out_of_domain"]) == ("base", [], None)
    own = ask(served, model="tiny-garden").loradex
    assert own["method"] == "own"
    assert [part["adapter"] for part in own["mixture"]] == ["tiny-garden"]
    for unknown in ("gpt-4o", "", "Loradex"):
        error = refusal(served, model=unknown)
        assert (error.status_code, error.code, error.param) == (404, "model_not_found", "model")
    error = refusal(served, model="tiny-garden", extra_body={"loradex": {"method": "cat"}})
    assert (error.status_code, error.param) == (400, "loradex.method")


def test_loradex_settings_reach_the_job(served: Served) -> None:
    told = ask(
        served,
        metadata={"test": "settings"},
        extra_body={
            "loradex": {"method": "top1", "k": 3, "exclude_tasks": ["weather"], **CHOICES["loradex"]}
        },
    ).loradex
    assert told["method"] == "top1"
    assert len(told["mixture"]) == 1
    assert "weather" not in {one["task"] for one in told["tasks"]}
    client = served.client()
    document = client.get(f"/answers/{told['answer_id']}/explain", cast_to=object)
    assert isinstance(document, dict)
    assert document["retrieval"]["k"] == 3
    assert document["owner"] == "alice"


def test_several_answers_and_several_prompts(served: Served) -> None:
    answer = ask(served, n=3, temperature=1.5, seed=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.loradex["seed"] for choice in answer.choices] == [1, 2, 3]
    client = served.client()
    one = client.completions.create(model="loradex", prompt="Is it late?", max_tokens=2)
    two = client.completions.create(model="loradex", prompt=["Is it late?", "Is it dark?"], max_tokens=2)
    assert two.choices[0].text == one.choices[0].text
    assert len(two.choices) == 2
    assert two.usage is not None
    assert two.usage.completion_tokens <= 4


@pytest.mark.parametrize("usage", [True, False])
def test_a_stream_ends_as_clients_expect(served: Served, usage: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(ask(served, stream=True, seed=7, **options))
    whole = ask(served, seed=7)
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == (
        whole.choices[0].message.content
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    ends = [one.choices[0].finish_reason for one in chunks if one.choices and one.choices[0].finish_reason]
    assert ends == [whole.choices[0].finish_reason]
    assert [one.usage for one in chunks if one.usage] == ([whole.usage] if usage else [])
    assert [one.loradex["method"] for one in chunks if hasattr(one, "loradex")] == [whole.loradex["method"]]
    client = served.client()
    parts = list(
        client.completions.create(model="loradex", prompt="Is it late?", max_tokens=2, stream=True, **options)
    )
    assert [one.choices[0].finish_reason for one in parts if one.choices][-1]
    whole_text = (
        client.completions.create(model="loradex", prompt="Is it late?", max_tokens=2).choices[0].text
    )
    assert "".join(one.choices[0].text for one in parts if one.choices) == whole_text


def test_a_stream_is_well_formed_and_fails_with_a_status(served: Served) -> None:
    client = served.client()
    raw = client.chat.completions.with_raw_response.create(
        model="loradex", messages=QUESTION, max_completion_tokens=1, stream=True
    )
    events = raw.http_response.read().decode()
    assert raw.headers["content-type"].startswith("text/event-stream")
    blocks = events.split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(block.removeprefix("data: "))["object"] for block in blocks[:-2])
    error = refusal(served, stream=True, messages=[{"role": "user", "content": "long " * 400}])
    assert (error.status_code, error.code) == (400, "context_length_exceeded")


def test_tasks_of_asyncio_ask_together(served: Served) -> None:
    async def walk() -> None:
        async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.alice) as client:
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model="loradex",
                        messages=[{"role": "user", "content": f"Is {number} even?"}],
                        extra_body=CHOICES,
                    )
                    for number in range(20)
                )
            )
            assert {answer.choices[0].message.content for answer in answers} <= {"yes", "no"}
            stream = await client.chat.completions.create(
                model="loradex",
                messages=QUESTION,
                max_completion_tokens=1,
                stream=True,  # type: ignore[arg-type]
            )
            assert [chunk async for chunk in stream][-1].choices[0].finish_reason

    asyncio.run(walk())


def test_decisions_are_ranked_choices(served: Served) -> None:
    client = served.client()
    raw = client.decisions.with_raw_response.create(
        model="loradex",
        input="The barometer falls quickly.",
        questions=[
            {"type": "predicate", "instructions": "Is a storm near?", "name": "storm"},
            {
                "type": "choice",
                "instructions": "What is it about?",
                "choices": [{"value": "weather", "description": "sky and wind"}, {"value": True}],
            },
            {
                "type": "score",
                "instructions": "How bad is it?",
                "levels": [{"label": "mild"}, {"label": "bad"}, {"label": "terrible"}],
            },
        ],
    )
    decision = raw.parse()
    storm, about, bad = decision.answers
    assert storm.type == "predicate"
    assert (storm.name, 0 < storm.probability < 1) == ("storm", True)
    assert about.type == "choice"
    assert {one.value for one in about.probabilities} == {"weather", True}
    assert about.confidence == max(one.probability for one in about.probabilities)
    assert about.choice in {"weather", True}
    assert bad.type == "score"
    assert [(one.label, one.value) for one in bad.probabilities] == [("mild", 1), ("bad", 2), ("terrible", 3)]
    assert bad.score == pytest.approx(sum(one.value * one.probability for one in bad.probabilities))
    told: Any = about.loradex  # type: ignore[attr-defined]
    assert [one["choice"] for one in told["scores"]] == ["weather", "true"]
    assert all(one["log_likelihood"] < 0 for one in told["scores"])
    assert decision.usage.total_tokens > 0
    client = served.client()
    document: Any = client.get(f"/answers/{told['answer_id']}/explain", cast_to=object)
    assert document["prompt"] == "The barometer falls quickly.\nWhat is it about?\nweather: sky and wind"


def test_each_endpoint_names_the_field_that_it_was_sent(served: Served) -> None:
    client = served.client()
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="loradex", prompt="x", max_tokens=0)
    assert refused.value.param == "max_tokens"
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="loradex", prompt="long " * 400)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "prompt")
    assert refusal(served, messages=[{"role": "user", "content": "long " * 400}]).param == "messages"
    two = {"type": "predicate", "instructions": "Is it so?"}
    with pytest.raises(openai.BadRequestError) as refused:
        client.decisions.create(model="loradex", input="long " * 400, questions=[two, two])  # type: ignore[list-item]
    assert refused.value.param == "input"
    for body, param in (
        ({"prompt": "x", "k": 0}, "k"),
        ({"jobs": [{"prompt": "x"}, {"prompt": "x", "k": 0}]}, "jobs.1.k"),
        ({"jobs": [{"prompt": "x"}, {"prompt": "x", "choices": "a"}]}, "jobs.1.choices"),
        ({"jobs": [{"prompt": "x"}, {"prompt": "x", "model": "gpt"}]}, "jobs.1.model"),
    ):
        with pytest.raises(openai.APIStatusError) as wrong:
            client.post("/jobs", body=body, cast_to=object)
        assert wrong.value.param == param


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        (
            {"extra_body": {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}},
            "response_format",
        ),
        ({"logprobs": 0}, "logprobs"),
        ({"extra_body": {"structured_outputs": {"regex": "(a"}}}, "structured_outputs"),
        (
            {"extra_body": {"structured_outputs": {"choice": ["a", "b"], "json": {}}}},
            "structured_outputs",
        ),
        ({"n": 17}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"extra_body": {"loradex": {"k": 0}}}, "loradex.k"),
        ({"extra_body": {"loradex": {"kk": 1}}}, "loradex"),
        ({"extra_body": {"loradex": {"prompt": "x"}}}, "loradex"),
        ({"extra_body": {"loradex": {"timeout": 0}}}, "loradex.timeout"),
        ({"extra_body": {"loradex": {"choices": ["one"]}}}, "loradex.choices"),
        ({"extra_body": {"loradex": {"base_model": "gpt"}}}, "loradex.base_model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages.0.role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages.0.content.0",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(served: Served, options: dict[str, Any], param: str) -> None:
    error = refusal(served, **options)
    assert isinstance(error, openai.BadRequestError)
    assert error.param == param
    assert error.code
    assert error.type == "invalid_request_error"


def test_what_means_nothing_is_told(served: Served) -> None:
    client = served.client()
    raw = client.chat.completions.with_raw_response.create(
        model="loradex",
        messages=QUESTION,
        max_completion_tokens=1,
        user="u",
        tools=[],
        tool_choice="none",
        extra_body={"new_in_2027": 1},
    )
    assert set(raw.headers["x-loradex-ignored"].split(", ")) == {"user", "new_in_2027"}


def test_an_idempotency_key_gives_the_same_answer(served: Served) -> None:
    named = {"Idempotency-Key": "test-api-1"}
    first, again = (ask(served, extra_headers=named).loradex["answer_id"] for _ in range(2))
    assert first == again
    assert ask(served, served.bob, extra_headers=named).loradex["answer_id"] != first
    error = refusal(served, extra_headers=named, seed=3)
    assert (error.status_code, error.code) == (422, "idempotency_key_reused")
    assert refusal(served, extra_headers={"Idempotency-Key": "a b"}).param == "Idempotency-Key"
    several = {"Idempotency-Key": "test-api-2"}
    both = [
        [one.loradex["job_id"] for one in ask(served, n=2, extra_headers=several).choices] for _ in range(2)
    ]
    assert both[0] == both[1]


def test_a_wait_has_an_end_and_the_job_goes_on(served: Served, answering: Stack) -> None:
    with nothing_answered(answering):
        error = refusal(served, extra_body={"loradex": {"timeout": 0.2}})
    assert (error.status_code, error.code) == (504, "wait_timeout")
    assert error.response.headers["x-should-retry"] == "false"
    body: Any = error.body
    (job,) = body["loradex"]["job_ids"]
    assert error.response.headers["x-loradex-job-id"] == job
    client = served.client()

    def found() -> Any:
        return client.get(f"/jobs/{job}", cast_to=object)

    until(lambda: found()["status"] == "done")
    assert found()["answer"]["job_id"] == job
