"""What one request makes many of: bounded before it is made, judged once, and the same under one key."""

import json
from typing import Any

import httpx2
import openai
import pytest
from tests.fix_answering import Stack
from tests.fix_api import Served, made_key
from tests.fix_db import with_user
from tests.serving import serving

from loradex import constraint
from loradex.db.session import connect
from loradex.service.api import app
from loradex.service.api.copies import MOST_CHARACTERS
from loradex.service.api.jobs import MOST_CONSTRAINTS
from loradex.service.api.server import application
from loradex.service.client import AsyncClient

LONG = "x" * (MOST_CHARACTERS // 4 + 1)
PREDICATE = {"type": "predicate", "instructions": "Is it so?"}
CHAT = "/v1/chat/completions"
QUESTION = [{"role": "user", "content": "Is it late?"}]


def post(served: Served, path: str, body: dict[str, Any], key: str | None = None) -> httpx2.Response:
    named = {} if key is None else {"idempotency-key": key}
    shown = {"authorization": f"Bearer {served.alice}", **named}
    return served.http.post(served.url + path, json=body, headers=shown)


def jobs_of(stack: Stack) -> int:
    with connect(stack.database_url) as connection:
        row = connection.execute("select count(*) from loradex.jobs where state <> 'cancelled'").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/decisions", {"input": LONG, "questions": [PREDICATE] * 4}, "input"),
        (
            "/v1/decisions",
            {"input": [{"role": "user", "content": LONG}], "questions": [PREDICATE] * 4},
            "input",
        ),
        (CHAT, {"messages": [{"role": "user", "content": LONG}], "n": 4}, "messages"),
        ("/v1/completions", {"prompt": [LONG[: len(LONG) // 2 + 1]] * 2, "n": 4}, "prompt"),
    ],
    ids=["a text", "a conversation", "n", "prompts"],
)
def test_a_long_text_is_not_written_as_often_as_it_is_asked_about(
    served: Served, path: str, body: dict[str, Any], param: str
) -> None:
    refused = post(served, path, {"model": "loradex", **body})
    assert refused.status_code == 400, refused.text[:500]
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_value", param)
    assert str(MOST_CHARACTERS) in error["message"]


BIASES = {str(token): 1 for token in range(40_000)}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": ["x"] * 128, "logit_bias": BIASES}),
        ("/v1/completions", {"prompt": ["x"] * 64, "n": 2, "stop": ["s" * 100_000]}),
        (CHAT, {"messages": QUESTION, "n": 16, "metadata": {"x": "y" * 1_000_000}}),
        (CHAT, {"messages": QUESTION, "n": 16, "loradex": {"exclude_tasks": ["t" * 100] * 10_000}}),
        (
            "/v1/decisions",
            {"input": "x", "questions": [PREDICATE] * 400, "loradex": {"exclude_tasks": ["t" * 100] * 500}},
        ),
    ],
    ids=["biases", "stop", "metadata", "exclusions", "exclusions of questions"],
)
def test_a_field_is_not_written_as_often_as_there_are_jobs(
    served: Served, answering: Stack, path: str, body: dict[str, Any]
) -> None:
    before = jobs_of(answering)
    refused = post(served, path, {"model": "loradex", **body})
    assert refused.status_code == 400, refused.text[:500]
    assert "jobs, and these may have" in refused.json()["error"]["message"]
    assert jobs_of(answering) == before


def test_a_constraint_is_read_once_however_many_jobs_are_held_to_it(served: Served, answering: Stack) -> None:
    schema = {"type": "integer", "multipleOf": 9973}
    before = constraint._complaint.cache_info()
    held = {"prompt": "x", "method": "base", "max_new_tokens": 1, "json_schema": schema}
    made = post(served, "/v1/jobs", {"jobs": [held] * 300}, "bounds-1")
    assert made.status_code == 202, made.text
    after = constraint._complaint.cache_info()
    assert after.misses - before.misses == 1
    with connect(answering.database_url) as connection:
        connection.execute(
            "select loradex.cancel_jobs(%s::uuid[])", ([one["id"] for one in made.json()["data"]],)
        )


def test_the_jobs_of_a_request_are_held_to_so_many_constraints(served: Served, answering: Stack) -> None:
    before = jobs_of(answering)
    jobs = [{"prompt": "x", "regex": f"a{{{number + 1}}}"} for number in range(MOST_CONSTRAINTS + 1)]
    refused = post(served, "/v1/jobs", {"jobs": jobs})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "jobs"
    assert f"{MOST_CONSTRAINTS} may stand in one request" in refused.json()["error"]["message"]
    assert jobs_of(answering) == before


def test_another_number_of_answers_under_the_same_key_is_refused(served: Served, answering: Stack) -> None:
    def asked(key: str, **more: Any) -> list[str]:
        told = served.client().chat.completions.create(
            model="loradex",
            messages=QUESTION,  # type: ignore[arg-type]
            max_completion_tokens=1,
            extra_headers={"Idempotency-Key": key},
            **more,
        )
        return [choice.loradex["job_id"] for choice in told.choices]  # type: ignore[attr-defined]

    two = asked("bounds-2", n=2)
    assert asked("bounds-2", n=2) == two
    before = jobs_of(answering)
    for n in (3, 16):
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            asked("bounds-2", n=n)
        assert refused.value.code == "idempotency_key_reused"
        assert "another number of jobs" in str(refused.value)
    assert jobs_of(answering) == before, "nothing is left to be answered"
    assert asked("bounds-2", n=2) == two
    # Keys that look like those of the second of several are keys like any other.
    assert not set(asked("bounds-2:1")) & set(two)


def test_another_number_of_jobs_under_the_same_key_is_refused(served: Served, answering: Stack) -> None:
    own = {"prompt": "Own?", "max_new_tokens": 1, "idempotency_key": "bounds-own"}

    def handed_in(key: str, count: int, *more: dict[str, Any]) -> httpx2.Response:
        jobs = [{"prompt": f"Question {number}?", "max_new_tokens": 1} for number in range(count)]
        return post(served, "/v1/jobs", {"jobs": [*more, *jobs]}, key)

    assert handed_in("bounds-3", 2).status_code == 202
    before = jobs_of(answering)
    refused = handed_in("bounds-3", 3)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert jobs_of(answering) == before
    first = handed_in("bounds-4", 1, own).json()["data"]
    assert [one["created"] for one in first] == [True, True]
    second = handed_in("bounds-5", 1, own).json()["data"]
    assert [one["created"] for one in second] == [False, True], "a job's own key is its own affair"
    assert second[0]["id"] == first[0]["id"]


def test_several_answers_of_one_mixture_have_the_fingerprint_of_one(served: Served) -> None:
    client = served.client()
    one, three = (
        client.chat.completions.create(
            model="loradex",
            messages=QUESTION,
            max_completion_tokens=1,
            n=n,  # type: ignore[arg-type]
        )
        for n in (1, 3)
    )
    assert one.system_fingerprint == three.system_fingerprint


def test_an_answer_is_given_where_the_edge_of_the_domain_cannot_be_read(
    answering: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "EDGE", "select similarity from loradex.no_such_function(%s)")
    login = with_user(answering.database_url, "loradex_client")
    key = made_key(answering.database_url, "alice")[1]
    with (
        serving(lambda: application(AsyncClient(login, answering.redis_url))) as url,
        httpx2.Client(timeout=60) as http,
    ):
        for _ in range(2):
            body = {"model": "loradex", "messages": QUESTION, "max_tokens": 1}
            told = http.post(f"{url}{CHAT}", json=body, headers={"authorization": f"Bearer {key}"})
            assert told.status_code == 200, told.text
            (choice,) = told.json()["choices"]
            assert choice["loradex"]["out_of_domain"] is None
        streamed = http.post(
            f"{url}{CHAT}", json=body | {"stream": True}, headers={"authorization": f"Bearer {key}"}
        )
        events = [json.loads(one[6:]) for one in streamed.text.split("\n\n") if one.startswith("data: {")]
        assert not any("error" in event for event in events)
