"""What may be asked: bodies, methods and paths, and anything at all."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.asked import CHAT, QUESTION, Ask, error_of
from tests.fix_answering import Stack
from tests.fix_api import Served
from tests.fix_db import with_user

from loradex.errors import InvalidArgumentError, KeyRefusedError
from loradex.service.client import AsyncClient

PATHS = (CHAT, "/v1/completions", "/v1/decisions", "/v1/jobs")
TWICE = (
    b'{"model": "loradex", "input": "x", "questions": [{"type": "choice", "instructions": "y", '
    b'"choices": [{"value": true}, {"value": "true"}]}]}'
)
texts = st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    *(
        "model",
        "messages",
        "prompt",
        "input",
        "questions",
        "jobs",
        "loradex",
        "metadata",
        "n",
        "seed",
        "stream",
    ),
    *("stream_options", "temperature", "top_p", "max_tokens", "tools", "structured_outputs", "choices", "k"),
)
turns = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "x"]), "content": texts | anything}),
    max_size=3,
)
bodies = (
    anything
    | st.dictionaries(st.sampled_from(NAMES), anything, max_size=5)
    | st.fixed_dictionaries(
        {"model": st.sampled_from(["loradex", "tiny-garden", "x"]), "max_tokens": st.just(1)},
        optional={
            "messages": turns,
            "prompt": texts | st.lists(texts, max_size=2),
            "input": texts | turns,
            "n": st.integers(-1, 2),
            "temperature": st.floats(-1, 3),
            "questions": st.lists(
                st.fixed_dictionaries(
                    {"type": st.sampled_from(["predicate", "choice"]), "instructions": texts},
                    optional={"choices": st.lists(st.fixed_dictionaries({"value": texts}), max_size=3)},
                ),
                max_size=2,
            ),
            "loradex": st.dictionaries(
                st.sampled_from(["k", "method", "timeout", "choices"]), anything, max_size=2
            ),
            "metadata": anything,
        },
    )
)


def test_a_connection_serves_on_after_whatever_was_refused_on_it(served: Served, answering: Stack) -> None:
    """Key and statement travel together, so where the key is refused the statement was skipped, and its preparation."""
    login = with_user(answering.database_url, "loradex_client")
    pid = "select pg_backend_pid() as pid"

    async def walk() -> None:
        async with AsyncClient(login, answering.redis_url, connections=1) as client:
            alice, nobody = client.acting_for(served.alice), client.acting_for("lx_nobody")
            for _ in range(7):
                with pytest.raises(KeyRefusedError):
                    await nobody.rows(pid)
            first = await alice.rows(pid)
            assert (nobody.key_taken, alice.key_taken) == (False, True)
            for _ in range(7):
                with pytest.raises(InvalidArgumentError):
                    await alice.rows("select loradex.check_call_size(%s)", (1 << 60,))
            assert await alice.rows(pid) == first
            sleeping = asyncio.create_task(alice.rows("select pg_sleep(60)"))
            await asyncio.sleep(0)
            sleeping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sleeping
            assert len(await alice.rows(pid)) == 1

    asyncio.run(walk())


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CHAT, b"", 400),
        (CHAT, b"{", 400),
        (CHAT, b"[" * 100_000, 400),
        (CHAT, b'{"model": NaN}', 400),
        (CHAT, b"\xff\xfe", 400),
        (CHAT, b"[]", 400),
        (CHAT, b'{"model": "loradex", "messages": "x"}', 400),
        (CHAT, b'{"model": "loradex", "messages": [{"role": "user", "content": "\\u0000"}]}', 400),
        (CHAT, b'{"model": "loradex", "messages": [{"role": "user", "content": "\\ud800"}]}', 400),
        (CHAT, b'{"model": "loradex", "messages": [{"role": "user", "content": ""}]}', 400),
        (CHAT, b" " * ((4 << 20) + 1), 413),
        ("/v1/jobs", b" " * ((32 << 20) + 1), 413),
        ("/v1/completions", b'{"model": "loradex", "prompt": [1, 2]}', 400),
        ("/v1/completions", json.dumps({"model": "loradex", "prompt": ["x"] * 129}).encode(), 400),
        ("/v1/completions", json.dumps({"model": "loradex", "prompt": ["x"] * 100, "n": 2}).encode(), 400),
        (
            CHAT,
            json.dumps({"model": "loradex", "messages": [{"role": "user", "content": "x"}] * 1001}).encode(),
            400,
        ),
        ("/v1/decisions", b'{"model": "loradex", "input": "x", "questions": []}', 400),
        (
            "/v1/decisions",
            b'{"model": "loradex", "input": "x", "questions": [{"type": "choice", "instructions": "y"}]}',
            400,
        ),
        (
            "/v1/decisions",
            TWICE,
            400,
        ),
        ("/v1/nothing", b"{}", 404),
        ("/v1/models", b"{}", 405),
    ],
    ids=str,
)
def test_bodies_that_cannot_be(ask: Ask, path: str, body: bytes, status: int) -> None:
    error_of(ask("POST", path, content=body), status)


@pytest.mark.parametrize(
    ("path", "fields", "param", "says"),
    [
        (CHAT, {"guided_json": {"type": "object"}}, "guided_json", "say it in structured_outputs"),
        (CHAT, {"guided_choice": ["a", "b"]}, "guided_choice", "say it in structured_outputs"),
        (CHAT, {"ignore_eos": True}, "ignore_eos", "leave it out"),
        (CHAT, {"stop_token_ids": [2]}, "stop_token_ids", "leave it out"),
        (CHAT, {"seed": -1}, "seed", "greater than or equal to 0"),
        (CHAT, {"seed": 2**63}, "seed", "less than or equal to"),
        (
            CHAT,
            {"structured_outputs": {"choice": ["c", "d"]}, "loradex": {"choices": ["a", "b"]}},
            "loradex.choices",
            "already",
        ),
        (CHAT, {"stop": ["a", 1]}, "stop.1", "valid string"),
        ("/v1/completions", {"prompt": ["x"] * 129}, "prompt", "at most 128 items"),
        ("/v1/completions", {"prompt": []}, "prompt", "at least 1 item"),
        ("/v1/completions", {"prompt": [[1, 2]]}, "prompt.0", "valid string"),
        ("/v1/decisions", {"input": [{"content": "a"}]}, "input.0.role", "required"),
        ("/v1/decisions", {"input": []}, "input", "at least 1 item"),
        ("/v1/jobs", {"prompt": "x", "model": "nope"}, "model", "no model"),
        (
            "/v1/jobs",
            {"jobs": [{"prompt": "x"}, {"prompt": "x", "model": "nope"}]},
            "jobs.1.model",
            "no model",
        ),
        ("/v1/jobs", {"prompt": "x", "model": "tiny-garden", "adapter": "other"}, "adapter", "already"),
        (
            "/v1/jobs",
            {"jobs": [{"prompt": "x"}, {"prompt": "x", "model": "tiny-garden", "method": "top1"}]},
            "jobs.1.method",
            "already",
        ),
    ],
)
def test_what_is_wrong_is_named_as_it_was_sent(
    ask: Ask, path: str, fields: dict[str, Any], param: str, says: str
) -> None:
    shapes = {
        CHAT: QUESTION,
        "/v1/completions": {"model": "loradex", "prompt": "x"},
        "/v1/decisions": {
            "model": "loradex",
            "input": "x",
            "questions": [{"type": "predicate", "instructions": "y"}],
        },
    }
    error = error_of(ask("POST", path, json={**shapes.get(path, {}), **fields}), error_status(param))
    assert error["param"] == param
    assert says in error["message"]


def error_status(param: str) -> int:
    """A model that is none is 404, as OpenAI has it."""
    return 404 if param.rpartition(".")[2] == "model" else 400


@pytest.mark.parametrize(
    "fields",
    [
        {"prediction": {"type": "content", "content": "x"}},
        {"add_generation_prompt": True, "ignore_eos": False, "stop_token_ids": [], "length_penalty": 1.0},
        {"model": "tiny-garden", "loradex": {"method": None, "base_model": None}},
    ],
)
def test_what_changes_nothing_is_let_through(ask: Ask, fields: dict[str, Any]) -> None:
    assert ask("POST", CHAT, json={**QUESTION, **fields}).status_code == 200
    body = {"model": "loradex", "prompt": "x", "max_tokens": 1, "n": 2, "best_of": 2}
    assert ask("POST", "/v1/completions", json=body).status_code == 200


def test_a_body_without_a_length_is_bounded_too(ask: Ask) -> None:
    error_of(ask("POST", CHAT, content=(b" " * (1 << 20) for _ in range(5))), 413)


def test_requests_keep_their_names_and_slashes_too_many_lead_somewhere(ask: Ask) -> None:
    response = ask("GET", "/v1//models", headers={"x-request-id": "mine-1"})
    assert response.status_code == 200
    assert response.headers["x-request-id"] == "mine-1"
    for path in ("/v1/models/", "/v1/models//"):
        assert ask("GET", path).json()["object"] == "list"
    assert error_of(ask("POST", f"{CHAT}/", content=b"{"), 400)["code"] == "invalid_json"
    assert ask("GET", "/v1/models/loradex/").json()["id"] == "loradex"
    assert error_of(ask("GET", "/v1/nothing/"), 404)["code"] == "not_found"
    assert ask("GET", "/livez", None, {"x-request-id": "a b"}).headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/jobs", "GET, HEAD, POST"),
        ("/v1/jobs/no-id", "DELETE, GET, HEAD"),
        ("/v1/models", "GET, HEAD"),
        (CHAT, "POST"),
        ("/playground", "GET, HEAD, POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(ask: Ask, path: str, allowed: str) -> None:
    refused = ask("PUT", path)
    assert error_of(refused, 405)["code"] == "method_not_allowed"
    assert refused.headers["allow"] == allowed


def test_anything_is_answered_or_refused_in_one_envelope(ask: Ask) -> None:
    @settings(max_examples=40 if settings.default.max_examples <= 100 else settings.default.max_examples)
    @given(path=st.sampled_from(PATHS), body=bodies)
    def knock(path: str, body: object) -> None:
        content = json.dumps(body).encode()
        response = ask("POST", path, content=content)
        assert response.status_code < 500, (path, body, response.text)
        if response.status_code >= 400:
            error_of(response, response.status_code)
        elif path == "/v1/jobs":
            for one in response.json()["data"]:
                ask("DELETE", f"/v1/jobs/{one['id']}")

    knock()
